//! `routed.toml` for one router.

use std::fmt::Write;

use ipnetwork::IpNetwork;

use super::{Client, File, HOLD_TIME, KEEPALIVE_TIME, Program, Session, Setup, client, own_words};
use crate::topology::{Bfd, Neighbour, Role, Router, Topology};

pub(super) fn setup(topology: &Topology, router: &Router) -> Setup {
    let neighbours: Vec<Neighbour<'_>> = topology.neighbours(&router.name).collect();
    let mut files =
        vec![File { path: CONFIG.into(), text: own_words(router, text(topology, router)) }];
    files.extend(neighbours.iter().filter_map(|neighbour| {
        let password = neighbour.password?;
        Some(File { path: key_file(neighbour).into(), text: format!("{password}\n") })
    }));
    let run = Program::new("routed", &["routed", "run", "--config", CONFIG]);
    // The socket is there a moment before it is listened on, so only an answer tells.
    let ready = run.ready_when(&["routed", "show", "peers"]);
    Setup { files, programs: vec![ready], load: None }
}

/// `routed show peers -o json`.
pub(super) fn sessions(printed: &str) -> Vec<Session> {
    let answer: serde_json::Value = serde_json::from_str(printed).unwrap_or_default();
    answer
        .as_array()
        .into_iter()
        .flatten()
        .map(|peer| {
            let text = |key: &str| peer[key].as_str().unwrap_or("unknown").to_owned();
            let state = text("state");
            let established = state.eq_ignore_ascii_case("established");
            Session { peer: text("name"), state, established }
        })
        .collect()
}

fn text(topology: &Topology, router: &Router) -> String {
    // A node announces its pods; a ToR or spine passes on what it hears.
    let export = match router.role {
        Role::Node => "originated",
        Role::Tor | Role::Spine | Role::Speaker => "all",
    };
    let mode = match router.role {
        Role::Node | Role::Tor | Role::Spine => "node",
        Role::Speaker => "speaker",
    };
    let mut text = format!(
        r#"# {name}, made by the lab from {source}.

[node]
name = "{name}"
mode = "{mode}"

[bgp]
asn = {asn}
router_id = "{router_id}"
hold_time = {HOLD_TIME}
keepalive_time = {KEEPALIVE_TIME}
connect_retry = 1
import = "all"
export = "{export}"
"#,
        name = router.name,
        source = topology.source,
        asn = router.asn,
        router_id = router.router_id,
    );
    for neighbour in topology.neighbours(&router.name) {
        peer(&mut text, router, &neighbour, topology.bfd);
    }
    let originated: Vec<IpNetwork> = router.originates().collect();
    if !originated.is_empty() {
        if router.role != Role::Node {
            text.push_str("\n# No pods live here; this announces the rest of the world.");
        }
        text.push_str("\n[pods]\n");
        family(&mut text, "ipv4", originated.iter().filter(|network| network.is_ipv4()));
        family(&mut text, "ipv6", originated.iter().filter(|network| network.is_ipv6()));
    }
    text
}

fn peer(text: &mut String, own: &Router, neighbour: &Neighbour<'_>, bfd: Option<Bfd>) {
    let router = neighbour.router;
    let place = match neighbour.address() {
        Some(address) => format!("address = \"{address}\""),
        None => format!("interface = \"{}\"", neighbour.near.ifname),
    };
    let lines = format!("\n[[peers]]\nname = \"{}\"\n{place}\nasn = {}\n", router.name, router.asn);
    text.push_str(&lines);
    if let Some(client) = client(own, router) {
        let key = match client {
            Client::RouteServer => "route_server_client",
            Client::RouteReflector => "route_reflector_client",
        };
        writeln!(text, "{key} = true").expect("String takes all");
    }
    if client(router, own) == Some(Client::RouteServer) {
        // It passes on other's routes without its own AS number (RFC 7947 §2.2.2.1).
        text.push_str("enforce_first_as = false\n");
    }
    if neighbour.password.is_some() {
        writeln!(text, "password_file = \"{}\"", key_file(neighbour)).expect("String takes all");
    }
    if let Some(Bfd { interval, multiplier }) = bfd {
        let lines = format!(
            "[peers.bfd]\ntransmit_interval = {interval}\nreceive_interval = {interval}\n\
             detect_multiplier = {multiplier}\n"
        );
        text.push_str(&lines);
    }
}

fn family<'a>(text: &mut String, key: &str, networks: impl Iterator<Item = &'a IpNetwork>) {
    let quoted: Vec<String> = networks.map(|network| format!("\"{network}\"")).collect();
    if !quoted.is_empty() {
        writeln!(text, "{key} = [{}]", quoted.join(", ")).expect("String takes all");
    }
}

fn key_file(neighbour: &Neighbour<'_>) -> String {
    format!("/etc/slash32/{}.key", neighbour.router.name)
}

const CONFIG: &str = "/etc/slash32/routed.toml";
