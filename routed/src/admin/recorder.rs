//! Answers about the recorder.

use std::time::Instant;

use crate::{
    mrt::{RecorderStatus, RecordingState},
    show::view::RecorderView,
    sources::Sources,
};

/// The recorder, if something is recorded.
pub(super) fn all(sources: &Sources) -> Vec<RecorderView> {
    let Some(settings) = sources.recorder.settings() else { return Vec::new() };
    let RecorderStatus {
        state,
        file_octets,
        records,
        octets,
        dropped,
        rotations,
        queued,
        last_error,
        failed_at,
    } = sources.recorder.status();
    let ago = |at: Instant| at.elapsed().as_secs();
    vec![RecorderView {
        file: settings.file.clone(),
        state: match state {
            RecordingState::Off => "starting",
            RecordingState::Recording => "recording",
            RecordingState::Failing => "failing",
        }
        .to_owned(),
        file_octets,
        records,
        octets,
        dropped,
        rotations,
        queued_octets: queued,
        last_error: last_error.as_ref().map(ToString::to_string),
        last_error_seconds: failed_at.map(ago),
    }]
}
