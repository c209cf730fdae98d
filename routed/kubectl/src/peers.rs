//! Sessions of all nodes, from what the nodes report.

use k8s_openapi::jiff::Timestamp;
use routed_api::{BGPNodeStatus, Session, SessionState};
use serde::Serialize;

use crate::table::{Align, Table, age};

/// One session of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    node: String,
    peer: String,
    address: String,
    as_number: Option<i64>,
    state: String,
    /// How long it is up or down.
    since_seconds: Option<u64>,
    received: Option<i64>,
    accepted: Option<i64>,
    advertised: Option<i64>,
    last_error: Option<String>,
    /// How long ago the node said so, if that is too long.
    stale_seconds: Option<u64>,
}

/// What there is to be told.
pub(crate) struct Sessions {
    /// Those that are down first.
    pub(crate) rows: Vec<Row>,
    /// Established sessions that nodes count and do not list: those of a mesh.
    unlisted: i64,
    /// Nodes that have not reported for long, or never.
    stale: usize,
    nodes: usize,
}

impl Sessions {
    pub(crate) fn of(reports: &[BGPNodeStatus], now: Timestamp) -> Self {
        let mut all = Self { rows: Vec::new(), unlisted: 0, stale: 0, nodes: reports.len() };
        for report in reports {
            let stale = stale(report, now);
            all.stale += usize::from(stale.is_some());
            let Some(status) = &report.status else { continue };
            let listed = status.sessions.iter().filter(|session| is_up(session)).count();
            let counted = i64::from(status.established_count.unwrap_or(0));
            all.unlisted += (counted - i64::try_from(listed).unwrap_or(i64::MAX)).max(0);
            let rows = status.sessions.iter().map(|session| Row::of(report, session, stale, now));
            all.rows.extend(rows);
        }
        all.rows.sort_by(|a, b| a.rank().cmp(&b.rank()));
        all
    }

    /// Every session is established, as far as is known.
    pub(crate) fn are_up(&self) -> bool {
        self.stale == 0 && self.rows.iter().all(Row::is_up)
    }

    pub(crate) fn text(&self) -> String {
        if self.nodes == 0 {
            return "no node has reported yet; `kubectl get pods -A -l app.kubernetes.io/name=slash32` \
                    shows the daemons\n"
                .to_owned();
        }
        let mut table = Table::new()
            .column("NODE", Align::Left)
            .column("PEER", Align::Left)
            .column("ADDRESS", Align::Left)
            .column("AS", Align::Right)
            .column("STATE", Align::Left)
            .column("UP/DOWN", Align::Right)
            .column("RECEIVED", Align::Right)
            .column("ACCEPTED", Align::Right)
            .column("ADVERTISED", Align::Right)
            .optional("REPORTED", Align::Left)
            .optional("LAST ERROR", Align::Left);
        let or_dash =
            |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        for row in &self.rows {
            let error = row.last_error.clone().filter(|_| !row.is_up());
            table.row([
                row.node.clone(),
                row.peer.clone(),
                row.address.clone(),
                row.as_number.map_or("external".to_owned(), |asn| asn.to_string()),
                row.state.clone(),
                row.since_seconds.map_or("-".to_owned(), age),
                or_dash(row.received),
                or_dash(row.accepted),
                or_dash(row.advertised),
                row.stale_seconds
                    .map(|seconds| format!("stale: {} ago", age(seconds)))
                    .unwrap_or_default(),
                error.unwrap_or_default(),
            ]);
        }
        format!("{table}{}", self.rest())
    }

    /// What the table leaves out.
    fn rest(&self) -> String {
        let mut text = String::new();
        if self.unlisted > 0 {
            text += &format!("\nand {} established sessions between nodes\n", self.unlisted);
        }
        if self.stale > 0 {
            text += &format!(
                "\n{} of {} nodes have not reported for 15 minutes; `kubectl slash32 nodes` lists them\n",
                self.stale, self.nodes
            );
        }
        text
    }
}

impl Row {
    fn of(report: &BGPNodeStatus, session: &Session, stale: Option<u64>, now: Timestamp) -> Self {
        let since = session.since.as_ref().map(|since| seconds(since.0, now));
        Self {
            node: report.spec.node.0.clone(),
            peer: session.peer.clone(),
            address: session.address.clone(),
            as_number: session.as_number,
            state: format!("{:?}", session.state),
            since_seconds: since,
            received: session.received,
            accepted: session.accepted,
            advertised: session.advertised,
            last_error: session.last_error.clone(),
            stale_seconds: stale,
        }
    }

    fn is_up(&self) -> bool {
        self.state == format!("{:?}", SessionState::Established)
    }

