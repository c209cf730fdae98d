//! Writes a router's files into its folder before its namespaces exist.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::registry::{LabDir, ROUTER_DIRS};
use crate::speaker;
use crate::topology::{Router, Runs, Topology};

/// Writes the configuration of its software, and what every host has of its own.
pub(super) fn write(lab: &LabDir, topology: &Topology, router: &Router) -> Result<()> {
    for (_, own) in ROUTER_DIRS {
        fs::create_dir_all(lab.router(&router.name).join(own))?;
    }
    let file = |path: &str, text: &str| write_file(lab, router, Path::new(path), text);
    file("/etc/hostname", &format!("{}\n", router.name))?;
    file("/etc/hosts", &hosts(topology))?;
    for dir in OWN_DIRS {
        fs::create_dir_all(lab.inside(&router.name, Path::new(dir))?)?;
    }
    if router.runs == Runs::Frr {
        file("/etc/group", &group_with_root_in_frrvty()?)?;
    }
    for made in speaker::setup(topology, router).files {
        write_file(lab, router, &made.path, &made.text)?;
    }
    Ok(())
}

fn write_file(lab: &LabDir, router: &Router, path: &Path, text: &str) -> Result<()> {
    let place = lab.inside(&router.name, path)?;
    if let Some(dir) = place.parent() {
        fs::create_dir_all(dir)?;
    }
    // Keys are nobody else's business.
    let mode = if path.extension().is_some_and(|kind| kind == "key") { 0o600 } else { 0o644 };
    fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(mode)
        .open(&place)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", place.display()))
}

/// Every router by its name, so that people can write names.
fn hosts(topology: &Topology) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for router in &topology.routers {
        for loopback in &router.loopback {
            text.push_str(&format!("{} {}\n", loopback.ip(), router.name));
        }
    }
    text
}

/// FRR wants its user in the group `frrvty`; here it runs as root, the one user that an ordinary
/// user's lab has, so both groups become root's.
pub(crate) fn group_with_root_in_frrvty() -> Result<String> {
    let host = fs::read_to_string("/etc/group").context("cannot read /etc/group")?;
    let foreign = |line: &&str| !line.starts_with("frr:") && !line.starts_with("frrvty:");
    let mut text: String = host.lines().filter(foreign).map(|line| format!("{line}\n")).collect();
    text.push_str("frr:x:0:root\nfrrvty:x:0:root\n");
    Ok(text)
}

/// Made even where the host has none, so that every daemon and tool finds its usual place.
const OWN_DIRS: [&str; 13] = [
    "/etc/slash32",
    "/etc/cni/net.d",
    "/etc/bird",
    "/etc/frr",
    "/var/lib/slash32",
    "/var/lib/cni",
    "/var/lib/frr",
    "/var/log/frr",
    "/run/slash32",
    "/run/bird",
    "/run/frr",
    "/run/netns",
    "/run/testbed/pods",
];
