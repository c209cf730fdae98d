//! Notifications that a daemon loses: its netlink socket overflows, and its next read says ENOBUFS.
//!
//! The real thing: the daemon is frozen, routes that belong to nobody are added and removed until
//! the kernel has counted a drop on each of the daemon's sockets that hear of them, and the daemon goes on.

use std::collections::{BTreeMap, BTreeSet};
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
    let before = ears(pids)?;
    for _ in 0..ROUNDS {
        netlink.batch((0..ROUTES).map(|at| (add(at), NLM_F_CREATE | NLM_F_EXCL)).collect())?;
        netlink.batch((0..ROUTES).map(|at| (delete(at), 0)).collect())?;
        let ears = ears(pids)?;
        let lost = |inode: &str, ear: &Ear| {
            ear.drops.saturating_sub(before.get(inode).map_or(0, |ear| ear.drops))
        };
        // All of them: a daemon may listen more than once, and each has a buffer of its own size.
        let full = ears.iter().all(|(inode, ear)| ear.queued == 0 || lost(inode, ear) > 0);
        let dropped: u64 = ears.iter().map(|(inode, ear)| lost(inode, ear)).sum();
        if full && dropped > 0 {
            return Ok(dropped);
        }
    }
    bail!(
        "none of these daemons has a netlink socket that {} notifications of routes overflow",
        2 * ROUNDS * usize::from(ROUTES)
    )
}

/// A netlink socket that hears of routes.
struct Ear {
    /// Octets in its buffer.
    queued: u64,
    /// Notifications that the kernel could not deliver.
    drops: u64,
}

/// Those of these processes, by inode.
fn ears(pids: &[Pid]) -> Result<BTreeMap<String, Ear>> {
    let inodes: BTreeSet<String> = pids.iter().flat_map(|pid| sockets(*pid)).collect();
    let table = fs::read_to_string("/proc/net/netlink").context("cannot read /proc/net/netlink")?;
    // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
    let ear = |row: &str| {
        let row: Vec<_> = row.split_whitespace().collect();
        let groups = u32::from_str_radix(row.get(3)?, 16).ok()?;
        let hears = groups & 1 << (libc::RTNLGRP_IPV4_ROUTE - 1) != 0;
        let inode = inodes.get(*row.get(9)?).filter(|_| hears)?.clone();
        Some((inode, Ear { queued: row.get(4)?.parse().ok()?, drops: row.get(8)?.parse().ok()? }))
    };
    Ok(table.lines().skip(1).filter_map(ear).collect())
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
