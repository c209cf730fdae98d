//! Tables as the `nft` program sees them, in namespaces of the tests' own. Needs root and nft.

use std::{process::Command, thread};

use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread of its own, in a network namespace of its own.
pub(crate) fn in_a_namespace(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("the tests need root");
            test();
        };
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// What `nft` prints for these arguments.
pub(crate) fn nft(arguments: &str) -> String {
    let output = Command::new("nft").args(arguments.split(' ')).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {arguments}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
