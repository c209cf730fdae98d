//! What is amiss in the cluster, each with the nodes that say so.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use routed_api::BGPNodeStatus;
use serde::Serialize;

use crate::{
    cluster::Refused,
    peers::stale,
    table::{Align, Table, age},
};

/// One thing that is amiss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// As in `BGPPeer/tor`, or `Node/n1` if no object of ours is to blame.
    object: String,
    reason: String,
    message: String,
    /// Who says so; nobody, if only the object itself does.
    nodes: Vec<String>,
}

/// Everything, what concerns the most nodes first. Of what an object is refused for, nodes say it in
/// more words.
pub(crate) fn rows(reports: &[BGPNodeStatus], refused: &[Refused], now: Timestamp) -> Vec<Row> {
    let mut found: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
    for report in reports {
        let node = &report.spec.node.0;
        let mut add = |object: &str, reason: &str, message: &str| {
            let key = (object.to_owned(), reason.to_owned(), message.to_owned());
            found.entry(key).or_default().push(node.clone());
        };
        let own = format!("Node/{node}");
        if let Some(seconds) = stale(report, now) {
            let message = format!(
                "has not reported for {}: is the node up, does its routed run, does it reach the API server?",
                age(seconds)
            );
            add(&own, "Stale", &message);
        }
        let Some(status) = &report.status else { continue };
        for problem in &status.problems {
            add(&problem.object, &problem.reason, &problem.message);
        }
        for condition in status.conditions.iter().filter(|condition| condition.status == "False") {
            add(&own, &condition.reason, &condition.message);
        }
    }
    for Refused { object, reason, message } in refused {
        if !found.keys().any(|(known, why, _)| known == object && why == reason) {
            found.insert((object.clone(), reason.clone(), message.clone()), Vec::new());
        }
    }
    let row = |((object, reason, message), nodes)| Row { object, reason, message, nodes };
    let mut rows: Vec<_> = found.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.nodes.len()));
    rows
}

pub(crate) fn text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no node reports a problem, and every object is accepted\n".to_owned();
    }
    let mut table = Table::new()
        .column("OBJECT", Align::Left)
        .column("REASON", Align::Left)
        .column("NODES", Align::Left)
        .column("MESSAGE", Align::Left);
    for Row { object, reason, message, nodes } in rows {
        let shown = match nodes.as_slice() {
            _ if object.starts_with("Node/") && nodes.len() == 1 => String::new(),
            few if few.len() <= SHOWN => few.join(","),
            many => format!("{} and {} more", many[..SHOWN].join(","), many.len() - SHOWN),
        };
        table.row([object.clone(), reason.clone(), shown, message.clone()]);
    }
    table.to_string()
}

/// Nodes that are named in a line of the table.
const SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use routed_api::{BGPNodeStatusStatus, ObjectProblem};

    use super::*;
    use crate::peers::tests::{ago, now, report};

    #[test]
    fn what_many_nodes_say_is_one_line() {
        let problem = ObjectProblem {
            object: "BGPPeer/tor".to_owned(),
            reason: "SecretMissing".to_owned(),
            message: "make it".to_owned(),
        };
        let status =
            BGPNodeStatusStatus { problems: vec![problem], ..BGPNodeStatusStatus::default() };
        let mut reports: Vec<_> =
            (1..=5).map(|n| report(&format!("n{n}"), status.clone())).collect();
        reports[0].status.as_mut().unwrap().last_updated = Some(ago(1_000));
        let text = text(&rows(&reports, &[], now()));
        assert_eq!(
            text,
            "OBJECT       REASON         NODES                MESSAGE\n\
             BGPPeer/tor  SecretMissing  n1,n2,n3 and 2 more  make it\n\
             Node/n1      Stale                               has not reported for 16m40s: is the node \
             up, does its routed run, does it reach the API server?\n"
        );
    }

    #[test]
    fn nothing_is_said_so() {
        let fine = report("n1", BGPNodeStatusStatus::default());
        let said = text(&rows(&[fine], &[], now()));
        assert_eq!(said, "no node reports a problem, and every object is accepted\n");
    }

    #[test]
    fn an_object_that_is_refused_is_told_once() {
        let problem = ObjectProblem {
            object: "IPPool/pods".to_owned(),
            reason: "Overlap".to_owned(),
            message: "in many words".to_owned(),
        };
        let status =
            BGPNodeStatusStatus { problems: vec![problem], ..BGPNodeStatusStatus::default() };
        let refused = |object: &str| Refused {
            object: object.to_owned(),
            reason: "Overlap".to_owned(),
            message: "in few".to_owned(),
        };
        let refused = [refused("IPPool/pods"), refused("IPPool/other")];
        let rows = rows(&[report("n1", status)], &refused, now());
        let told: Vec<_> = rows.iter().map(|row| (&*row.object, &*row.message)).collect();
        assert_eq!(told, [("IPPool/pods", "in many words"), ("IPPool/other", "in few")]);
        assert_eq!(rows[1].nodes, [""; 0]);
    }
}
