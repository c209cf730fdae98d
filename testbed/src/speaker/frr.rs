//! `frr.conf` for one router, and the FRR daemons that it needs.

use std::fmt::Write;

use ipnetwork::IpNetwork;

use super::{
    Client, File, HOLD_TIME, KEEPALIVE_TIME, Program, Session, Setup, Urgent, client, own_words,
};
use crate::topology::{Bfd, Neighbour, Router, Topology};

pub(super) fn setup(topology: &Topology, router: &Router) -> Setup {
    let conf = own_words(router, text(topology, router));
    let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
    // In the foreground and as root: inside of an ordinary user's lab there is no other user.
    let daemon = |name: &str| {
        let argv = [name, "-u", "root", "-g", "root", "--log", "stdout"];
        Program::new(name, &argv).ready_with(&format!("/run/frr/{name}.vty"))
    };
    // Only where it is asked for: it is one more process for each router.
    let bfdd = conf.contains("bfd").then(|| daemon("bfdd").urgent(Some(Urgent::Whole)));
    let mut zebra = daemon("zebra");
    if router.graceful_restart {
        // Kernel routes stay when it ends, and for two minutes after it has started again.
        zebra.argv.extend(["-r", "-K", "120"].map(str::to_owned));
    }
    let first = [daemon("mgmtd").optional(), zebra];
    let daemons =
        if bfdd.is_some() { "zebra=yes\nbgpd=yes\nbfdd=yes\n" } else { "zebra=yes\nbgpd=yes\n" };
    Setup {
        files: vec![
            file("/etc/frr/frr.conf", &conf),
            file("/etc/frr/vtysh.conf", "service integrated-vtysh-config\n"),
            // Only for readers: the lab starts the daemons itself.
            file("/etc/frr/daemons", daemons),
        ],
        // From FRR 10 on zebra takes its configuration through mgmtd.
        programs: first.into_iter().chain(bfdd).chain([daemon("bgpd")]).collect(),
        load: Some(Program::new("vtysh", &["vtysh", "-b"])),
    }
}

/// `show bgp summary json`: for each family the peers by address. All peers have IPv4.
pub(super) fn sessions(printed: &str) -> Vec<Session> {
    let summary: serde_json::Value = serde_json::from_str(printed).unwrap_or_default();
    let peers = summary["ipv4Unicast"]["peers"].as_object();
    peers
        .into_iter()
        .flatten()
        .map(|(peer, fields)| {
            let state = fields["state"].as_str().unwrap_or("unknown").to_owned();
            let established = state == "Established";
            Session { peer: peer.clone(), state, established }
        })
        .collect()
}

fn text(topology: &Topology, router: &Router) -> String {
    let neighbours: Vec<Neighbour<'_>> = topology.neighbours(&router.name).collect();
    let mut text = format!(
        "! {name}, made by the lab from {source}.\n\
         !\n\
         frr defaults datacenter\n\
         hostname {name}\n\
         service integrated-vtysh-config\n\
         !\n\
         router bgp {asn}\n \
         bgp router-id {router_id}\n \
         no bgp ebgp-requires-policy\n \
         no bgp default ipv4-unicast\n \
         no bgp network import-check\n \
         bgp bestpath as-path multipath-relax\n \
         timers bgp {KEEPALIVE_TIME} {HOLD_TIME}\n",
        name = router.name,
        source = topology.source,
        asn = router.asn,
        router_id = router.router_id,
    );
    if router.graceful_restart {
        text.push_str(" bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n");
    }
    for neighbour in &neighbours {
        peer(&mut text, neighbour, topology.bfd.is_some());
    }
    family(&mut text, "ipv4", router, &neighbours, router.originates().filter(IpNetwork::is_ipv4));
    family(&mut text, "ipv6", router, &neighbours, router.originates().filter(IpNetwork::is_ipv6));
    text.push_str("exit\n");
    if let Some(Bfd { interval, multiplier }) = topology.bfd {
        write!(
            text,
            "bfd\n profile fabric\n  detect-multiplier {multiplier}\n  receive-interval {interval}\n  \
             transmit-interval {interval}\n exit\nexit\n"
        )
        .expect("String takes all");
    }
    text
}

fn peer(text: &mut String, neighbour: &Neighbour<'_>, bfd: bool) {
    let (name, router) = (name(neighbour), neighbour.router);
    let mut line =
        |rest: String| writeln!(text, " neighbor {name} {rest}").expect("String takes all");
    // By its interface FRR also sends and hears router advertisements there.
    let by = if neighbour.address().is_some() { "" } else { "interface " };
    line(format!("{by}remote-as {}", router.asn));
    line(format!("description {}", router.name));
    line("timers connect 1".into());
    if bfd {
        line("bfd profile fabric".into());
    }
    if let Some(password) = neighbour.password {
        line(format!("password {password}"));
    }
}

fn family(
    text: &mut String,
    family: &str,
    own: &Router,
    neighbours: &[Neighbour<'_>],
    networks: impl Iterator<Item = IpNetwork>,
) {
    let mut line = |rest: String| writeln!(text, "{rest}").expect("String takes all");
    line(format!(" !\n address-family {family} unicast"));
    for network in networks {
        line(format!("  network {network}"));
    }
    line("  maximum-paths 16".into());
    for neighbour in neighbours {
        let address = name(neighbour);
        line(format!("  neighbor {address} activate"));
        let client = client(own, neighbour.router);
        line(match client {
            None => format!("  neighbor {address} next-hop-self"),
            Some(Client::RouteServer) => format!("  neighbor {address} route-server-client"),
            Some(Client::RouteReflector) => format!("  neighbor {address} route-reflector-client"),
        });
    }
    line(" exit-address-family".into());
}

/// What FRR calls a neighbour: its address, or our interface to it.
fn name(neighbour: &Neighbour<'_>) -> String {
    neighbour.address().map_or_else(|| neighbour.near.ifname.clone(), |addr| addr.to_string())
}
