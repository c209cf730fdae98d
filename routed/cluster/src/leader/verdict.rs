//! What the cluster makes of each object: its condition `Accepted`, and the sessions with each peer.
//!
//! In: what every node says of itself, a report at a time, and the objects. Out: the status that each is to
//! have. Of the reports nothing is kept but counts and, for each problem, the words of one and some names.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use routed_api::{BGPNodeStatusStatus, ObjectProblem, SessionState};

/// What the nodes' reports come to.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Nodes that report.
    nodes: usize,
    /// Of each object (`BGPPeer/tor`), by reason.
    problems: BTreeMap<String, BTreeMap<String, Complaint>>,
    /// Of each BGPPeer.
    sessions: BTreeMap<String, Sessions>,
}

/// Nodes that have one problem with an object.
#[derive(Debug)]
struct Complaint {
    nodes: usize,
    /// Some of them.
    names: Vec<String>,
    /// In the words of the first.
    message: String,
}

/// Sessions with a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    pub(super) all: i32,
    pub(super) established: i32,
}

/// What a condition is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) holds: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Reports {
    /// Takes in what a node says.
    pub(super) fn add(&mut self, node: &str, status: BGPNodeStatusStatus) {
        self.nodes += 1;
        let mut counted = BTreeSet::new();
        for ObjectProblem { object, reason, message } in status.problems {
            if !counted.insert((object.clone(), reason.clone())) {
                // Two fields of one object at fault: the node counts once.
                continue;
            }
            let of_object = self.problems.entry(object).or_default();
            if of_object.len() >= REASONS && !of_object.contains_key(&reason) {
                continue;
            }
            let complaint = of_object.entry(reason).or_insert_with(|| Complaint {
                nodes: 0,
                names: Vec::new(),
                message: message.chars().take(MESSAGE).collect(),
            });
            complaint.nodes += 1;
            if complaint.names.len() < NAMES {
                complaint.names.push(node.to_owned());
            }
        }
        for session in status.sessions {
            let sessions = self.sessions.entry(session.peer).or_default();
            sessions.all = sessions.all.saturating_add(1);
            if session.state == SessionState::Established {
                sessions.established = sessions.established.saturating_add(1);
            }
        }
    }

    /// What the condition of an object is to say; `None`: no node has said anything yet.
    pub(super) fn verdict(&self, object: &str) -> Option<Verdict> {
        if self.nodes == 0 {
            return None;
        }
        let none = BTreeMap::new();
        let complaints = self.problems.get(object).unwrap_or(&none);
        // The one of most nodes; of as many, the first by name, so that it does not change for nothing.
        let worst =
            complaints.iter().max_by_key(|(reason, it)| (it.nodes, std::cmp::Reverse(*reason)));
        let Some((reason, complaint)) = worst else {
            return Some(Verdict {
                holds: true,
                reason: "Accepted".to_owned(),
                message: "every node that it is for heeds it".to_owned(),
            });
        };
        let Complaint { nodes, names, message } = complaint;
        let message = if *nodes == self.nodes {
            message.clone()
        } else {
            let more = if names.len() < *nodes { ", …" } else { "" };
            let names = names.join(", ");
            format!("not heeded on {nodes} of {} nodes ({names}{more}): {message}", self.nodes)
        };
        let others = complaints.len() - 1;
        let message = match others {
            0 => message,
            _ => format!("{message}; {others} more: routed show cluster on each node has them"),
        };
        Some(Verdict { holds: false, reason: word(reason), message })
    }

    /// Sessions that nodes have with a BGPPeer.
    pub(super) fn sessions(&self, peer: &str) -> Sessions {
        self.sessions.get(peer).copied().unwrap_or_default()
    }
}

/// The conditions with this one, since when it holds being kept; `None`: it says so already.
pub(super) fn with(
    conditions: &[Condition],
    kind: &str,
    verdict: &Verdict,
    generation: Option<i64>,
    now: Timestamp,
) -> Option<Vec<Condition>> {
    let status = if verdict.holds { "True" } else { "False" };
    let before = conditions.iter().find(|condition| condition.type_ == kind);
    let wanted = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.clone(),
        message: verdict.message.clone(),
        observed_generation: generation,
        last_transition_time: before
            .filter(|before| before.status == status)
            .map_or(Time(now), |before| before.last_transition_time.clone()),
    };
    if before == Some(&wanted) {
        return None;
    }
    let others = conditions.iter().filter(|condition| condition.type_ != kind).cloned();
    Some(others.chain([wanted]).collect())
}

