//! One line for each node.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use routed_api::{BGPNodeStatus, IPBlock};
use serde::Serialize;

use crate::{
    peers::{seconds, stale},
    table::{Align, Table, age},
};

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    node: String,
    version: Option<String>,
    as_number: Option<i64>,
    #[serde(rename = "routerID")]
    router_id: Option<String>,
    sessions: Option<i32>,
    established: Option<i32>,
    blocks: usize,
    problems: usize,
    /// Of its condition Ready: `True`, `False`, or `Unknown`.
    ready: String,
    /// Why not.
    reason: Option<String>,
    reported_seconds: Option<u64>,
    stale: bool,
    /// There is a Node object of this name, as far as is known.
    known: bool,
}

/// Every node that has reported, has blocks, or has a Node object. `known`: those that have one, unless
/// it is forbidden to know.
pub(crate) fn rows(
    reports: &[BGPNodeStatus],
    blocks: &[IPBlock],
    known: Option<&[String]>,
    now: Timestamp,
) -> Vec<Row> {
    let reports: BTreeMap<_, _> =
        reports.iter().map(|report| (report.spec.node.0.as_str(), report)).collect();
    let mut claims: BTreeMap<&str, usize> = BTreeMap::new();
    for block in blocks {
        *claims.entry(&block.spec.node.0).or_default() += 1;
    }
    let known: Option<BTreeSet<_>> = known.map(|known| known.iter().map(String::as_str).collect());
    let names: BTreeSet<_> =
        reports.keys().chain(claims.keys()).chain(known.iter().flatten()).copied().collect();
    let row = |name: &str| {
        let report = reports.get(name).copied();
        let status = report.and_then(|report| report.status.as_ref());
        let ready = status.and_then(|status| {
            status.conditions.iter().find(|condition| condition.type_ == "Ready")
        });
        let updated = status.and_then(|status| status.last_updated.as_ref());
        let stale = report.is_some_and(|report| stale(report, now).is_some());
        Row {
            node: name.to_owned(),
            version: status.and_then(|status| status.version.clone()),
            as_number: status.and_then(|status| status.as_number),
            router_id: status.and_then(|status| status.router_id.clone()),
            sessions: status.and_then(|status| status.session_count),
            established: status.and_then(|status| status.established_count),
            blocks: claims.get(name).copied().unwrap_or(0),
            problems: status.map_or(0, |status| status.problems.len()),
            ready: match ready {
                Some(ready) if !stale => ready.status.clone(),
                Some(_) | None => "Unknown".to_owned(),
            },
            reason: ready.filter(|ready| ready.status != "True").map(|ready| ready.message.clone()),
            reported_seconds: updated.map(|updated| seconds(updated.0, now)),
            stale,
            known: known.as_ref().is_none_or(|known| known.contains(name)),
        }
    };
    names.into_iter().map(row).collect()
}

pub(crate) fn text(rows: &[Row]) -> String {
    let mut table = Table::new()
        .column("NODE", Align::Left)
        .column("AS", Align::Right)
        .column("ROUTER ID", Align::Left)
        .column("SESSIONS", Align::Right)
        .column("ESTABLISHED", Align::Right)
        .column("BLOCKS", Align::Right)
        .column("PROBLEMS", Align::Right)
        .column("READY", Align::Left)
        .column("REPORTED", Align::Left)
        .column("VERSION", Align::Left)
        .optional("REMARK", Align::Left);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        let ago = |seconds| {
            let stale = if row.stale { "stale: " } else { "" };
            format!("{stale}{} ago", age(seconds))
        };
        let remark = match (row.known, row.reported_seconds) {
            (false, _) => "there is no such Node",
            (true, None) => "its routed has not reported: does it run there?",
            (true, Some(_)) => row.reason.as_deref().unwrap_or_default(),
        };
        table.row([
            row.node.clone(),
            or_dash(row.as_number.map(|asn| asn.to_string())),
            or_dash(row.router_id.clone()),
            or_dash(row.sessions.map(|count| count.to_string())),
            or_dash(row.established.map(|count| count.to_string())),
            row.blocks.to_string(),
            row.problems.to_string(),
            row.ready.clone(),
            row.reported_seconds.map_or("never".to_owned(), ago),
            or_dash(row.version.clone()),
            remark.to_owned(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use routed_api::{BGPNodeStatusStatus, IPBlockSpec};

    use super::*;
    use crate::peers::tests::{ago, now, report};

    #[test]
    fn every_node_has_a_line_whether_it_reports_or_not() {
        let ready = Condition {
            type_: "Ready".to_owned(),
            status: "False".to_owned(),
            reason: "NotReady".to_owned(),
            message: "no session".to_owned(),
            last_transition_time: ago(10),
            observed_generation: None,
        };
        let status = BGPNodeStatusStatus {
            version: Some("0.1.0".to_owned()),
            as_number: Some(64_512),
            router_id: Some("10.0.0.1".to_owned()),
            session_count: Some(2),
            established_count: Some(1),
            conditions: vec![ready],
            ..BGPNodeStatusStatus::default()
        };
        let block = IPBlock::new(
            "10-244-1-0-26",
            IPBlockSpec {
                cidr: "10.244.1.0/26".into(),
                pool: "pods".into(),
                node: "gone".into(),
                node_uid: None,
            },
        );
        let known = ["n1".to_owned(), "new".to_owned()];
        let rows = rows(&[report("n1", status)], &[block], Some(&known), now());
        assert_eq!(
            text(&rows),
            "NODE     AS  ROUTER ID  SESSIONS  ESTABLISHED  BLOCKS  PROBLEMS  READY    REPORTED   VERSION  REMARK\n\
             gone      -  -                 -            -       1         0  Unknown  never      -        there is no such Node\n\
             n1    64512  10.0.0.1          2            1       0         0  False    1m00s ago  0.1.0    no session\n\
             new       -  -                 -            -       0         0  Unknown  never      -        its routed has not reported: does it run there?\n"
        );
    }
}
