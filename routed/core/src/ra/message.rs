//! Router Solicitations and Router Advertisements as octets (RFC 4861 §4.1, §4.2).
//!
//! In: a packet's ICMPv6 part with where it came from. Out: what it says, or why it must be dropped
//! in silence (§6.1). The other way: the two messages that we send. Checksums are the kernel's:
//! it verifies those that come in and fills in those that go out.
//!
//! Options are checked for their form and not looked at: nothing in them helps to find a peer.

use std::{net::Ipv6Addr, time::Duration};

/// A packet as it arrived on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'o> {
    /// Source address.
    pub source: Ipv6Addr,
    /// Hop limit on arrival: less than 255 shows that it came through a router.
    pub hop_limit: u8,
    /// From the ICMPv6 type on.
    pub octets: &'o [u8],
}

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Somebody looks for routers. Its source may be unspecified (`::`).
    Solicitation,
    /// The source is a router.
    Advertisement {
        /// For how long it wants to be one; 0: no longer.
        lifetime: Duration,
    },
}

/// Why a packet is dropped (RFC 4861 §6.1.1, §6.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It comes from off the link, or somebody wants us to believe that it does not.
    #[error("hop limit {0} instead of 255: not from this link")]
    HopLimit(u8),
    /// An advertisement from an address that is not link-local.
    #[error("advertisement from an address that is not link-local")]
    Source,
    /// Neither of the two messages.
    #[error("ICMPv6 type {0} is neither a solicitation nor an advertisement")]
    Kind(u8),
    /// The code must be 0.
    #[error("code {0} instead of 0")]
    Code(u8),
    /// Fewer octets than the message has at least.
    #[error("cut short after {0} octets")]
    CutShort(usize),
    /// An option of length 0, or one that goes beyond the end.
    #[error("malformed options")]
    Options,
    /// A solicitation from `::` cannot have a link-layer address.
    #[error("solicitation from the unspecified address names a link-layer address")]
    LinkLayerAddress,
}

/// Reads a packet.
pub(super) fn read(packet: &Packet<'_>) -> Result<Message, Flaw> {
    let Packet { source, hop_limit, octets } = *packet;
    if hop_limit != HOP_LIMIT {
        return Err(Flaw::HopLimit(hop_limit));
    }
    let (kind, code) = match octets {
        [kind, code, ..] => (*kind, *code),
        _ => return Err(Flaw::CutShort(octets.len())),
    };
    let fixed = match kind {
        SOLICITATION => SOLICITATION_LEN,
        ADVERTISEMENT => ADVERTISEMENT_LEN,
        other => return Err(Flaw::Kind(other)),
    };
    if code != 0 {
        return Err(Flaw::Code(code));
    }
    let (head, options) = octets.split_at_checked(fixed).ok_or(Flaw::CutShort(octets.len()))?;
    let has_link_layer_address = has_source_link_layer_address(options)?;
    if kind == SOLICITATION {
        return if source.is_unspecified() && has_link_layer_address {
            Err(Flaw::LinkLayerAddress)
        } else {
            Ok(Message::Solicitation)
        };
    }
    if !source.is_unicast_link_local() {
        return Err(Flaw::Source);
    }
    let seconds = u16::from_be_bytes([head[6], head[7]]);
    Ok(Message::Advertisement { lifetime: Duration::from_secs(seconds.into()) })
}

/// Walks all options (RFC 4861 §4.6).
fn has_source_link_layer_address(mut options: &[u8]) -> Result<bool, Flaw> {
    let mut found = false;
    while let [kind, len, ..] = *options {
        found |= kind == SOURCE_LINK_LAYER_ADDRESS;
        let len = usize::from(len) * 8;
        options = options.get(len..).filter(|_| len > 0).ok_or(Flaw::Options)?;
    }
    if options.is_empty() { Ok(found) } else { Err(Flaw::Options) }
}

/// "Which routers are there?", without the link-layer address: the answers are multicast or find us
/// by neighbour discovery.
pub(super) const fn solicitation() -> [u8; SOLICITATION_LEN] {
    let mut octets = [0; SOLICITATION_LEN];
    octets[0] = SOLICITATION;
    octets
}

