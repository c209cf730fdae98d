//! The way out of the thread of BFD: what it has to tell to threads that may hold locks.
//!
//! In: deeds, such as publishing a status or writing to the log. Out: the same, carried out in order on a
//! thread of the usual priority. Handing over takes no lock and never waits: a real-time thread that
//! waited for one that an ordinary thread holds would be as late as that.

use std::{io, mem, thread};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, error::TryRecvError};

type Deed = Box<dyn FnOnce() + Send>;

/// See the module. Unbounded, since it holds one deed for each change of a session's state or timers.
pub(super) struct Relay {
    deeds: UnboundedSender<Deed>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Relay {
    /// # Errors
    ///
    /// If the kernel gives us no thread.
    pub(super) fn start() -> io::Result<Self> {
        let (deeds, queue) = mpsc::unbounded_channel();
        let thread =
            thread::Builder::new().name("bfd-relay".to_owned()).spawn(move || run(queue))?;
        Ok(Self { deeds, thread: Some(thread) })
    }

    pub(super) fn put(&self, deed: impl FnOnce() + Send + 'static) {
        let _ = self.deeds.send(Box::new(deed));
        self.wake();
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            // A futex, and no lock.
            thread.thread().unpark();
        }
    }
}

/// Waits until all has been carried out.
impl Drop for Relay {
    fn drop(&mut self) {
        drop(mem::replace(&mut self.deeds, mpsc::unbounded_channel().0));
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut queue: UnboundedReceiver<Deed>) {
    loop {
        match queue.try_recv() {
            Ok(deed) => deed(),
            Err(TryRecvError::Empty) => thread::park(),
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn deeds_are_carried_out_in_order_and_all_of_them() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let relay = Relay::start().unwrap();
        for number in 0..1000 {
            let done = done.clone();
            relay.put(move || done.lock().unwrap().push(number));
        }
        drop(relay);
        assert_eq!(*done.lock().unwrap(), (0..1000).collect::<Vec<_>>());
    }
}
