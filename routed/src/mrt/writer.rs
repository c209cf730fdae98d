//! The thread that writes.
//!
//! In: records that wait, settings that change, the clock. Out: the file. Ends when told to, after
//! what waits is written, if that can be.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use super::{MrtError, RecordingState, Shared, file::MrtFile};
use crate::config::Recording;

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    generation: u64,
    settings: Option<Arc<Recording>>,
    file: Option<MrtFile>,
    /// Records taken from the queue and not written yet.
    batch: VecDeque<Bytes>,
    /// When a file that cannot be written is tried again.
    retry_at: Option<Instant>,
    /// Records dropped when that was last told.
    told_dropped: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            generation: 0,
            settings: None,
            file: None,
            batch: VecDeque::new(),
            retry_at: None,
            told_dropped: 0,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let stopping = self.wait();
            if self.retry_at.is_none_or(|at| at <= Instant::now()) || stopping {
                match self.work() {
                    Ok(()) => self.recovered(),
                    Err(error) => self.failed(error),
                }
            }
            self.follow_settings();
            self.tell_dropped();
            if stopping {
                return self.give_up();
            }
        }
    }

    /// Waits for something to do, and takes what is to be written. True if the thread has to end.
    fn wait(&mut self) -> bool {
        let mut state = self.shared.lock();
        loop {
            let changed = self.shared.generation.load(Ordering::Acquire) != self.generation;
            let may_write = self.retry_at.is_none_or(|at| at <= Instant::now());
            let has_work = !(self.batch.is_empty() && state.queue.is_empty());
            if state.stopping || changed || (may_write && (has_work || self.is_rotation_due())) {
                // Behind what could not be written yet: at the end nothing is left in the queue.
                self.batch.append(&mut state.queue);
                return state.stopping;
            }
            let pause = self.pause();
            let woken = self.shared.wake.wait_timeout(state, pause);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How long nothing is to be done unless something happens.
    fn pause(&self) -> Duration {
        if let Some(at) = self.retry_at {
            return at.saturating_duration_since(Instant::now());
        }
        let due = self.rotation_time().and_then(|at| at.duration_since(SystemTime::now()).ok());
        due.unwrap_or(LONG)
    }

    fn rotation_time(&self) -> Option<SystemTime> {
        let interval = self.settings.as_ref()?.rotate_interval?;
        self.file.as_ref()?.due(interval)
    }

    fn is_rotation_due(&self) -> bool {
        let Some(settings) = &self.settings else { return false };
        let full = |file: &MrtFile| settings.rotate_size.is_some_and(|size| file.len() >= size);
        self.rotation_time().is_some_and(|at| at <= SystemTime::now())
            || self.file.as_ref().is_some_and(full)
    }

    /// Opens the file, writes what was taken, puts the file aside when it is time.
    fn work(&mut self) -> Result<(), MrtError> {
        let Some(settings) = self.settings.clone() else {
            return Ok(());
        };
        self.opened(&settings)?;
        while !self.batch.is_empty() {
            if self.is_rotation_due() {
                self.rotate(&settings)?;
            }
            let (mut octets, mut count) = (Vec::new(), 0);
            for record in &self.batch {
                octets.extend_from_slice(record);
                count += 1;
                if octets.len() >= CHUNK {
                    break;
                }
            }
            let file = self.opened(&settings)?;
            file.append(&octets)?;
            let len = file.len();
            self.batch.drain(..count);
            let mut state = self.shared.lock();
            state.octets -= octets.len();
            state.status.records += count as u64;
            state.status.octets += octets.len() as u64;
            state.status.file_octets = len;
        }
        if self.is_rotation_due() { self.rotate(&settings) } else { Ok(()) }
    }

    fn opened(&mut self, settings: &Recording) -> Result<&mut MrtFile, MrtError> {
        match &mut self.file {
            Some(file) => Ok(file),
            none @ None => Ok(none.insert(MrtFile::open(&settings.file)?)),
        }
    }

    fn rotate(&mut self, settings: &Recording) -> Result<(), MrtError> {
        if let Some(file) = self.file.take() {
            file.put_aside(settings.keep)?;
            let mut state = self.shared.lock();
            state.status.rotations += 1;
            state.status.file_octets = 0;
        }
        Ok(())
    }

    /// Goes on with other settings, if there are any. What was taken before is written or given up.
    fn follow_settings(&mut self) {
        let state = self.shared.lock();
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let settings = state.settings.clone();
        drop(state);
        let path = |settings: &Option<Arc<Recording>>| {
            settings.as_ref().map(|settings| settings.file.clone())
        };
        if path(&self.settings) != path(&settings) {
            if self.settings.is_some() {
                self.drop_batch();
            }
            self.file = None;
        }
        self.settings = settings;
        self.retry_at = None;
        let mut state = self.shared.lock();
        match &self.settings {
            Some(settings) => {
                tracing::info!(file = %settings.file.display(), "recording what peers say");
                state.status.state = RecordingState::Recording;
            }
            None => state.status.state = RecordingState::Off,
        }
        drop(state);
        // That the file cannot be opened is told at once, not with the first record.
        if let Err(error) = self.work() {
            self.failed(error);
        }
    }

    fn failed(&mut self, error: MrtError) {
        self.file = None;
        self.retry_at = Some(Instant::now() + RETRY);
        let mut state = self.shared.lock();
        let first = state.status.state != RecordingState::Failing;
        if first {
            tracing::error!(%error, "what peers say is not recorded; sessions go on");
        }
        state.status.state = RecordingState::Failing;
        state.status.last_error = Some(Arc::new(error));
        state.status.failed_at = Some(Instant::now());
    }

    fn recovered(&mut self) {
        self.retry_at = None;
        let mut state = self.shared.lock();
        if state.status.state == RecordingState::Failing && self.settings.is_some() {
            state.status.state = RecordingState::Recording;
            let dropped = state.status.dropped;
            tracing::info!(dropped, "what peers say is recorded again");
        }
    }

    fn tell_dropped(&mut self) {
        let dropped = self.shared.lock().status.dropped;
        let new = dropped - std::mem::replace(&mut self.told_dropped, dropped);
        if new > 0 {
            tracing::warn!(
                dropped = new,
                "records of what peers say were dropped: the disk is slower"
            );
        }
    }

    fn drop_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let octets: usize = batch.iter().map(Bytes::len).sum();
        let mut state = self.shared.lock();
        state.octets -= octets;
        state.status.dropped += batch.len() as u64;
    }

    /// The end: what could not be written never will be.
    fn give_up(mut self) {
        self.drop_batch();
        self.tell_dropped();
    }
}

/// Octets written at once.
const CHUNK: usize = 256 << 10;
/// From a failure to the next attempt.
const RETRY: Duration = Duration::from_secs(1);
/// Something that is no deadline.
const LONG: Duration = Duration::from_secs(3600);
