//! The AS path that an eBGP peer is told (RFC 4271 §5.1.2 b), and the settings that bend it.
//!
//! In: the path as the Loc-RIB has it, whom it goes to, and who we are. Out: the path with what
//! is to be hidden gone and ourselves in front. Keeps nothing.

use crate::{
    aspath::{AsPath, Asn},
    config::PrivateAs,
    rib::peer::PeerUp,
};

/// `own` is our AS apart from this session. What the path has of others is settled first, so
/// that neither switch touches what is then put in front.
pub(super) fn told(path: &AsPath, to: &PeerUp, own: Asn) -> AsPath {
    let us = to.local_asn;
    let mut path = match to.config.private_as {
        PrivateAs::Keep => path.clone(),
        PrivateAs::Remove => edited(path, |asn| (!hidden(asn, to)).then_some(asn)),
        PrivateAs::Replace => edited(path, |asn| Some(if hidden(asn, to) { us } else { asn })),
    };
    if to.config.as_override {
        path = edited(&path, |asn| Some(if asn == to.peer_asn { us } else { asn }));
    }
    if us != own && !to.config.local_as.replace_as {
        path = path.prepended(own, 1);
    }
    path.prepended(us, 1)
}

fn hidden(asn: Asn, to: &PeerUp) -> bool {
    asn.is_private() && asn != to.peer_asn
}

/// The path with every AS changed or, where `edit` gives none, left out.
fn edited(path: &AsPath, edit: impl Fn(Asn) -> Option<Asn>) -> AsPath {
    let mut path = path.clone();
    for segment in &mut path.segments {
        segment.asns = segment.asns.iter().copied().filter_map(&edit).collect();
    }
    path.segments.retain(|segment| !segment.asns.is_empty());
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{LocalAs, RibPeerConfig},
        family::FamilySet,
        rib::{Opening, SessionOptions},
    };

    const OWN: Asn = Asn(65000);

    fn to(config: RibPeerConfig, local_asn: u32) -> PeerUp {
        PeerUp {
            families: FamilySet::ALL,
            local_asn: Asn(local_asn),
            peer_asn: Asn(65001),
            router_id: [10, 0, 0, 1].into(),
            address: [10, 0, 0, 1].into(),
            link: None,
            extended_next_hop: false,
            options: SessionOptions::default(),
            config,
            opening: Opening::default(),
        }
    }

    fn seen(path: &[u32], config: RibPeerConfig) -> String {
        told(&AsPath::sequence(path.iter().copied()), &to(config, OWN.0), OWN).to_string()
    }

    #[test]
    fn rfc4271_5_1_2_our_as_is_put_in_front() {
        assert_eq!(seen(&[3, 4], RibPeerConfig::default()), "65000 3 4");
        assert_eq!(seen(&[], RibPeerConfig::default()), "65000");
    }

    #[test]
    fn as_override_puts_our_as_in_place_of_the_peers_wherever_it_stands() {
        let config = RibPeerConfig { as_override: true, ..RibPeerConfig::default() };
        assert_eq!(seen(&[3, 65001, 65001, 65002], config), "65000 3 65000 65000 65002");
    }

    #[test]
    fn private_ases_are_removed_or_replaced_but_for_the_peers_own() {
        let config = |private_as| RibPeerConfig { private_as, ..RibPeerConfig::default() };
        let path = [64600, 3, 65001, 4_200_000_001, 4];
        assert_eq!(seen(&path, config(PrivateAs::Keep)), "65000 64600 3 65001 4200000001 4");
        assert_eq!(seen(&path, config(PrivateAs::Remove)), "65000 3 65001 4");
        assert_eq!(seen(&path, config(PrivateAs::Replace)), "65000 65000 3 65001 65000 4");
        assert_eq!(seen(&[64600], config(PrivateAs::Remove)), "65000");
    }

    #[test]
    fn the_peers_own_private_as_falls_to_override_only() {
        let config = RibPeerConfig {
            as_override: true,
            private_as: PrivateAs::Remove,
            ..RibPeerConfig::default()
        };
        assert_eq!(seen(&[64600, 65001, 3], config), "65000 65000 3");
    }

    #[test]
    fn a_local_as_stands_in_front_of_our_own_unless_it_replaces_it() {
        let config = |replace_as| RibPeerConfig {
            local_as: LocalAs { replace_as, ..LocalAs::default() },
            ..RibPeerConfig::default()
        };
        let path = AsPath::sequence([3]);
        assert_eq!(told(&path, &to(config(false), 64999), OWN).to_string(), "64999 65000 3");
        assert_eq!(told(&path, &to(config(true), 64999), OWN).to_string(), "64999 3");
    }
}
