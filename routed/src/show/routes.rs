//! The tables of routes: the RIB, one prefix in full, what a peer announced and what it is told.
//!
//! Markers before the prefix, as network engineers know them: `*` can be used, `>` is the best,
//! `=` is used beside the best; none: cannot be used.

use ipnetwork::IpNetwork;

use super::{
    or_dash,
    table::{Align, Table},
    view::{AdvertisedView, AttrsView, PathStatus, PathView, ReceivedView, RouteView},
};

/// Every route: a line a path, the prefix in the first.
pub(super) fn table(routes: &[RouteView]) -> String {
    if routes.is_empty() {
        return "no routes\n".to_owned();
    }
    let mut table = Table::new()
        .column("", Align::Left)
        .column("PREFIX", Align::Left)
        .optional("PATH", Align::Right)
        .column("NEXT HOP", Align::Left)
        .column("PEER", Align::Left)
        .column("AS PATH", Align::Left)
        .column("ORIGIN", Align::Left)
        .optional("LOCPREF", Align::Right)
        .optional("MED", Align::Right)
        .optional("KERNEL", Align::Left);
    for route in routes {
        for (i, path) in route.paths.iter().enumerate() {
            let of_first = |text: String| if i == 0 { text } else { String::new() };
            table.row(
                [marker(path.status).to_owned(), of_first(route.prefix.to_string())]
                    .into_iter()
                    .chain(path_cells(path))
                    .chain([of_first(route.kernel.clone().unwrap_or_default())]),
            );
        }
    }
    format!("{table}\n{LEGEND}")
}

/// One route with the reason for each path.
pub(super) fn details(routes: &[RouteView], wanted: IpNetwork) -> String {
    let Some(route) = routes.first() else { return format!("no route to {wanted}\n") };
    let mut text = String::new();
    if route.prefix != wanted {
        text.push_str(&format!("{wanted} is covered by {}\n\n", route.prefix));
    }
    let mut table = Table::new()
        .column("", Align::Left)
        .column("PREFIX", Align::Left)
        .optional("PATH", Align::Right)
        .column("NEXT HOP", Align::Left)
        .column("PEER", Align::Left)
        .column("AS PATH", Align::Left)
        .column("ORIGIN", Align::Left)
        .optional("LOCPREF", Align::Right)
        .optional("MED", Align::Right)
        .optional("COMMUNITIES", Align::Left)
        .column("WHY", Align::Left);
    for path in &route.paths {
        table.row(
            [marker(path.status).to_owned(), route.prefix.to_string()]
                .into_iter()
                .chain(path_cells(path))
                .chain([communities(&path.attributes), path.reason.clone()]),
        );
    }
    text.push_str(&table.to_string());
    if let Some(kernel) = &route.kernel {
        text.push_str(&format!("\nkernel: {kernel}\n"));
    }
    text
}

/// What a peer announced, and what became of it.
pub(super) fn received(routes: &[ReceivedView]) -> String {
    if routes.is_empty() {
        return "nothing received from this peer\n".to_owned();
    }
    let mut table = Table::new()
        .column("", Align::Left)
        .column("PREFIX", Align::Left)
        .optional("PATH", Align::Right)
        .column("NEXT HOP", Align::Left)
        .column("AS PATH", Align::Left)
        .column("ORIGIN", Align::Left)
        .optional("LOCPREF", Align::Right)
        .optional("MED", Align::Right)
        .optional("COMMUNITIES", Align::Left)
        .column("VERDICT", Align::Left);
    for route in routes {
        table.row(
            [marker(route.status).to_owned(), route.prefix.to_string(), number(route.path_id)]
                .into_iter()
                .chain(attrs_cells(&route.attributes))
                .chain([communities(&route.attributes), route.reason.clone()]),
        );
    }
    table.to_string()
}

/// What a peer is told, and of which routes it is not.
pub(super) fn advertised(routes: &[AdvertisedView]) -> String {
    if routes.is_empty() {
        return "nothing to advertise to this peer\n".to_owned();
    }
    let mut table = Table::new()
        .column("PREFIX", Align::Left)
        .optional("PATH", Align::Right)
        .column("NEXT HOP", Align::Left)
        .column("AS PATH", Align::Left)
        .column("ORIGIN", Align::Left)
        .optional("LOCPREF", Align::Right)
        .optional("MED", Align::Right)
        .optional("COMMUNITIES", Align::Left)
        .optional("NOT ADVERTISED", Align::Left);
    for route in routes {
        let cells = match &route.attributes {
            Some(attrs) => attrs_cells(attrs).into_iter().chain([communities(attrs)]).collect(),
            None => vec![String::new(); 6],
        };
        table.row(
            [route.prefix.to_string(), number(route.path_id)]
                .into_iter()
                .chain(cells)
                .chain([route.reason.clone().unwrap_or_default()]),
        );
    }
    table.to_string()
}

/// A path's number, if it has one.
fn number(path_id: u32) -> String {
    if path_id == 0 { String::new() } else { path_id.to_string() }
}

pub(super) const fn marker(status: PathStatus) -> &'static str {
    match status {
        PathStatus::Best => "*>",
        PathStatus::Multipath => "*=",
        PathStatus::Eligible => "*",
        PathStatus::Ineligible => "",
    }
}

/// Number, next hop, peer, AS path, origin, local preference, MED.
fn path_cells(path: &PathView) -> [String; 7] {
    let [next_hop, as_path, origin, local_preference, med] = attrs_cells(&path.attributes);
    let peer = path.peer.clone().unwrap_or_else(|| "this node".to_owned());
    [number(path.path_id), next_hop, peer, as_path, origin, local_preference, med]
}

/// Next hop, AS path, origin, local preference, MED.
fn attrs_cells(attrs: &AttrsView) -> [String; 5] {
    let as_path = if attrs.as_path.is_empty() { "-".to_owned() } else { attrs.as_path.clone() };
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        or_dash(attrs.shown_next_hop()),
        as_path,
        attrs.origin.clone(),
        number(attrs.local_preference),
        number(attrs.med),
    ]
}

fn communities(attrs: &AttrsView) -> String {
    let lists = [&attrs.communities, &attrs.large_communities, &attrs.extended_communities];
    lists.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ")
}

const LEGEND: &str =
    "* can be used, > best, = used beside the best; `routed show routes PREFIX` tells why\n";

#[cfg(test)]
mod tests;
