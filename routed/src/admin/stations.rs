//! Answers about monitoring stations.

use std::time::Instant;

use crate::{
    bmp::{Messages, Phase, StationHandle},
    show::view::{StationMessages, StationView},
    sources::Sources,
};

/// Every station, in the order of the configuration.
pub(super) fn all(sources: &Sources) -> Vec<StationView> {
    let now = Instant::now();
    sources.stations.now().iter().map(|station| view(station, now)).collect()
}

fn view(station: &StationHandle, now: Instant) -> StationView {
    let (settings, status) = (&station.settings, station.status());
    let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
    StationView {
        name: settings.name.to_string(),
        address: settings.address,
        views: settings.views.iter().map(|view| view.to_string()).collect(),
        state: match status.phase {
            Phase::Connecting => "connecting",
            Phase::Connected => "connected",
            Phase::Waiting => "waiting",
        }
        .to_owned(),
        since_seconds: status.since.map(ago),
        connections: status.connections,
        messages: messages(status.sent),
        octets: status.octets,
        queued_octets: status.queued,
        last_error: status.last_error.as_ref().map(ToString::to_string),
        last_error_seconds: status.failed_at.map(ago),
        next_attempt_seconds: status
            .next_attempt
            .map(|next| next.saturating_duration_since(now).as_secs()),
    }
}

const fn messages(sent: Messages) -> StationMessages {
    let Messages { peer_up, peer_down, route_monitoring, statistics, other } = sent;
    StationMessages { peer_up, peer_down, route_monitoring, statistics, other }
}
