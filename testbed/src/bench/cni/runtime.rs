//! The runtime's side: sandboxes, and plugins called as the specification has it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use serde_json::Value;

use crate::bench::stats::Samples;
use crate::netlink::Rtnetlink;

/// A plugin that can be called.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) program: PathBuf,
    /// `CNI_PATH`.
    pub(super) path: PathBuf,
    /// Its entry of the conflist, as it reads it.
    pub(super) conf: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Check,
    Del,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Check => "CHECK",
            Self::Del => "DEL",
        }
    }
}

/// What one verb took, for all sandboxes.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) samples: Samples,
    /// From the first call to the end of the last.
    pub(super) elapsed: Duration,
}

/// A pod's network namespace, with its loopback up as runtimes have it.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// By which every process finds it for as long as this one lives.
    path: String,
    /// What ADD returned.
    result: Mutex<Option<Value>>,
}

impl Sandbox {
    /// So many. They live as long as this process.
    ///
    /// A thread keeps them open, in a table of descriptors of its own: starting a program copies the
    /// table of the one who starts it, and with thousands of descriptors that took longer than the
    /// program.
    pub(super) fn make(count: usize) -> Result<Vec<Self>> {
        let (made, making) = mpsc::channel();
        thread::spawn(move || {
            let mut kept = Vec::new();
            let _ = made.send(Self::make_and_keep(count, &mut kept));
            loop {
                thread::park();
            }
        });
        making.recv().context("the namespaces' thread has ended")?
    }

    fn make_and_keep(count: usize, kept: &mut Vec<File>) -> Result<Vec<Self>> {
        unshare(CloneFlags::CLONE_FILES)?;
        let table = format!("/proc/{}/task/{}/fd", std::process::id(), gettid());
        let mut sandboxes = Vec::new();
        for _ in 0..count {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a pod's namespace")?;
            Rtnetlink::open()?.set_link("lo", true)?;
            let netns = File::open("/proc/thread-self/ns/net")?;
            let path = format!("{table}/{}", netns.as_raw_fd());
            sandboxes.push(Self { path, result: Mutex::default() });
            kept.push(netns);
        }
        Ok(sandboxes)
    }

    pub(super) fn open(&self) -> Result<File> {
        File::open(&self.path).with_context(|| self.path.clone())
    }
}

/// Calls a verb for every sandbox, with so many callers who each take the next.
pub(super) fn phase(
    contender: &Contender,
    verb: Verb,
    sandboxes: &[Sandbox],
    names: &(dyn Fn(usize) -> String + Sync),
    callers: usize,
) -> Result<Phase> {
    let next = AtomicUsize::new(0);
    let caller = || {
        let mut samples = Samples::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(sandbox) = sandboxes.get(number) else { return Ok(samples) };
            samples.push(call(contender, verb, &names(number), sandbox)?);
        }
    };
    let begun = Instant::now();
    let outcomes: Vec<Result<Samples>> = thread::scope(|scope| {
        let callers: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        callers.into_iter().map(|caller| caller.join().expect("it does not panic")).collect()
    });
    let elapsed = begun.elapsed();
    let mut samples = Samples::default();
    for outcome in outcomes {
        samples.extend(outcome?);
    }
    Ok(Phase { samples, elapsed })
}

/// One call, from starting the plugin to its end.
fn call(contender: &Contender, verb: Verb, id: &str, sandbox: &Sandbox) -> Result<Duration> {
    let mut conf = contender.conf.clone();
    if verb != Verb::Add
        && let Some(result) = &*sandbox.result.lock().expect("no caller panics")
    {
        conf["prevResult"] = result.clone();
    }
    let conf = conf.to_string();
    let mut command = Command::new(&contender.program);
    command
        .env("CNI_COMMAND", verb.as_str())
        .env("CNI_CONTAINERID", id)
        .env("CNI_NETNS", &sandbox.path)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=pod")
        .env("CNI_PATH", &contender.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| contender.program.display().to_string())?;
    let mut stdin = child.stdin.take().expect("spawned with a pipe");
    // A plugin that fails early does not read; its answer says why.
    let _ = stdin.write_all(conf.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    let elapsed = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{} {} of {id}: {said}", contender.program.display(), verb.as_str());
    }
    if verb == Verb::Add {
        let result = serde_json::from_str(&said).with_context(|| format!("ADD printed {said}"))?;
        *sandbox.result.lock().expect("no caller panics") = Some(result);
    }
    Ok(elapsed)
}
