//! What is known of the recorder at this moment, for tables and metrics.

use std::{sync::Arc, time::Instant};

use super::MrtError;

/// How recording goes.
#[derive(Clone, Debug, Default)]
pub struct RecorderStatus {
    /// Whether the file can be written.
    pub state: RecordingState,
    /// Octets in the file at present.
    pub file_octets: u64,
    /// Records written, in all files.
    pub records: u64,
    /// Octets written, in all files.
    pub octets: u64,
    /// Records dropped, since they did not fit the queue or could not be written.
    pub dropped: u64,
    /// Files put aside.
    pub rotations: u64,
    /// Octets that wait for the disk.
    pub queued: usize,
    /// What went wrong last.
    pub last_error: Option<Arc<MrtError>>,
    /// When that was.
    pub failed_at: Option<Instant>,
}

/// Whether the file can be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordingState {
    /// Nothing is recorded.
    #[default]
    Off,
    /// It can.
    Recording,
    /// It cannot, and is tried again.
    Failing,
}
