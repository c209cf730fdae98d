//! What GoBGP says, by `gobgp -j`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::{Fabric, Seen};

/// What a neighbour has told it.
#[must_use]
pub fn received(fabric: &Fabric, router: &str, neighbour: &str) -> Vec<Seen> {
    table(fabric, router, neighbour, "adj-in")
}

/// What it has told a neighbour.
#[must_use]
pub fn advertised(fabric: &Fabric, router: &str, neighbour: &str) -> Vec<Seen> {
    table(fabric, router, neighbour, "adj-out")
}

fn table(fabric: &Fabric, router: &str, neighbour: &str, which: &str) -> Vec<Seen> {
    let mut routes = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let argv = ["gobgp", "-j", "neighbor", neighbour, which, "-a", family];
        let output = fabric.exec(router, &argv).expect("testbed starts");
        // It refuses to answer while the session is down: then there is nothing.
        let table: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if !output.status.success() {
            continue;
        }
        // What is withdrawn without having been announced has an entry without a path.
        let paths = table.as_object().into_iter().flatten();
        let paths = paths.filter(|(_, paths)| !paths[0].is_null());
        routes.extend(paths.map(|(prefix, paths)| seen(prefix, &paths[0]["attrs"])));
    }
    routes.sort();
    routes
}

/// Attributes are listed with the numbers of their types.
fn seen(prefix: &str, attributes: &Value) -> Seen {
    let attribute = |code: u64| {
        let all = attributes.as_array().into_iter().flatten();
        all.into_iter().find(|attribute| attribute["type"] == code)
    };
    let next_hop = |code| -> Option<IpAddr> { attribute(code)?["nexthop"].as_str()?.parse().ok() };
    let number = |value: &Value| -> u32 {
        value.as_u64().and_then(|number| number.try_into().ok()).expect("32 bits")
    };
    let segments = attribute(AS_PATH).map(|path| &path["as_paths"]);
    let segments = segments.and_then(Value::as_array).into_iter().flatten();
    let standard = attribute(COMMUNITIES).map(|list| &list["communities"]);
    let standard = standard.and_then(Value::as_array).into_iter().flatten();
    let large = attribute(LARGE_COMMUNITIES).map(|list| &list["value"]);
    let large = large.and_then(Value::as_array).into_iter().flatten();
    Seen {
        prefix: prefix.parse().expect("GoBGP's own key"),
        next_hop: next_hop(MP_REACH)
            .or_else(|| next_hop(NEXT_HOP))
            .unwrap_or_else(|| panic!("no next hop: {attributes}")),
        as_path: segments
            .flat_map(|segment| segment["asns"].as_array().into_iter().flatten())
            .map(number)
            .collect(),
        communities: standard
            .map(number)
            .map(|community| format!("{}:{}", community >> 16, community & 0xffff))
            .collect(),
        large_communities: large
            .map(|c| format!("{}:{}:{}", c["ASN"], c["LocalData1"], c["LocalData2"]))
            .collect::<BTreeSet<_>>(),
        med: attribute(MED).map(|med| number(&med["metric"])),
    }
}

const AS_PATH: u64 = 2;
const NEXT_HOP: u64 = 3;
const MED: u64 = 4;
const COMMUNITIES: u64 = 8;
const MP_REACH: u64 = 14;
const LARGE_COMMUNITIES: u64 = 32;