/// What the API server takes as a reason: a node that says something else does not spoil the rest.
fn word(reason: &str) -> String {
    let is_word = reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.len() <= 128
        && reason.chars().all(|c| c.is_ascii_alphanumeric());
    if is_word { reason.to_owned() } else { "NotHeeded".to_owned() }
}

/// Problems of one object that are told apart.
const REASONS: usize = 8;
/// Nodes that are named for each.
const NAMES: usize = 3;
/// Characters of a message that are kept.
const MESSAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn report(
        problems: &[(&str, &str, &str)],
        sessions: &[(&str, SessionState)],
    ) -> BGPNodeStatusStatus {
        let problem = |(object, reason, message): &(&str, &str, &str)| ObjectProblem {
            object: (*object).to_owned(),
            reason: (*reason).to_owned(),
            message: (*message).to_owned(),
        };
        let session = |(peer, state): &(&str, SessionState)| routed_api::Session {
            peer: (*peer).to_owned(),
            address: "192.0.2.1".to_owned(),
            as_number: None,
            state: *state,
            since: None,
            last_error: None,
            received: None,
            accepted: None,
            advertised: None,
        };
        BGPNodeStatusStatus {
            problems: problems.iter().map(problem).collect(),
            sessions: sessions.iter().map(session).collect(),
            ..BGPNodeStatusStatus::default()
        }
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_problem_of_some_nodes_is_counted_and_named() {
        let mut reports = Reports::default();
        assert_eq!(reports.verdict("BGPPeer/tor"), None, "nobody has said anything");
        for node in 0..40 {
            let label = ("BGPPeer/tor", "NodeLabelMissing", "spec.asNumberLabel: label the node");
            let twice = [label, label, ("IPPool/b", "Overlap", "overlaps a")];
            let problems = if node < 5 { &twice[..] } else { &twice[2..] };
            let up = if node < 30 { SessionState::Established } else { SessionState::Active };
            reports.add(&format!("n{node:02}"), report(problems, &[("tor", up), ("file:x", up)]));
        }
        let verdict = reports.verdict("BGPPeer/tor").unwrap();
        assert_eq!((verdict.holds, &*verdict.reason), (false, "NodeLabelMissing"));
        assert_eq!(
            verdict.message,
            "not heeded on 5 of 40 nodes (n00, n01, n02, …): spec.asNumberLabel: label the node"
        );
        assert_eq!(reports.verdict("IPPool/b").unwrap().message, "overlaps a", "on every node");
        let good = reports.verdict("IPPool/a").unwrap();
        assert_eq!((good.holds, &*good.reason), (true, "Accepted"));
        assert_eq!(reports.sessions("tor"), Sessions { all: 40, established: 30 });
        assert_eq!(reports.sessions("other"), Sessions::default());
    }

    #[test]
    fn whatever_nodes_say_is_bounded_and_can_be_written() {
        let mut reports = Reports::default();
        for number in 0..100 {
            let reason = format!("not a word {number}");
            let long = "é".repeat(5000);
            reports.add("n", report(&[("IPPool/p", &reason, &long)], &[]));
        }
        let verdict = reports.verdict("IPPool/p").unwrap();
        assert_eq!(verdict.reason, "NotHeeded");
        assert!(verdict.message.chars().count() < 1200 && verdict.message.contains("7 more"));
    }

    #[test]
    fn a_condition_is_written_when_it_changes_and_keeps_since_when_it_holds() {
        let yes = Verdict { holds: true, reason: "Accepted".to_owned(), message: "m".to_owned() };
        let no = Verdict { holds: false, reason: "Overlap".to_owned(), message: "x".to_owned() };
        let other = with(&[], "Other", &yes, None, time(0)).unwrap();
        let first = with(&other, "Accepted", &yes, Some(1), time(1)).unwrap();
        assert_eq!(first.len(), 2);
        assert_eq!(with(&first, "Accepted", &yes, Some(1), time(2)), None);
        let second = with(&first, "Accepted", &yes, Some(2), time(3)).unwrap();
        assert_eq!(
            (second[1].observed_generation, &second[1].last_transition_time),
            (Some(2), &Time(time(1)))
        );
        let third = with(&second, "Accepted", &no, Some(2), time(4)).unwrap();
        assert_eq!((&*third[1].status, &third[1].last_transition_time), ("False", &Time(time(4))));
    }
}
