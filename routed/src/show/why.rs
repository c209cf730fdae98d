//! The text of `routed why`: from receipt to kernel and to the peers, as one would tell it.

use ipnetwork::IpNetwork;

use super::{
    table::printable,
    view::{AttrsView, HopView, KernelRouteView, PolicyView, ToldView, WhyPathView, WhyView},
};

/// The whole story of a prefix.
pub(super) fn why(rows: &[WhyView], wanted: IpNetwork) -> String {
    let Some(why) = rows.first() else {
        return format!(
            "no route to {wanted}: no peer has announced a prefix that covers it, and this node \
             does not originate one\n"
        );
    };
    let mut lines = Vec::new();
    if why.prefix == wanted {
        lines.push(why.prefix.to_string());
    } else {
        lines.push(format!("{} is covered by {}", why.wanted, why.prefix));
    }
    lines.push("\npaths".to_owned());
    why.paths.iter().for_each(|path| path_lines(path, &mut lines));
    lines.push("\nkernel".to_owned());
    if why.kernel.is_empty() {
        lines.push(
            "  no route of ours: only used paths are installed, and only where that is \
                    switched on"
                .to_owned(),
        );
    }
    lines.extend(why.kernel.iter().map(kernel_line));
    lines.push("\ntold to".to_owned());
    if why.told.is_empty() {
        lines.push("  nobody: there is no best path, or no session".to_owned());
    }
    why.told.iter().for_each(|told| told_lines(told, &mut lines));
    lines.push(String::new());
    lines.join("\n")
}

fn path_lines(why: &WhyPathView, lines: &mut Vec<String>) {
    let marker = super::routes::marker(why.path.status);
    let line = match &why.path.peer {
        Some(peer) => format!("  {marker:<2} from {peer}: {}", attributes(&why.received)),
        None => format!("  {marker:<2} originated by this node: {}", attributes(&why.received)),
    };
    lines.push(printable(&line));
    if let Some(import) = &why.import {
        policy_lines("import", import, lines);
    }
    lines.push(format!("       {}", why.path.reason));
}

fn told_lines(told: &ToldView, lines: &mut Vec<String>) {
    let line = match (&told.attributes, &told.reason) {
        (Some(seen), _) => format!("  {}: yes, as {}", told.peer, attributes(seen)),
        (None, Some(reason)) => format!("  {}: no, {reason}", told.peer),
        (None, None) => format!("  {}: no", told.peer),
    };
    lines.push(printable(&line));
    if let Some(export) = &told.export {
        policy_lines("export", export, lines);
    }
}

fn policy_lines(direction: &str, view: &PolicyView, lines: &mut Vec<String>) {
    let verb = if view.accepted { "accepted" } else { "rejected" };
    lines.push(printable(&format!("       {direction}: {verb} by {}", decider(view))));
    for step in view.steps.iter().filter(|step| step.statement.is_some()) {
        let statement = step.statement.as_deref().unwrap_or_default();
        let indent = "  ".repeat(step.depth);
        lines.push(printable(&format!("         {indent}{statement}: {}", step.result)));
    }
}

/// Who decided.
pub(crate) fn decider(view: &PolicyView) -> String {
    match &view.statement {
        Some(statement) => format!("statement {statement} of policy {}", view.policy),
        None => format!("the default of policy {}", view.policy),
    }
}

fn attributes(attrs: &AttrsView) -> String {
    let path = if attrs.as_path.is_empty() { "empty" } else { &attrs.as_path };
    let mut parts = vec![format!("AS path {path}")];
    parts.extend(attrs.shown_next_hop().map(|hop| format!("next hop {hop}")));
    parts.push(format!("origin {}", attrs.origin));
    parts.extend(attrs.local_preference.map(|value| format!("local preference {value}")));
    parts.extend(attrs.med.map(|value| format!("MED {value}")));
    let tags = [&attrs.communities, &attrs.large_communities, &attrs.extended_communities];
    let tags: Vec<_> = tags.into_iter().flatten().cloned().collect();
    if !tags.is_empty() {
        parts.push(format!("communities {}", tags.join(" ")));
    }
    parts.join(", ")
}

fn kernel_line(route: &KernelRouteView) -> String {
    let group = route.group.map(|id| format!("group {id} ")).unwrap_or_default();
    let way = if route.blackhole {
        "blackhole".to_owned()
    } else if route.hops.is_empty() {
        "nothing".to_owned()
    } else {
        group + &hops(&route.hops)
    };
    let error = route.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    format!("  {}{error}: {way}, table {} metric {}", route.state, route.table, route.metric)
}

/// Ways out, as in `ip route`.
pub(super) fn hops(hops: &[HopView]) -> String {
    let hop = |hop: &HopView| {
        let via = hop.gateway.map(|gateway| format!("via {gateway} ")).unwrap_or_default();
        let weight =
            if hop.weight == 1 { String::new() } else { format!(" weight {}", hop.weight) };
        format!("{via}dev {}{weight}", hop.interface)
    };
    hops.iter().map(hop).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_word_says_where_the_route_leads_or_that_there_is_none() {
        let hop = HopView {
            gateway: Some("10.1.1.0".parse().unwrap()),
            interface: "eth1".to_owned(),
            weight: 2,
        };
        let route = |state: &str, hops, blackhole| KernelRouteView {
            state: state.to_owned(),
            table: 254,
            metric: 0,
            error: None,
            group: None,
            hops,
            blackhole,
        };
        for (route, line) in [
            (route("installed", vec![hop], false), "installed: via 10.1.1.0 dev eth1 weight 2"),
            (route("installed", vec![], true), "installed: blackhole"),
            (route("own-range", vec![], false), "own-range: nothing"),
        ] {
            assert_eq!(kernel_line(&route), format!("  {line}, table 254 metric 0"));
        }
    }
}
