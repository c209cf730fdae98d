//! What BIRD 2 says, by `birdc`.

use std::collections::BTreeSet;

use super::{Fabric, Seen, as_path};

/// The routes that one of its protocols has learned.
#[must_use]
pub fn learned(fabric: &Fabric, router: &str, protocol: &str) -> Vec<Seen> {
    read(&fabric.ask(router, &["birdc", "show", "route", "all", "protocol", protocol]))
}

/// What it says of a prefix that one of its protocols has learned; without `unicast` in it if there is
/// none.
#[must_use]
pub fn route(fabric: &Fabric, router: &str, protocol: &str, prefix: &str) -> String {
    let argv = ["birdc", "show", "route", prefix, "all", "protocol", protocol];
    // It fails if there is none.
    let output = fabric.exec(router, &argv).expect("testbed starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it says of the session with a neighbour.
#[must_use]
pub fn session(fabric: &Fabric, router: &str, protocol: &str) -> String {
    fabric.ask(router, &["birdc", "show", "protocols", "all", protocol])
}

/// Reads `show route all`: a prefix at the beginning of a line, then its attributes, indented.
fn read(printed: &str) -> Vec<Seen> {
    let mut routes: Vec<Seen> = Vec::new();
    for line in printed.lines() {
        if let Some(prefix) = line.split(' ').next().and_then(|word| word.parse().ok()) {
            routes.push(Seen {
                prefix,
                next_hop: if prefix.is_ipv4() { [0; 4].into() } else { [0; 16].into() },
                as_path: Vec::new(),
                communities: BTreeSet::new(),
                large_communities: BTreeSet::new(),
                med: None,
            });
        }
        let (Some(route), Some((key, value))) = (routes.last_mut(), line.trim().split_once(':'))
        else {
            continue;
        };
        let value = value.trim();
        match key {
            "BGP.next_hop" => {
                // The global one, then perhaps the link-local one.
                let global = value.split(' ').next().and_then(|word| word.parse().ok());
                route.next_hop = global.unwrap_or_else(|| panic!("no next hop: {line}"));
            }
            "BGP.as_path" => route.as_path = as_path(value),
            "BGP.community" => route.communities = lists(value),
            "BGP.large_community" => route.large_communities = lists(value),
            "BGP.med" => route.med = value.parse().ok(),
            _ => {}
        }
    }
    routes.sort();
    routes
}

/// `(65000,100) (1, 2, 3)` as everybody else writes it.
fn lists(value: &str) -> BTreeSet<String> {
    let items = value.split('(').filter_map(|item| item.split(')').next());
    let items = items.filter(|item| !item.trim().is_empty());
    items.map(|item| item.replace(' ', "").replace(',', ":")).collect()
}
