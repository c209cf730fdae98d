//! What the kernel refused, as the pods' machine and the runtime are told.

use std::os::fd::OwnedFd;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
};
use nix::errno::Errno;
use routed_core::pod::{
    step::Step,
    verb::{self, PodError},
};

use crate::kernel::{
    netlink::{Netlink, NetlinkError, Refusal},
    nft::NftError,
    pods::nat::NatError,
};

/// Why the pair could not be made: for EEXIST the kernel does not say which name is taken.
pub(super) fn pair_refused(step: &Step, refusal: &Refusal, inside: &mut Netlink) -> PodError {
    let Step::CreatePair { host, inside: end, .. } = step else {
        return refused(std::slice::from_ref(step), refusal);
    };
    if refusal.errno != Errno::EEXIST {
        return refused(std::slice::from_ref(step), refusal);
    }
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(end.name.clone()));
    match inside.get(&RouteNetlinkMessage::GetLink(message)) {
        Ok(Some(_)) => PodError::IfnameTaken(end.name.clone()),
        Ok(None) => PodError::HostLinkTaken { name: host.name.clone() },
        Err(error) => broken(error),
    }
}

/// The interface on which IPv6 is switched off, if that explains every refusal.
pub(super) fn off<'a>(steps: &'a [Step], refusals: &[Refusal]) -> Option<&'a str> {
    let six = |step: &Step| match step {
        Step::Neighbour { address, .. } | Step::Address { address, .. } => address.is_ipv6(),
        Step::GatewayRoute { gateway, .. }
        | Step::Route { gateway, .. }
        | Step::DefaultRoute { gateway, .. } => gateway.is_ipv6(),
        Step::CreatePair { .. }
        | Step::Label { .. }
        | Step::HostRoute { .. }
        | Step::Permit { .. }
        | Step::Forbid { .. }
        | Step::LoopbackUp
        | Step::LinkUp { .. }
        | Step::AwaitCarrier { .. }
        | Step::AwaitAddress { .. }
        | Step::RemoveHostRoute { .. }
        | Step::Adjust { .. }
        | Step::MoveHostRoute { .. }
        | Step::Set { .. }
        | Step::Doom { .. } => false,
    };
    if !refusals.iter().all(|refusal| six(&steps[refusal.index])) {
        return None;
    }
    refusals.iter().find_map(|refusal| match &steps[refusal.index] {
        Step::Address { name, .. } if refusal.errno == Errno::EACCES => Some(name.as_str()),
        _ => None,
    })
}

pub(super) fn given(netns: Option<&OwnedFd>) -> Result<&OwnedFd, PodError> {
    netns.ok_or(PodError::Namespace(number(Errno::EBADF)))
}

pub(super) fn refused(steps: &[Step], refusal: &Refusal) -> PodError {
    PodError::Refused {
        step: Box::new(steps[refusal.index].clone()),
        errno: number(refusal.errno),
        text: refusal.text.clone(),
    }
}

pub(super) fn broken(error: NetlinkError) -> PodError {
    tracing::error!(%error, "netlink failed");
    PodError::Netlink(match error {
        NetlinkError::Socket(error) => verb::Errno(error.raw_os_error().unwrap_or_default()),
        NetlinkError::Silent(_) => number(Errno::ETIMEDOUT),
        NetlinkError::Dump(refusal) => number(refusal.errno),
        NetlinkError::Restless(_) => number(Errno::EAGAIN),
    })
}

pub(super) fn unruled(error: NftError) -> PodError {
    tracing::error!(%error, "the rules of what pods may send cannot be changed");
    PodError::Guard(nft(error))
}

/// The rules of NAT outgoing could not be changed.
pub(super) fn untranslated(error: NatError) -> PodError {
    match error {
        NatError::Missing(_) => PodError::NatMissing,
        NatError::Nft(error) => PodError::Nat(nft(error)),
    }
}

fn nft(error: NftError) -> verb::Errno {
    match error {
        NftError::Socket(error) => verb::Errno(error.raw_os_error().unwrap_or_default()),
        NftError::Silent => number(Errno::ETIMEDOUT),
        NftError::Refused { errno, .. } => number(errno),
    }
}

pub(super) const fn number(errno: Errno) -> verb::Errno {
    verb::Errno(errno as i32)
}
