//! For tests: lets the kernel's threads die after so many messages, as a kill would, or the kernel
//! fail at one of them.
//!
//! A daemon that is killed has sent the kernel some number of messages and no more. A fuse of `k`
//! makes that happen after exactly `k` of them, whichever thread sends them, so that every point at
//! which a kill can matter is reached by counting, not by luck. So it is with refusals and lost
//! answers. Without a fuse it costs a comparison.

use std::{
    io,
    ops::Range,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use nix::errno::Errno;

use crate::kernel::netlink::{NetlinkError, Refusal};

/// How many more messages may be sent.
#[derive(Clone, Debug, Default)]
pub struct Fuse(Option<Armed>);

#[derive(Clone, Debug)]
struct Armed {
    left: Arc<AtomicUsize>,
    then: Blow,
}

/// What happens when it blows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The threads die.
    Die,
    /// The next message is not carried out: the kernel answers this. All later ones are.
    Refuse(Errno),
    /// The next batch is carried out, but its answers are lost (ENOBUFS). All later ones come.
    Lose,
}

impl Fuse {
    /// One that blows after so many messages, and the threads die.
    #[must_use]
    pub fn after(messages: usize) -> Self {
        Self::with(messages, Blow::Die)
    }

    /// One that blows after so many messages; only those of route netlink count unless the threads
    /// shall die.
    #[must_use]
    pub fn with(messages: usize, then: Blow) -> Self {
        Self(Some(Armed { left: Arc::new(AtomicUsize::new(messages)), then }))
    }

    /// Has it blown?
    #[must_use]
    pub fn has_blown(&self) -> bool {
        self.0.as_ref().is_some_and(|armed| armed.left.load(Ordering::SeqCst) == BLOWN)
    }

    /// Sends so many route messages by `send`, which is told which of them.
    pub(super) fn messages(
        &self,
        count: usize,
        mut send: impl FnMut(Range<usize>) -> Result<Vec<Refusal>, NetlinkError>,
    ) -> Result<Vec<Refusal>, NetlinkError> {
        let Some(Armed { left, then }) = &self.0 else { return send(0..count) };
        if *then == Blow::Die {
            return self.burn(count, |sent| send(0..sent));
        }
        let before = left.load(Ordering::SeqCst);
        if before == BLOWN || before >= count {
            left.store(if before == BLOWN { BLOWN } else { before - count }, Ordering::SeqCst);
            return send(0..count);
        }
        left.store(BLOWN, Ordering::SeqCst);
        let Blow::Refuse(errno) = *then else {
            send(0..count)?;
            return Err(io::Error::from(Errno::ENOBUFS).into());
        };
        let mut refusals = send(0..before)?;
        refusals.push(Refusal { index: before, errno, text: None });
        let later = send(before + 1..count)?.into_iter();
        let later = later.map(|refusal| Refusal { index: refusal.index + before + 1, ..refusal });
        refusals.extend(later);
        Ok(refusals)
    }

    /// Sends what may be sent of so many messages; `send` is told how many. The thread ends here if
    /// that was not all of them, or if there is no more to come.
    pub(super) fn burn<T>(&self, messages: usize, send: impl FnOnce(usize) -> T) -> T {
        let Some(Armed { left, then: Blow::Die }) = &self.0 else { return send(messages) };
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
