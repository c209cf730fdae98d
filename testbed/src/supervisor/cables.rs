//! Joins the routers: a veth pair for each link, a bridge and veth pairs for each LAN, addresses.
//!
//! Works from the supervisor's own network namespace, in which the bridges live.

use std::collections::BTreeMap;
use std::fs::File;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::netlink::{Rtnetlink, VethEnd};
use crate::topology::{Addresses, Lan, Router, Topology};

/// `holders`: for each router the process that holds its namespaces.
pub(super) fn lay(topology: &Topology, holders: &BTreeMap<String, i32>) -> Result<()> {
    let netns = |router: &str| -> Result<File> {
        File::open(format!("/proc/{}/ns/net", holders[router])).context("a holder has died")
    };
    let own = File::open("/proc/self/ns/net")?;
    let mut here = Rtnetlink::open()?;
    for link in &topology.links {
        let [a, b] = &link.ends;
        let namespaces = [netns(&a.router)?, netns(&b.router)?];
        let ends = [
            VethEnd { name: &a.ifname, netns: &namespaces[0] },
            VethEnd { name: &b.ifname, netns: &namespaces[1] },
        ];
        here.add_veth([&ends[0], &ends[1]], link.mtu)
            .with_context(|| format!("cannot link {} and {}", a.router, b.router))?;
    }
    for (number, lan) in topology.lans.iter().enumerate() {
        lay_lan(&mut here, &own, number, lan, &netns)
            .with_context(|| format!("cannot make the LAN {}", lan.name))?;
    }
    for router in &topology.routers {
        setns(netns(&router.name)?, CloneFlags::CLONE_NEWNET)?;
        let there = Rtnetlink::open();
        setns(&own, CloneFlags::CLONE_NEWNET)?;
        address(topology, &router.name, &mut there?)?;
    }
    Ok(())
}

fn lay_lan(
    here: &mut Rtnetlink,
    own: &File,
    number: usize,
    lan: &Lan,
    netns: &impl Fn(&str) -> Result<File>,
) -> Result<()> {
    here.add_bridge(&lan.name)?;
    for (index, member) in lan.members.iter().enumerate() {
        // Not the LAN's name with a number: that could be too long for an interface.
        let port = format!("port{number}.{index}");
        let there = netns(&member.router)?;
        let ends =
            [VethEnd { name: &member.ifname, netns: &there }, VethEnd { name: &port, netns: own }];
        here.add_veth([&ends[0], &ends[1]], LAN_MTU)?;
        here.join_bridge(&port, &lan.name)?;
    }
    Ok(())
}

fn address(topology: &Topology, router: &str, there: &mut Rtnetlink) -> Result<()> {
    let lo = topology.router(router).into_iter().flat_map(Router::lo_addresses);
    let ends = topology.ends(router).flat_map(|end| {
        let addresses = end.addresses.iter().flat_map(Addresses::iter);
        addresses.map(|address| (&end.ifname[..], address))
    });
    for (ifname, address) in lo.map(|address| ("lo", address)).chain(ends) {
        there
            .add_address(ifname, address)
            .with_context(|| format!("cannot give {address} to {ifname} of {router}"))?;
    }
    for end in topology.ends(router) {
        there.set_link(&end.ifname, true)?;
    }
    Ok(())
}

/// Octets.
const LAN_MTU: u32 = 1500;
