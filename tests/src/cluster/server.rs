//! A program that runs for as long as somebody wants it, and never longer than the test.
//!
//! In: the program with its arguments, and where it logs. Out: whether it runs.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

/// A process and the thread that tends it.
pub(super) struct Server {
    end: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// An own thread starts the program and outlives it, since the kernel ends what a thread has
    /// started with the thread. Panics if it cannot be started.
    pub(super) fn start(program: &Path, arguments: &[String], log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let (end, ended) = channel();
        let (started, start) = channel();
        let thread = thread::spawn(move || tend(&mut command, &started, &ended));
        start.recv().expect("the thread says so").unwrap_or_else(|error| {
            let program = program.display();
            panic!("cannot start {program}: {error}; setpriv is in Debian's package util-linux")
        });
        Self { end: Some(end), thread: Some(thread) }
    }

    /// Whether it does still.
    pub(super) fn runs(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts a program, and kills it once nobody wants it any more. Ends with it.
fn tend(command: &mut Command, started: &Sender<std::io::Result<()>>, ended: &Receiver<()>) {
    match command.spawn() {
        Ok(mut child) => {
            let _ = started.send(Ok(()));
            // Nothing is ever sent: waiting ends when the other end is gone, or the program is.
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout)
                && matches!(child.try_wait(), Ok(None))
            {}
            kill(&mut child);
        }
        Err(error) => {
            let _ = started.send(Err(error));
        }
    }
}

fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// How often it is seen whether a program still runs.
const LOOK: Duration = Duration::from_millis(100);
