//! What the optional capabilities of both sides come to.
//!
//! In: our settings, the peer's OPEN, and the families of the session. Out: the terms of each
//! option, or the NOTIFICATION for roles that do not go together. Of a capability that may come
//! only once, the last one counts.

use bytes::Bytes;

use super::offer::{ADD_PATH_RECEIVE, ADD_PATH_SEND, IPV4_OVER_IPV6};
use crate::{
    config::{GracefulRestart, SessionConfig, StaleTime},
    family::{Family, FamilySet},
    role::Role,
    session::{LongLived, PeerRestart},
    wire::{Capability, ErrorCode, MAX_EXTENDED_LEN, MAX_LEN, Notification, Open},
};

/// Families with path identifiers from the peer and to the peer (RFC 7911 §4).
pub(super) fn add_path(
    config: &SessionConfig,
    open: &Open,
    families: FamilySet,
) -> (FamilySet, FamilySet) {
    let theirs = last(open, |capability| match capability {
        Capability::AddPath(families) => Some(families.as_slice()),
        _ => None,
    });
    let offers = |way: u8| -> FamilySet {
        let offers = theirs.into_iter().flatten();
        // Any value but 1, 2 and 3 is to be ignored.
        let offers = offers.filter(|(.., ways)| *ways <= 3 && ways & way != 0);
        offers.filter_map(|(afi, safi, _)| Family::from_codes(*afi, *safi)).collect()
    };
    let receive = offers(ADD_PATH_SEND).intersection(config.add_path_receive);
    let send = offers(ADD_PATH_RECEIVE).intersection(config.add_path_send);
    (receive.intersection(families), send.intersection(families))
}

/// Families whose prefixes may have next hops of another family, in both directions
/// (RFC 8950 §4).
pub(super) fn extended_next_hop(
    config: &SessionConfig,
    open: &Open,
    families: FamilySet,
) -> FamilySet {
    let theirs = open.capabilities.iter().any(|capability| match capability {
        Capability::ExtendedNextHop(families) => families.contains(&IPV4_OVER_IPV6),
        _ => false,
    });
    let theirs: FamilySet = theirs.then_some(Family::Ipv4Unicast).into_iter().collect();
    theirs.intersection(config.extended_next_hop).intersection(families)
}

/// Longest messages from the peer and to the peer. We must take what we have offered to take,
/// and may send only to a peer that offers the same (RFC 8654 §3, §4).
pub(super) fn max_lens(config: &SessionConfig, open: &Open) -> (usize, usize) {
    let max_len = |extended| if extended { MAX_EXTENDED_LEN } else { MAX_LEN };
    let ours = config.extended_messages;
    let theirs = open.capabilities.contains(&Capability::ExtendedMessage);
    (max_len(ours), max_len(ours && theirs))
}

/// Our role, and the peer's if it has told it (RFC 9234 §4.2). On a session within an AS there
/// are none.
///
/// # Errors
///
/// 2/11 if the peer's role is not the counterpart of ours, if it has told several, or if it
/// has told none and is required to.
pub(super) fn roles(
    config: &SessionConfig,
    open: &Open,
    external: bool,
) -> Result<(Option<Role>, Option<Role>), Notification> {
    let Some(ours) = config.role.filter(|_| external) else { return Ok((None, None)) };
    let mismatch = Notification::new(ErrorCode::ROLE_MISMATCH, Bytes::new());
    let mut told = open.capabilities.iter().filter_map(|capability| match capability {
        Capability::Role(code) => Some(*code),
        _ => None,
    });
    match told.next() {
        None if config.strict_role => Err(mismatch),
        None => Ok((Some(ours), None)),
        Some(code) => {
            let counterpart = ours.counterpart();
            let fits = code == counterpart.code() && told.all(|another| another == code);
            if fits { Ok((Some(ours), Some(counterpart))) } else { Err(mismatch) }
        }
    }
}

/// What the peer says of its restarts, as far as it concerns these families (RFC 4724 §3).
pub(super) fn graceful_restart(
    config: &SessionConfig,
    open: &Open,
    families: FamilySet,
) -> Option<PeerRestart> {
    let ours = config.graceful_restart.as_ref()?;
    last(open, |capability| match capability {
        Capability::GracefulRestart { restarted, notification, time, families: theirs } => {
            let theirs = theirs.iter().filter_map(|(afi, safi, forwarding)| {
                Some((Family::from_codes(*afi, *safi)?, *forwarding))
            });
            let theirs: Vec<_> = theirs.filter(|(family, _)| families.contains(*family)).collect();
            Some(PeerRestart {
                restarted: *restarted,
                notification: *notification && ours.notification,
                restart_time: *time,
                families: theirs.iter().map(|(family, _)| *family).collect(),
                forwarding: theirs
                    .iter()
                    .filter_map(|(family, forwarding)| forwarding.then_some(*family))
                    .collect(),
            })
        }
        _ => None,
    })
}

/// Families in which the peer asks for long-lived stale routes, with the time that they get:
/// theirs, but not more than ours. Meaningless without graceful restart (RFC 9494 §3.1, §4.2).
pub(super) fn long_lived(
    restart: Option<&GracefulRestart>,
    open: &Open,
    families: FamilySet,
) -> Vec<LongLived> {
    let Some(ours) = restart.map(|ours| ours.long_lived_time) else { return Vec::new() };
    let theirs = last(open, |capability| match capability {
        Capability::LongLivedGracefulRestart(families) => Some(families.as_slice()),
        _ => None,
    });
    let theirs = theirs.into_iter().flatten().filter_map(|(afi, safi, forwarding, time)| {
        let family = Family::from_codes(*afi, *safi)?;
        let ours = Some(*ours.get(family)).filter(|ours| *ours != StaleTime::OFF)?.seconds();
        Some(LongLived { family, forwarding: *forwarding, stale_time: (*time).min(ours) })
    });
    theirs.filter(|long_lived| families.contains(long_lived.family)).collect()
}

/// The last capability of a kind.
fn last<'a, T>(open: &'a Open, kind: impl Fn(&'a Capability) -> Option<T>) -> Option<T> {
    open.capabilities.iter().rev().find_map(kind)
}
