//! `bird.conf` of BIRD 2 for one router.

use std::fmt::Write;

use ipnetwork::IpNetwork;

use super::{
    Client, File, HOLD_TIME, KEEPALIVE_TIME, Program, Session, Setup, Urgent, client, own_words,
};
use crate::topology::{Bfd, Neighbour, Role, Router, Topology};

pub(super) fn setup(topology: &Topology, router: &Router) -> Setup {
    let text = own_words(router, text(topology, router));
    // In the foreground and as root: inside of an ordinary user's lab there is no other user.
    // -R: a start is a restart, which waits for its neighbours before it changes kernel routes.
    let argv = ["bird", "-f", "-c", CONFIG, "-s", CONTROL, "-R"];
    let argv = if router.graceful_restart { &argv[..] } else { &argv[..6] };
    let run = Program::new("bird", argv).urgent(topology.bfd.map(|_| Urgent::SecondThread));
    Setup {
        files: vec![File { path: CONFIG.into(), text }],
        // It makes its socket before it reads its configuration, so the socket tells nothing.
        programs: vec![run.ready_when(&["birdc", "-s", CONTROL, "show", "status"])],
        load: None,
    }
}

/// `birdc show protocols`: name, protocol, table, up or not, since, and the state.
pub(super) fn sessions(printed: &str) -> Vec<Session> {
    let lines = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|words| words.get(1) == Some(&"BGP"))
        // Only waits for those who dial, each of which has a line of its own.
        .filter(|words| words.get(5..) != Some(&["Passive"]))
        .map(|words| {
            let state = words.get(5..).unwrap_or_default().join(" ");
            let established = state == "Established";
            Session { peer: words[0].into(), state, established }
        })
        .collect()
}

fn text(topology: &Topology, router: &Router) -> String {
    let mut text = format!(
        r#"# {name}, made by the lab from {source}.

log stderr all;
router id {router_id};

protocol device {{ }}

# Best routes into the kernel, all equal ones of them (ECMP).
protocol kernel kernel4 {{{persist}
    merge paths on limit 16;
    ipv4 {{ import none; export where source = RTS_BGP; }};
}}
protocol kernel kernel6 {{{persist}
    merge paths on limit 16;
    ipv6 {{ import none; export where source = RTS_BGP; }};
}}
"#,
        name = router.name,
        source = topology.source,
        router_id = router.router_id,
        // Routes stay while it is away.
        persist = if router.graceful_restart { "\n    persist;" } else { "" },
    );
    if let Some(Bfd { interval, multiplier }) = topology.bfd {
        write!(
            text,
            "\nprotocol bfd {{\n    interface \"*\" {{ interval {interval} ms; multiplier {multiplier}; }};\n}}\n"
        )
        .expect("String takes all");
    }
    originated(&mut text, "ipv4", router.originates().filter(IpNetwork::is_ipv4));
    originated(&mut text, "ipv6", router.originates().filter(IpNetwork::is_ipv6));
    let template = format!(
        r#"
# Who is about to go is the last choice (RFC 8326).
filter heed {{ if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; }}

template bgp fabric {{
    local as {asn};
    hold time {HOLD_TIME};
    keepalive time {KEEPALIVE_TIME};
    connect delay time 0;
    connect retry time 1;
    error wait time 1, 4;
    # A cut cable ends the session at once, not only after the hold time.
    check link on;{more}
    ipv4 {{ import filter heed; export where source ~ [RTS_BGP, RTS_STATIC]; next hop {next_hop}; }};
    ipv6 {{ import filter heed; export where source ~ [RTS_BGP, RTS_STATIC]; next hop {next_hop}; }};
}}
"#,
        asn = router.asn,
        more = [
            if topology.bfd.is_some() { "\n    bfd on;" } else { "" },
            if router.graceful_restart { "\n    graceful restart on;" } else { "" },
        ]
        .concat(),
        // Who forwards nothing must not attract traffic.
        next_hop = if router.role == Role::Speaker { "keep" } else { "self" },
    );
    text.push_str(&template);
    for neighbour in topology.neighbours(&router.name) {
        peer(&mut text, router, &neighbour);
    }
    text
}

fn originated(text: &mut String, family: &str, networks: impl Iterator<Item = IpNetwork>) {
    let routes: String = networks
        .fold(String::new(), |all, network| all + &format!("    route {network} blackhole;\n"));
    if !routes.is_empty() {
        write!(text, "\nprotocol static originated_{family} {{\n    {family};\n{routes}}}\n")
            .expect("String takes all");
    }
}

fn peer(text: &mut String, own: &Router, neighbour: &Neighbour<'_>) {
    let router = neighbour.router;
    // A symbol of BIRD has no hyphen.
    let symbol = router.name.replace('-', "_");
    let password =
        neighbour.password.map(|key| format!("    password \"{key}\";\n")).unwrap_or_default();
    let client = match client(own, router) {
        None => "",
        Some(Client::RouteServer) => "    rs client;\n",
        Some(Client::RouteReflector) => "    rr client;\n",
    };
    let Some(address) = neighbour.address() else {
        unnumbered(text, &symbol, neighbour);
        return;
    };
    let lines = format!(
        "\nprotocol bgp {symbol} from fabric {{\n    neighbor {address} as {};\n{password}{client}}}\n",
        router.asn
    );
    text.push_str(&lines);
}

/// BIRD advertises itself by another protocol, and takes whoever dials it from the link: it cannot
/// find a neighbour itself.
fn unnumbered(text: &mut String, symbol: &str, neighbour: &Neighbour<'_>) {
    let (ifname, asn) = (&neighbour.near.ifname, neighbour.router.asn);
    write!(
        text,
        r#"
protocol radv radv_{symbol} {{
    interface "{ifname}" {{ max ra interval 10; default lifetime 30; }};
}}
protocol bgp {symbol} from fabric {{
    neighbor range fe80::/10 as {asn};
    interface "{ifname}";
    dynamic name "{symbol}_";
    ipv4 {{ extended next hop on; }};
}}
"#
    )
    .expect("String takes all");
}

const CONFIG: &str = "/etc/bird/bird.conf";
const CONTROL: &str = "/run/bird/bird.ctl";
