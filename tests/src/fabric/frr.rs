//! What FRR says, by `vtysh`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Fabric, Seen, as_path};

/// The routes that it has learned from a neighbour (by address), or are its own (`(unspec)`).
#[must_use]
pub fn learned(fabric: &Fabric, router: &str, from: &str) -> Vec<Seen> {
    let mut routes = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let command = format!("show bgp {family} unicast json");
        let table = fabric.ask_json(router, &["vtysh", "-c", &command]);
        for (prefix, paths) in table["routes"].as_object().into_iter().flatten() {
            let paths = paths.as_array().into_iter().flatten();
            for path in paths.filter(|path| path["peerId"] == from) {
                routes.extend(seen(fabric, router, family, prefix, path));
            }
        }
    }
    routes.sort();
    routes
}

/// What it says of the session with a neighbour.
#[must_use]
pub fn session(fabric: &Fabric, router: &str, neighbour: &str) -> String {
    fabric.ask(router, &["vtysh", "-c", &format!("show bgp neighbors {neighbour}")])
}

/// `None` if the route has gone since the table was told.
fn seen(fabric: &Fabric, router: &str, family: &str, prefix: &str, path: &Value) -> Option<Seen> {
    // The table has no communities; the route itself has.
    let command = format!("show bgp {family} unicast {prefix} json");
    // Of a network that is not in the table FRR says so in plain words.
    let answer = fabric.ask(router, &["vtysh", "-c", &command]);
    let whole: Value = serde_json::from_str(&answer).ok()?;
    let peer = &path["peerId"];
    let of_peer = |other: &&Value| {
        other["peer"]["peerId"] == *peer || (peer == "(unspec)" && other["sourced"] == true)
    };
    let details = whole["paths"].as_array().into_iter().flatten().find(of_peer)?;
    let communities = |key: &str| -> BTreeSet<String> {
        let text = details[key]["string"].as_str().unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let hops = path["nexthops"].as_array().into_iter().flatten();
    let global = hops.into_iter().find(|hop| hop["scope"] != "link-local");
    let next_hop = global.and_then(|hop| hop["ip"].as_str()).and_then(|hop| hop.parse().ok());
    Some(Seen {
        prefix: prefix.parse().expect("FRR's own key"),
        next_hop: next_hop.unwrap_or_else(|| panic!("{prefix} has no global next hop: {path}")),
        as_path: as_path(path["path"].as_str().unwrap_or_default()),
        communities: communities("community"),
        large_communities: communities("largeCommunity"),
        med: path["metric"].as_u64().map(|med| med.try_into().expect("32 bits")),
    })
}
