//! Notifications that a daemon loses: its netlink socket overflows, and its next read says ENOBUFS.
//!
//! The real thing: the daemon is frozen, routes that belong to nobody are added and removed until
//! the kernel has counted a drop on one of the daemon's sockets, and the daemon goes on.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::unistd::Pid;

use super::{freeze, process, thaw};
use crate::netlink::Rtnetlink;
use crate::speaker::Setup;

/// Has daemons, one by name or all, lose notifications. Gives how many were dropped.
pub(crate) fn overflow(setup: &Setup, name: Option<&str>) -> Result<u64> {
    let pids: Vec<Pid> = process::running(setup, name)?.into_iter().map(|(_, pid)| pid).collect();
    if pids.is_empty() {
        bail!("no daemon runs here that could lose notifications");
    }
    freeze(setup, name)?;
    let flooded = flood(&pids);
    thaw(setup, name)?;
    flooded
}

fn flood(pids: &[Pid]) -> Result<u64> {
    let mut netlink = Rtnetlink::open()?;
    let before = drops(pids)?;
    for _ in 0..ROUNDS {
        netlink.batch((0..ROUTES).map(|at| (add(at), NLM_F_CREATE | NLM_F_EXCL)).collect())?;
        netlink.batch((0..ROUTES).map(|at| (delete(at), 0)).collect())?;
        let dropped = drops(pids)?.saturating_sub(before);
        if dropped > 0 {
            return Ok(dropped);
        }
    }
    bail!(
        "none of these daemons has a netlink socket that {} notifications of routes overflow",
        2 * ROUNDS * usize::from(ROUTES)
    )
}

/// Notifications that the kernel could not deliver to netlink sockets of these processes.
fn drops(pids: &[Pid]) -> Result<u64> {
    let inodes: Vec<String> = pids.iter().flat_map(|pid| sockets(*pid)).collect();
    let table = fs::read_to_string("/proc/net/netlink").context("cannot read /proc/net/netlink")?;
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
    let theirs = rows.filter(|row| inodes.iter().any(|inode| row.get(9) == Some(&&**inode)));
    Ok(theirs.filter_map(|row| row.get(8)?.parse::<u64>().ok()).sum())
}

/// The inode numbers of a process's sockets.
fn sockets(pid: Pid) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets
        .filter_map(|target| {
            let target = target.to_str()?;
            Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect()
}

fn add(at: u16) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewRoute(route(at))
}

fn delete(at: u16) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelRoute(route(at))
}

/// A route that leads nowhere, in the range for benchmarks (RFC 2544), in a table that nobody uses.
fn route(at: u16) -> RouteMessage {
    let [high, low] = at.to_be_bytes();
    let destination = RouteAddress::Inet(Ipv4Addr::new(198, 18, high, low));
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet,
        destination_prefix_length: 32,
        table: TABLE,
        protocol: RouteProtocol::Static,
        scope: RouteScope::Universe,
        kind: RouteType::BlackHole,
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Destination(destination));
    message
}

/// Routes of one message to the kernel.
const ROUTES: u16 = 256;
/// A socket's buffer of some MiB takes ten thousands of notifications.
const ROUNDS: usize = 400;
const TABLE: u8 = 198;
