//! Faults of one router: links that lose or delay packets, daemons that hang, clocks that are wrong.
//!
//! In: what shall go wrong. Out: a kernel or process in that state, and in words what is wrong with a
//! router. Nothing is written down: what holds is read from the kernel and the processes, so that it
//! is true whoever has caused it. Works inside of the router's namespaces.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::daemon;
use crate::enter::command;
use crate::netlink::Rtnetlink;
use crate::speaker::Setup;

mod clock;
mod filter;
mod overflow;
mod process;

pub(crate) use clock::{environment, step};
pub(crate) use filter::{delay, lose, swallow};
pub(crate) use overflow::overflow;
pub(crate) use process::{FROZEN, freeze, signal, thaw};

/// What one router has, as far as faults are concerned.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    /// Its software.
    pub(crate) setup: &'a Setup,
    /// Its interfaces to neighbours.
    pub(crate) ifnames: &'a [String],
    /// Where our own programs are.
    pub(crate) bin_dir: &'a Path,
}

/// Everything that is wrong here, a line each.
pub(crate) fn list(here: Here<'_>) -> Result<Vec<String>> {
    let mut faults = filter::list(here.bin_dir)?;
    for ifname in here.ifnames {
        if !is_on(ifname)? {
            faults.push(format!("to {ifname}: switched off"));
        }
    }
    faults.extend(process::list(here.setup));
    faults.extend(clock::list());
    Ok(faults)
}

/// Undoes everything that [`list`] lists.
pub(crate) fn clear(here: Here<'_>) -> Result<()> {
    thaw(here.setup, None)?;
    filter::clear(here.bin_dir)?;
    let mut netlink = Rtnetlink::open()?;
    for ifname in here.ifnames {
        if !is_on(ifname)? {
            netlink.set_link(ifname, true).with_context(|| format!("cannot switch on {ifname}"))?;
        }
    }
    clock::clear()?;
    daemon::start_missing(here.setup, here.bin_dir)
}

/// Forgets the kernel routes that this protocol number has made, as an operator's slip does. What
/// repairs them is the router's own software, if it does.
pub(crate) fn flush(protocol: &str, bin_dir: &Path) -> Result<()> {
    for family in ["-4", "-6"] {
        run(&["ip", family, "route", "flush", "proto", protocol], bin_dir)?;
    }
    Ok(())
}

fn is_on(ifname: &str) -> Result<bool> {
    let path = format!("/sys/class/net/{ifname}/flags");
    let flags = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16)?;
    Ok(flags & crate::netlink::IFF_UP != 0)
}

/// Runs a tool that must succeed; gives its stdout.
fn run(argv: &[&str], bin_dir: &Path) -> Result<String> {
    let words: Vec<String> = argv.iter().map(ToString::to_string).collect();
    let tool = command(&words, bin_dir).with_context(|| {
        format!(
            "{} is needed (Debian: {})",
            argv[0],
            if argv[0] == "nft" { "nftables" } else { "iproute2" }
        )
    });
    let output = tool?.output().with_context(|| format!("cannot start {}", argv[0]))?;
    ensure!(
        output.status.success(),
        "{}: {}",
        argv.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
