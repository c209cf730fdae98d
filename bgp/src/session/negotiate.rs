//! What we offer in our OPEN, and what it comes to together with the peer's (RFC 4271 §4.2,
//! §6.2; RFC 5492).
//!
//! In: our settings and the peer's OPEN. Out: the terms of the session, or the NOTIFICATION
//! that refuses it. Keeps no state. Here is what every session has; [`options`] has the rest.

use std::net::Ipv4Addr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    aspath::Asn,
    config::{HoldTime, SessionConfig},
    family::{Family, FamilySet},
    session::Established,
    wire::{Capability, Codec, ErrorCode, Notification, Open},
};

mod offer;
mod options;

pub(super) use offer::offer;

/// The terms that follow from our settings and the peer's OPEN.
///
/// # Errors
///
/// The NOTIFICATION to close with: OPEN Message Error, subcode 2, 6, 3, 7 or 11, checked in this
/// order. RFC 4271 gives no data for the first three; the field as received is put there, as
/// BIRD and FRR do, so that the peer's operator sees what was refused.
pub(super) fn agree(config: &SessionConfig, open: &Open) -> Result<Established, Notification> {
    let peer_asn = check_asn(config, open)?;
    let hold_time = agree_hold_time(config.hold_time, open.hold_time)?;
    check_router_id(config, peer_asn, open.router_id)?;
    let families = agree_families(config.families, open)?;
    let external = peer_asn != config.local_asn;
    let (role, peer_role) = options::roles(config, open, external)?;
    let (add_path_receive, add_path_send) = options::add_path(config, open, families);
    let (max_receive_len, max_send_len) = options::max_lens(config, open);
    let offers = |capability| open.capabilities.contains(&capability);
    let graceful_restart = options::graceful_restart(config, open, families);
    let long_lived_with = config.graceful_restart.as_ref().filter(|_| graceful_restart.is_some());
    Ok(Established {
        peer_asn,
        peer_router_id: open.router_id,
        families,
        hold_time: hold_time.seconds(),
        keepalive_time: keepalive_time(config, hold_time.seconds()),
        codec: Codec {
            four_octet_as: four_octet_asn(open).is_some(),
            external,
            families,
            add_path_receive,
            add_path_send,
            extended_next_hop: options::extended_next_hop(config, open, families),
            max_receive_len,
            max_send_len,
        },
        route_refresh: offers(Capability::RouteRefresh),
        enhanced_refresh: offers(Capability::EnhancedRouteRefresh),
        graceful_restart,
        long_lived: options::long_lived(long_lived_with, open, families),
        role,
        peer_role,
        sent_open: Bytes::new(),
        received_open: Bytes::new(),
    })
}

/// The hold time of the session: the smaller of both offers (RFC 4271 §4.2); 0, off, if either
/// side offers it.
fn agree_hold_time(ours: HoldTime, theirs: u16) -> Result<HoldTime, Notification> {
    HoldTime::new(theirs).map(|theirs| theirs.min(ours)).map_err(|_| {
        Notification::new(
            ErrorCode::UNACCEPTABLE_HOLD_TIME,
            Bytes::copy_from_slice(&theirs.to_be_bytes()),
        )
    })
}

/// A third of the hold time or what is configured, whichever is less; at least a second, since
/// KEEPALIVEs must not be more frequent (RFC 4271 §4.4). 0 if there are to be none.
pub(super) fn keepalive_time(config: &SessionConfig, hold_time: u16) -> u16 {
    if hold_time == 0 {
        return 0;
    }
    let third = hold_time / 3;
    config
        .keepalive_time
        .and_then(|wanted| u16::try_from(wanted.as_secs()).ok())
        .map_or(third, |wanted| wanted.clamp(1, third))
}

/// AS 0 in either field is refused (RFC 7607 §2).
fn check_asn(config: &SessionConfig, open: &Open) -> Result<Asn, Notification> {
    let asn = open.effective_asn();
    if open.asn != 0 && config.peer_asn.admits(config.local_asn, asn) {
        return Ok(asn);
    }
    let field = match four_octet_asn(open) {
        Some(asn) => Bytes::copy_from_slice(&asn.0.to_be_bytes()),
        None => Bytes::copy_from_slice(&open.asn.to_be_bytes()),
    };
    Err(Notification::new(ErrorCode::BAD_PEER_AS, field))
}

/// The identifier is not zero, and inside one AS not ours (RFC 6286 §2.1, §2.2).
fn check_router_id(
    config: &SessionConfig,
    peer_asn: Asn,
    router_id: Ipv4Addr,
) -> Result<(), Notification> {
    let ours = peer_asn == config.local_asn && router_id == config.router_id;
    if ours || router_id.is_unspecified() {
        return Err(Notification::new(
            ErrorCode::BAD_IDENTIFIER,
            Bytes::copy_from_slice(&router_id.octets()),
        ));
    }
    Ok(())
}

/// The families of both. A peer that sends no multiprotocol capability at all speaks IPv4
/// unicast; one that sends any speaks just those (RFC 4760 §8).
fn agree_families(ours: FamilySet, open: &Open) -> Result<FamilySet, Notification> {
    let mut multiprotocol = false;
    let mut theirs = FamilySet::NONE;
    for capability in &open.capabilities {
        if let Capability::Multiprotocol { afi, safi } = capability {
            multiprotocol = true;
            if let Some(family) = Family::from_codes(*afi, *safi) {
                theirs.insert(family);
            }
        }
    }
    if !multiprotocol {
        theirs.insert(Family::Ipv4Unicast);
    }
    let both = ours.intersection(theirs);
    if both.is_empty() {
        return Err(Notification::new(ErrorCode::UNSUPPORTED_CAPABILITY, missing_families(ours)));
    }
    Ok(both)
}

/// The capabilities whose absence ends the session, in the form they have in OPEN (RFC 5492 §3).
fn missing_families(families: FamilySet) -> Bytes {
    let mut data = BytesMut::new();
    for family in families.iter() {
        data.put_slice(&[CAPABILITY_MULTIPROTOCOL, MULTIPROTOCOL_LEN]);
        data.put_u16(family.afi());
        data.put_slice(&[0, family.safi()]);
    }
    data.freeze()
}

fn four_octet_asn(open: &Open) -> Option<Asn> {
    open.capabilities.iter().find_map(|capability| match capability {
        Capability::FourOctetAs(asn) => Some(*asn),
        _ => None,
    })
}

const CAPABILITY_MULTIPROTOCOL: u8 = 1;
/// Length of that capability's value.
const MULTIPROTOCOL_LEN: u8 = 4;
