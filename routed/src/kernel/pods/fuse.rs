//! For tests: lets the kernel's threads die after so many messages, as a kill would.
//!
//! A daemon that is killed has sent the kernel some number of messages and no more. A fuse of `k`
//! makes that happen after exactly `k` of them, whichever thread sends them, so that every point at
//! which a kill can matter is reached by counting, not by luck. Without a fuse it costs a comparison.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How many more messages may be sent.
#[derive(Clone, Debug, Default)]
pub struct Fuse(Option<Arc<AtomicUsize>>);

impl Fuse {
    /// One that blows after so many messages.
    #[must_use]
    pub fn after(messages: usize) -> Self {
        Self(Some(Arc::new(AtomicUsize::new(messages))))
    }

    /// Has it blown?
    #[must_use]
    pub fn has_blown(&self) -> bool {
        self.0.as_ref().is_some_and(|left| left.load(Ordering::SeqCst) == BLOWN)
    }

    /// Sends what may be sent of so many messages; `send` is told how many. The thread ends here if
    /// that was not all of them, or if there is no more to come.
    pub(super) fn burn<T>(&self, messages: usize, send: impl FnOnce(usize) -> T) -> T {
        let Some(left) = &self.0 else { return send(messages) };
        let before = left.load(Ordering::SeqCst);
        if before != BLOWN && before >= messages {
            left.store(before - messages, Ordering::SeqCst);
            return send(messages);
        }
        if before != BLOWN {
            left.store(BLOWN, Ordering::SeqCst);
            send(before);
        }
        // Like a panic, but without its message: this is what was asked for.
        resume_unwind(Box::new("the fuse has blown"))
    }
}

const BLOWN: usize = usize::MAX;
