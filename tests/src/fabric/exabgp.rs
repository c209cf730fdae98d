//! ExaBGP: a peer that says what it is told to, right or wrong.

use std::fs::OpenOptions;
use std::io::Write;

use super::Fabric;

/// A router of a topology that runs ExaBGP. `neighbor` is the inside of its one `neighbor` block, but
/// for what lets a test speak through it.
#[must_use]
pub fn router(name: &str, asn: u32, peer: &str, neighbor: &str) -> String {
    format!(
        r#"
[[tors]]
name = "{name}"
asn = {asn}
runs = "none"
command = ["env", "exabgp.daemon.user=root", "exabgp.log.destination=stderr",
    "exabgp.api.ack=false", "exabgp.api.cli=false", "exabgp", "/etc/exabgp.conf"]
[tors.files]
"{COMMANDS}" = ""
"/etc/exabgp.conf" = """
process commands {{
    run /usr/bin/tail -n +1 -f {COMMANDS};
    encoder text;
}}
neighbor {peer} {{
    {neighbor}
    api {{ processes [ commands ]; }}
}}
"""
"#
    )
}

/// Makes it say something, as `announce route 192.0.2.0/24 next-hop 10.2.0.5`.
pub fn say(fabric: &Fabric, router: &str, command: &str) {
    let file = fabric.path_of(router, COMMANDS).expect("a router's own file");
    let mut file = OpenOptions::new().append(true).open(file).expect("it is there");
    writeln!(file, "{command}").expect("it can be written");
}

/// What it reads its commands from.
const COMMANDS: &str = "/etc/commands";