    /// What is down stands before what may be, and that before what is up.
    fn rank(&self) -> (u8, &str, &str, &str) {
        let class = match (self.is_up(), self.stale_seconds) {
            (false, _) => 0,
            (true, Some(_)) => 1,
            (true, None) => 2,
        };
        (class, &self.node, &self.peer, &self.address)
    }
}

fn is_up(session: &Session) -> bool {
    session.state == SessionState::Established
}

/// How long ago a node reported, if that is too long; of one that never has, since its object is there.
pub(crate) fn stale(report: &BGPNodeStatus, now: Timestamp) -> Option<u64> {
    let reported = report.status.as_ref().and_then(|status| status.last_updated.as_ref());
    let reported = reported.or(report.metadata.creation_timestamp.as_ref());
    let ago = reported.map_or(0, |reported| seconds(reported.0, now));
    (ago > STALE).then_some(ago)
}

/// From a moment to now; clocks of nodes may be ahead.
pub(crate) fn seconds(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0)
}

/// A node reports every five minutes at least. Seconds.
const STALE: u64 = 900;

#[cfg(test)]
pub(crate) mod tests {
    use routed_api::{BGPNodeStatusSpec, BGPNodeStatusStatus};

    use super::*;

    pub(crate) fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    pub(crate) fn ago(seconds: i64) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
        Timestamp::from_second(1_800_000_000 - seconds).unwrap().into()
    }

    pub(crate) fn report(node: &str, status: BGPNodeStatusStatus) -> BGPNodeStatus {
        let spec = BGPNodeStatusSpec { node: node.into() };
        let status = BGPNodeStatusStatus { last_updated: Some(ago(60)), ..status };
        BGPNodeStatus { status: Some(status), ..BGPNodeStatus::new(node, spec) }
    }

    fn session(peer: &str, state: SessionState, error: Option<&str>) -> Session {
        Session {
            peer: peer.to_owned(),
            address: "10.1.1.0".to_owned(),
            as_number: Some(4_200_000_001),
            state,
            since: Some(ago(3_700)),
            last_error: error.map(str::to_owned),
            received: Some(12),
            accepted: Some(11),
            advertised: Some(2),
        }
    }

    fn with(sessions: Vec<Session>, established: i32) -> BGPNodeStatusStatus {
        let count = Some(established);
        BGPNodeStatusStatus { sessions, established_count: count, ..BGPNodeStatusStatus::default() }
    }

    #[test]
    fn what_is_down_comes_first_with_its_error_and_the_mesh_is_counted() {
        let up = session("tor1", SessionState::Established, Some("an old one"));
        let down = session("tor2", SessionState::Connect, Some("connection refused"));
        let reports =
            [report("n1", with(vec![up.clone()], 100)), report("n2", with(vec![up, down], 1))];
        let sessions = Sessions::of(&reports, now());
        assert!(!sessions.are_up());
        assert_eq!(
            sessions.text(),
            "NODE  PEER  ADDRESS           AS  STATE        UP/DOWN  RECEIVED  ACCEPTED  ADVERTISED  LAST ERROR\n\
             n2    tor2  10.1.1.0  4200000001  Connect        1h01m        12        11           2  connection refused\n\
             n1    tor1  10.1.1.0  4200000001  Established    1h01m        12        11           2\n\
             n2    tor1  10.1.1.0  4200000001  Established    1h01m        12        11           2\n\
             \nand 99 established sessions between nodes\n"
        );
    }

    #[test]
    fn a_node_that_is_silent_is_marked_and_counts_as_down() {
        let mut silent =
            report("n1", with(vec![session("tor1", SessionState::Established, None)], 1));
        let fresh = report("n2", with(Vec::new(), 0));
        assert!(Sessions::of(&[silent.clone(), fresh.clone()], now()).are_up());
        silent.status.as_mut().unwrap().last_updated = Some(ago(7_300));
        let sessions = Sessions::of(&[silent, fresh], now());
        assert!(!sessions.are_up());
        let text = sessions.text();
        assert!(text.contains("stale: 2h01m ago"), "{text}");
        assert!(text.contains("1 of 2 nodes have not reported"), "{text}");
    }

    #[test]
    fn programs_get_names_that_are_kept() {
        let reports = [report("n1", with(vec![session("tor1", SessionState::Idle, None)], 0))];
        let json = serde_json::to_value(Sessions::of(&reports, now()).rows).unwrap();
        assert_eq!(
            json,
            serde_json::json!([{"node": "n1", "peer": "tor1", "address": "10.1.1.0",
                "asNumber": 4_200_000_001_u32, "state": "Idle", "sinceSeconds": 3_700, "received": 12,
                "accepted": 11, "advertised": 2, "lastError": null, "staleSeconds": null}])
        );
    }

    #[test]
    fn where_nobody_has_reported_the_text_says_where_to_look() {
        assert!(Sessions::of(&[], now()).text().contains("no node has reported yet"));
    }
}
