//! The recorder: what peers say and are told, word by word, in MRT files (RFC 6396).
//!
//! In: records, as the peers' tasks hear and say something; the configuration. Out: a file that is
//! put aside from time to time, and how that goes. A thread of its own writes, so that a slow or
//! full disk holds up nobody: records wait in a queue of bounded size, and what does not fit is
//! dropped, counted and told.

mod file;
mod status;
mod writer;

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;

pub(crate) use self::file::remedy;
pub use self::{
    file::MrtError,
    status::{RecorderStatus, RecordingState},
};
use crate::config::Recording;

/// The way to the recorder, and to look at it; cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

/// What of a peer is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Messages received.
    pub(crate) received: bool,
    /// Messages sent.
    pub(crate) sent: bool,
    /// Changes of the session's state.
    pub(crate) states: bool,
}

struct Shared {
    /// Counts configurations, so that peers need no lock to see that theirs is current.
    generation: AtomicU64,
    state: Mutex<State>,
    /// Something has changed for the thread.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    settings: Option<Arc<Recording>>,
    /// Records that wait, oldest first.
    queue: VecDeque<Bytes>,
    /// Octets of records that wait or are being written.
    octets: usize,
    status: RecorderStatus,
    stopping: bool,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// One that records nothing until it is configured.
    #[must_use]
    pub fn off() -> Self {
        Self(Arc::new(Shared {
            generation: AtomicU64::new(1),
            state: Mutex::default(),
            wake: Condvar::new(),
        }))
    }

    /// Records by these settings from now on. What waits is written by those before.
    ///
    /// # Errors
    ///
    /// The kernel's, if it gives us no thread; then nothing is recorded.
    pub(crate) fn configure(&self, settings: Option<&Recording>) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.settings.as_deref() == settings {
            return Ok(());
        }
        if settings.is_some() && state.thread.is_none() {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("mrt".to_owned());
            state.thread = Some(thread.spawn(move || writer::Writer::new(shared).run())?);
        }
        state.settings = settings.cloned().map(Arc::new);
        drop(state);
        self.0.generation.fetch_add(1, Ordering::Release);
        self.0.wake.notify_all();
        Ok(())
    }

    /// Writes what waits and ends the thread. May block for as long as the disk does.
    pub(crate) fn stop(&self) {
        let mut state = self.0.lock();
        state.stopping = true;
        let thread = state.thread.take();
        drop(state);
        self.0.wake.notify_all();
        // A thread that panicked has said so.
        let _ = thread.map(JoinHandle::join);
    }

    /// Another number than before if what is recorded may be something else.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// What of a peer is recorded: one of these names is its own, another may be its group's.
    pub(crate) fn wanted(&self, names: &[&str]) -> Wanted {
        let settings = self.0.lock().settings.clone();
        let Some(settings) = settings else { return Wanted::default() };
        let Recording { peers, received, sent, states, .. } = &*settings;
        if peers.as_ref().is_some_and(|peers| !names.iter().any(|name| peers.contains(*name))) {
            return Wanted::default();
        }
        Wanted { received: *received, sent: *sent, states: *states }
    }

    /// Hands over a record; never waits for the disk.
    pub(crate) fn push(&self, record: Bytes) {
        let mut state = self.0.lock();
        if state.settings.is_none() || state.stopping {
            return;
        }
        if state.octets + record.len() > QUEUE_OCTETS {
            state.status.dropped += 1;
            return;
        }
        state.octets += record.len();
        let first = state.queue.is_empty();
        state.queue.push_back(record);
        drop(state);
        if first {
            self.0.wake.notify_all();
        }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> RecorderStatus {
        let state = self.0.lock();
        RecorderStatus { queued: state.octets, ..state.status.clone() }
    }

    /// By which settings it records; `None`: not at all.
    #[must_use]
    pub fn settings(&self) -> Option<Arc<Recording>> {
        self.0.lock().settings.clone()
    }
}

impl Shared {
    /// The state is whole after every step, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Octets that may wait for the disk: seconds of a full table from several peers.
const QUEUE_OCTETS: usize = 32 << 20;

#[cfg(test)]
mod tests;