/// "I am a router for so many seconds", and nothing else: no prefix, no MTU, no hop limit.
///
/// A router for peers, that is. Hosts that believe advertisements would take a default route from
/// it, so it has the lowest preference (RFC 4191 §2.1): any other router is better.
pub(super) const fn advertisement(lifetime: u16) -> [u8; ADVERTISEMENT_LEN] {
    let mut octets = [0; ADVERTISEMENT_LEN];
    octets[0] = ADVERTISEMENT;
    // RFC 4191 §2.2: without a lifetime there is no preference.
    octets[5] = if lifetime == 0 { 0 } else { PREFERENCE_LOW };
    [octets[6], octets[7]] = lifetime.to_be_bytes();
    octets
}

/// Of every neighbour discovery packet (RFC 4861 §3.1).
pub const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 133;
const SOLICITATION_LEN: usize = 8;
const ADVERTISEMENT: u8 = 134;
const ADVERTISEMENT_LEN: usize = 16;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const PREFERENCE_LOW: u8 = 0b11 << 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    fn from(source: Ipv6Addr, octets: &[u8]) -> Result<Message, Flaw> {
        read(&Packet { source, hop_limit: 255, octets })
    }

    fn lifetime(seconds: u64) -> Message {
        Message::Advertisement { lifetime: Duration::from_secs(seconds) }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(from(ROUTER, &solicitation()), Ok(Message::Solicitation));
        assert_eq!(from(Ipv6Addr::UNSPECIFIED, &solicitation()), Ok(Message::Solicitation));
        for seconds in [0, 1, 30, 9000, u16::MAX] {
            assert_eq!(from(ROUTER, &advertisement(seconds)), Ok(lifetime(seconds.into())));
        }
    }

    #[test]
    fn rfc4191_2_2_our_advertisements_have_low_preference_and_none_without_a_lifetime() {
        assert_eq!(advertisement(30)[5], 0b0001_1000);
        assert_eq!(advertisement(0)[5], 0);
    }

    #[test]
    fn an_advertisement_of_frr_with_its_options_is_read() {
        let mut octets = vec![134, 0, 0x12, 0x34, 64, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0];
        octets.extend([1, 1, 2, 0, 0, 0, 0, 1]);
        octets.extend([5, 1, 0, 0, 0, 0, 5, 220]);
        assert_eq!(from(ROUTER, &octets), Ok(lifetime(30)));
    }

    #[test]
    fn rfc4861_6_1_invalid_packets_are_told_apart() {
        let global = "2001:db8::1".parse().unwrap();
        let (rs, ra) = (solicitation(), advertisement(30));
        let with = |message: &[u8], more: &[u8]| [message, more].concat();
        let changed = |at: usize, value: u8| {
            let mut octets = ra;
            octets[at] = value;
            octets.to_vec()
        };
        for (source, octets, flaw) in [
            (global, ra.to_vec(), Flaw::Source),
            (Ipv6Addr::UNSPECIFIED, ra.to_vec(), Flaw::Source),
            (ROUTER, changed(0, 135), Flaw::Kind(135)),
            (ROUTER, changed(1, 1), Flaw::Code(1)),
            (ROUTER, vec![], Flaw::CutShort(0)),
            (ROUTER, rs[..7].to_vec(), Flaw::CutShort(7)),
            (ROUTER, ra[..15].to_vec(), Flaw::CutShort(15)),
            (ROUTER, with(&ra, &[5]), Flaw::Options),
            (ROUTER, with(&ra, &[5, 0, 0, 0, 0, 0, 0, 0]), Flaw::Options),
            (ROUTER, with(&ra, &[5, 2, 0, 0, 0, 0, 0, 0]), Flaw::Options),
            (Ipv6Addr::UNSPECIFIED, with(&rs, &[1, 1, 2, 0, 0, 0, 0, 1]), Flaw::LinkLayerAddress),
        ] {
            assert_eq!(from(source, &octets), Err(flaw), "{octets:?}");
        }
        let far = Packet { source: ROUTER, hop_limit: 254, octets: &ra };
        assert_eq!(read(&far), Err(Flaw::HopLimit(254)));
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(
            octets in prop::collection::vec(any::<u8>(), 0..64),
            kind in 132..136_u8,
        ) {
            let mut octets = octets;
            let _ = from(ROUTER, &octets);
            if let [first, second, ..] = &mut octets[..] {
                (*first, *second) = (kind, 0);
                let _ = from(ROUTER, &octets);
            }
        }
    }
}
