//! The thread on which sessions are served: sockets, listeners, timers of peers.
//!
//! One thread of its own, so that a route which comes in by one socket goes out by the others without
//! waking anybody (to wake a thread takes longer than all the rest), and so that no load of peers gets
//! into the way of what else the daemon does.

use std::{io, thread};

use tokio::{
    runtime::{Builder, EnterGuard, Handle},
    sync::oneshot,
};

/// The running thread. It ends, and its tasks with it, when this is dropped.
pub(super) struct IoThread {
    runtime: Handle,
    thread: thread::JoinHandle<()>,
    /// Tells the thread by being dropped.
    life: oneshot::Sender<()>,
}

impl IoThread {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// The kernel's, if it gives us no thread or no event loop.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (life, end) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("peers".to_owned()).spawn(move || {
            // Nothing is ever sent: what comes is the end.
            let _ = runtime.block_on(end);
        })?;
        Ok(Self { runtime: handle, thread, life })
    }

    /// While the guard lives, sockets and tasks that are made belong to the thread.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Ends it, and gives what ends with it.
    pub(super) fn end(self) -> thread::JoinHandle<()> {
        drop(self.life);
        self.thread
    }
}
