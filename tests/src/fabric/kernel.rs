//! Everything that a pod could leave behind in a kernel, as text to be compared.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

use super::{Fabric, eventually};

/// The state of a network namespace, of a router or a pod: links, addresses, routes of all
/// tables, rules, permanent neighbours, nftables without its counters. Those neighbours that the kernel has learned by
/// itself come and go with the traffic and are left out.
///
/// Waits until the kernel has come to rest: it tells of a carrier up to a second late, and gives
/// the interface its link-local address only then.
#[must_use]
pub fn state(fabric: &Fabric, place: &str) -> String {
    eventually(
        &format!("all links of {place} are up"),
        || fabric.ask_json(place, &["ip", "-j", "-d", "address", "show"]),
        |links| links.as_array().into_iter().flatten().all(is_at_rest),
    );
    let next_hops = NextHops::of(fabric, place);
    let mut state = String::new();
    for part in PARTS {
        let argv: Vec<&str> = part.split(' ').collect();
        let mut value = fabric.ask_json(place, &argv);
        for route in value.as_array_mut().into_iter().flatten() {
            next_hops.write_out(route);
        }
        writeln!(state, "{part}:").expect("String takes all");
        // A number that the kernel counts up for each nftables object that is ever made.
        let text = format!("{value:#}");
        let lasting = text.lines().filter(|line| !line.trim_start().starts_with("\"handle\":"));
        lasting.for_each(|line| writeln!(state, "{line}").expect("String takes all"));
    }
    state
}

/// The next-hop objects by id. Ids are given out anew after a loss: what counts is where they lead.
struct NextHops(BTreeMap<u64, Value>);

impl NextHops {
    fn of(fabric: &Fabric, place: &str) -> Self {
        let listed = fabric.ask_json(place, &["ip", "-j", "nexthop", "show"]);
        let by_id = |object: &Value| Some((object["id"].as_u64()?, object.clone()));
        Self(listed.as_array().into_iter().flatten().filter_map(by_id).collect())
    }

    /// Puts in place of the id that a route has what it stands for.
    fn write_out(&self, route: &mut Value) {
        if let Some(id) = route["nhid"].as_u64() {
            route["nhid"] = self.behind(id);
        }
    }

    fn behind(&self, id: u64) -> Value {
        let Some(object) = self.0.get(&id) else { return "nothing".into() };
        match object["group"].as_array() {
            Some(members) => {
                let member = |member: &Value| {
                    let hop = member["id"].as_u64().map(|id| self.behind(id));
                    format!("{} weight {}", hop.unwrap_or_default(), member["weight"])
                };
                let mut members: Vec<_> = members.iter().map(member).collect();
                members.sort();
                members.into()
            }
            None => format!("{} {}", object["gateway"], object["dev"]).into(),
        }
    }
}

fn is_at_rest(link: &Value) -> bool {
    let addresses = link["addr_info"].as_array().into_iter().flatten();
    let mut scopes = addresses.map(|address| &address["scope"]);
    let wants_link_local = link["ifname"] != "lo" && link["inet6_addr_gen_mode"] == "eui64";
    link["ifname"] == "lo"
        || (link["operstate"] == "UP" && (!wants_link_local || scopes.any(|scope| scope == "link")))
}

/// Waits until the state is as it was: a pod's pair is deleted after DEL has been answered.
pub fn settles_to(fabric: &Fabric, place: &str, before: &str) {
    eventually(
        &format!("{place}'s kernel is as it was"),
        || Differences::between(before, &state(fabric, place)),
        |differences| differences.0.is_empty(),
    );
}

/// Asserts that the state is as it was, at this moment.
#[track_caller]
pub fn is_still(fabric: &Fabric, place: &str, before: &str) {
    let differences = Differences::between(before, &state(fabric, place));
    assert!(differences.0.is_empty(), "{place}'s kernel has changed: {differences:#?}");
}

/// Lines that only one of two states has.
#[derive(Debug)]
struct Differences(
    // Read by `Debug`, for the one who sees the failure.
    Vec<String>,
);

impl Differences {
    fn between(before: &str, now: &str) -> Self {
        let only_in = |a: &str, b: &str, sign: char| -> Vec<String> {
            let lacking = a.lines().filter(|line| !b.lines().any(|other| other == *line));
            lacking.map(|line| format!("{sign} {line}")).collect()
        };
        if before == now {
            return Self(Vec::new());
        }
        let mut lines = only_in(before, now, '-');
        lines.extend(only_in(now, before, '+'));
        lines.push("(lines in another order or number)".to_owned());
        Self(lines)
    }
}

const PARTS: [&str; 9] = [
    "ip -j -d link show",
    "ip -j address show",
    "ip -j -4 route show table all",
    "ip -j -6 route show table all",
    "ip -j -4 rule show",
    "ip -j -6 rule show",
    "ip -j neigh show nud permanent",
    "ip -j neigh show proxy",
    "nft -j -s list ruleset",
];
