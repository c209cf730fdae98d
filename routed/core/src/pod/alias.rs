//! The alias of a host's end: the pod's identity, kept by the kernel.
//!
//! In and out: a [`Wiring`] and the text that `ip link` shows, such as
//! `slash32 net=k8s ctr=0f3a… if=eth0 ip4=10.244.1.5 ip6=fd00::5 pod=default/web-0`.
//! From it and the interface itself all pods are known again after a restart, without any file.
//!
//! Names are checked when they come in ([`AttachmentId::new`]), so everything but the pod's name
//! always fits into the kernel's 255 octets; that name is for people, and is cut if need be.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::wiring::{BadMac, Mac, Wiring};
use crate::{
    attachment::{AttachmentId, BadAttachment, CUT, PodName},
    ipam::Lease,
};

/// What an alias says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which attachment.
    pub id: AttachmentId,
    /// For people to read; perhaps cut.
    pub pod: Option<PodName>,
    /// The pod's addresses.
    pub lease: Lease,
    /// Hardware address of the pod's end.
    pub mac: Mac,
    /// Whether the pod has default routes.
    pub default_route: bool,
}

/// The alias of the host's end.
#[must_use]
pub fn encode(wiring: &Wiring) -> String {
    let Wiring { id, pod, inside, lease, default_route, .. } = wiring;
    let mut alias =
        format!("{MARK} net={} ctr={} if={}", id.network(), id.container_id(), id.ifname());
    if let Some(address) = lease.ipv4 {
        alias.push_str(&format!(" ip4={address}"));
    }
    if let Some(address) = lease.ipv6 {
        alias.push_str(&format!(" ip6={address}"));
    }
    if inside.mac != Mac::of_pod(id) {
        alias.push_str(&format!(" mac={}", inside.mac));
    }
    if !default_route {
        alias.push_str(" nodefault");
    }
    if let Some(pod) = pod {
        let room = ALIAS_MAX.saturating_sub(alias.len() + " pod=".len());
        if let Some(name) = readable(pod, room) {
            alias.push_str(&format!(" pod={name}"));
        }
    }
    alias
}

/// Reads an alias.
///
/// # Errors
///
/// [`BadAlias`] if it was not written by [`encode`], or was changed since.
pub fn decode(alias: &str) -> Result<Identity, BadAlias> {
    let mut words = alias.split(' ');
    if words.next() != Some(MARK) {
        return Err(BadAlias::NotOurs);
    }
    let [mut network, mut container_id, mut ifname] = [None; 3];
    let mut pod = None;
    let mut lease = Lease::default();
    let mut mac = None;
    let mut default_route = true;
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("net", value) => network = Some(value),
            ("ctr", value) => container_id = Some(value),
            ("if", value) => ifname = Some(value),
            ("ip4", value) => lease.ipv4 = Some(value.parse::<Ipv4Addr>()?),
            ("ip6", value) => lease.ipv6 = Some(value.parse::<Ipv6Addr>()?),
            ("mac", value) => mac = Some(value.parse::<Mac>()?),
            ("nodefault", _) => default_route = false,
            ("pod", value) => pod = value.split_once('/'),
            // Written by a later release; what it adds is not needed here.
            _ => {}
        }
    }
    let (Some(network), Some(container_id), Some(ifname)) = (network, container_id, ifname) else {
        return Err(BadAlias::Incomplete);
    };
    let id = AttachmentId::new(network, container_id, ifname)?;
    let pod = pod.map(|(namespace, name)| PodName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    });
    let mac = mac.unwrap_or_else(|| Mac::of_pod(&id));
    Ok(Identity { id, pod, lease, mac, default_route })
}

/// `namespace/name` in visible ASCII and at most `room` octets; `None` if that would say nothing.
fn readable(pod: &PodName, room: usize) -> Option<String> {
    let visible = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let mut name: String = pod.to_string().chars().map(visible).collect();
    if name.len() > room {
        name.truncate(room.saturating_sub(1));
        name.push(CUT);
    }
    (name.len() <= room && name.contains('/')).then_some(name)
}

/// Why an alias names no pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAlias {
    /// It does not begin with our mark.
    #[error("the alias is not ours")]
    NotOurs,
    /// Network, container or interface is missing.
    #[error("the alias names no network, container or interface")]
    Incomplete,
    /// One of the three is not valid.
    #[error(transparent)]
    Id(#[from] BadAttachment),
    /// An address is not valid.
    #[error("the alias has a bad address: {0}")]
    Address(#[from] std::net::AddrParseError),
    /// The hardware address is not valid.
    #[error(transparent)]
    Mac(#[from] BadMac),
}

/// First word of every alias of ours.
const MARK: &str = "slash32";
/// What the kernel takes: IFALIASZ is 256 with the final zero.
const ALIAS_MAX: usize = 255;

#[cfg(test)]
mod tests;
