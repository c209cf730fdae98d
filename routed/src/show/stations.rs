//! The table of monitoring stations.

use super::{
    or_dash,
    table::{Align, Table, age},
    view::{StationMessages, StationView},
};

/// One line a station.
pub(super) fn table(stations: &[StationView]) -> String {
    if stations.is_empty() {
        return "no monitoring stations: routed.toml has no [[bmp]]\n".to_owned();
    }
    let mut table = Table::new()
        .column("STATION", Align::Left)
        .column("ADDRESS", Align::Left)
        .column("VIEWS", Align::Left)
        .column("STATE", Align::Left)
        .column("SINCE", Align::Right)
        .column("CONNECTS", Align::Right)
        .column("MSGSENT", Align::Right)
        .column("QUEUED", Align::Right)
        .optional("LAST ERROR", Align::Left);
    for station in stations {
        let StationMessages { peer_up, peer_down, route_monitoring, statistics, other } =
            station.messages;
        table.row([
            station.name.clone(),
            station.address.to_string(),
            station.views.join(" "),
            station.state.clone(),
            or_dash(station.since_seconds.map(age)),
            station.connections.to_string(),
            (peer_up + peer_down + route_monitoring + statistics + other).to_string(),
            station.queued_octets.to_string(),
            last_error(station),
        ]);
    }
    table.to_string()
}

/// Why there is no connection. An error that is overcome is nothing to act upon; programs find it
/// in the JSON.
fn last_error(station: &StationView) -> String {
    let connected = station.state == "connected";
    let Some(error) = station.last_error.as_ref().filter(|_| !connected) else {
        return String::new();
    };
    match station.next_attempt_seconds {
        Some(seconds) => format!("{error} (next attempt in {seconds} s)"),
        None => error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stations_have_a_line_each_with_the_error_of_those_that_are_not_there() {
        let connected = StationView {
            name: "collector".to_owned(),
            address: "192.0.2.10:5000".parse().unwrap(),
            views: vec!["pre-policy".to_owned(), "loc-rib".to_owned()],
            state: "connected".to_owned(),
            since_seconds: Some(75),
            connections: 2,
            messages: StationMessages {
                peer_up: 3,
                peer_down: 1,
                route_monitoring: 500,
                statistics: 4,
                other: 2,
            },
            octets: 40_000,
            queued_octets: 0,
            last_error: Some("the station closed the connection".to_owned()),
            last_error_seconds: Some(80),
            next_attempt_seconds: None,
        };
        let waiting = StationView {
            name: "second".to_owned(),
            state: "waiting".to_owned(),
            next_attempt_seconds: Some(28),
            ..connected.clone()
        };
        assert_eq!(
            table(&[connected, waiting]),
            "STATION    ADDRESS          VIEWS               STATE      SINCE  CONNECTS  MSGSENT  QUEUED  LAST ERROR\n\
             collector  192.0.2.10:5000  pre-policy loc-rib  connected  1m15s         2      510       0\n\
             second     192.0.2.10:5000  pre-policy loc-rib  waiting    1m15s         2      510       0  the station closed the connection (next attempt in 28 s)\n"
        );
    }
}
