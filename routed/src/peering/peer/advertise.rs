//! What the RIB and the peer's session have to tell each other when routes may flow.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Instant, SystemTime},
};

use bgp::{
    config::RibPeerConfig,
    family::Family,
    rib::{Advertisement, News, Opening, PeerUp},
    session::Established,
    wire::{Codec, Refresh, Update},
};
use bytes::Bytes;

use super::PeerTask;
use crate::{
    config::Peer,
    peering::{
        conn::Conn,
        interfaces::{self, Interface},
        rib::PeerEvent,
    },
};

impl PeerTask {
    /// The session is established: the RIB hears from whom and how its routes are treated.
    pub(super) fn up(&mut self, established: &Established) {
        let (Some(local), Some(peer)) = (self.local(), self.peer_address()) else { return };
        let interface = interfaces::interface_of(local);
        let config = self.rib_config(local, interface.as_ref(), established);
        let link = interface.as_ref().filter(|_| self.settings.is_on_link());
        let link = link.and_then(|interface| interface.index);
        self.interface = interface.map(|interface| interface.name);
        let settings = &self.settings;
        let limits = self.limits.begin();
        let up = PeerUp {
            families: established.families,
            local_asn: settings.session.local_asn,
            peer_asn: established.peer_asn,
            router_id: established.peer_router_id,
            address: peer.ip(),
            link,
            extended_next_hop: takes_extended_next_hop(established),
            options: established.into(),
            config,
            opening: self.opening(established),
        };
        self.rib.up(up, limits);
    }

    /// How the session began, for those who monitor it.
    fn opening(&self, established: &Established) -> Opening {
        let nothing = Opening::default();
        let (local, remote) = self.ends().unwrap_or((nothing.local, nothing.remote));
        Opening {
            local,
            remote,
            sent_open: established.sent_open.clone(),
            received_open: established.received_open.clone(),
            at: SystemTime::now().into(),
        }
    }

    /// The RIB hears of new settings, if it knows of a session.
    pub(super) fn tell_settings(&mut self) {
        if let Some((_, established)) = self.session.established()
            && let Some(local) = self.local()
        {
            let interface = interfaces::interface_of(local);
            let config = self.rib_config(local, interface.as_ref(), established);
            self.rib.push(PeerEvent::Settings(Box::new(config)));
        }
    }

    /// How the peer's routes are treated, now that our end of the session is known.
    fn rib_config(
        &self,
        local: SocketAddr,
        interface: Option<&Interface>,
        established: &Established,
    ) -> RibPeerConfig {
        let extended = takes_extended_next_hop(established);
        let local_addresses = next_hops(&self.settings, local.ip(), interface, extended);
        RibPeerConfig { local_addresses, ..self.settings.rib.clone() }
    }

    /// Asks the RIB for more when little waits for the socket: what is not asked for costs no
    /// memory however slow the peer is, and comes with its newest state.
    pub(super) fn ask_for_news(&mut self) {
        let Some((id, _)) = self.session.established() else { return };
        let waiting = self.conns.iter().find(|conn| conn.id == id).map(Conn::pending);
        if waiting.is_some_and(|octets| octets < LOW_WATER) {
            self.rib.ask(BUDGET);
        }
    }

    /// Turns news of the RIB into UPDATEs.
    pub(super) fn advertise(&mut self, news: News) {
        let Some((_, established)) = self.session.established() else { return };
        let codec = established.codec;
        match news {
            News::Own(own) => self.advertise_own(&own, &codec),
            News::Shared { batch, to } => {
                let now = Instant::now();
                for (octets, updates) in batch.encode(to, &codec) {
                    self.session.send_updates(octets, updates, now);
                }
            }
        }
        self.carry_out();
    }

    fn advertise_own(&mut self, own: &[Advertisement], codec: &Codec) {
        let now = Instant::now();
        for advertisement in own {
            for octets in updates(advertisement, codec) {
                self.session.send_update(octets, now);
            }
            match advertisement {
                Advertisement::RefreshBegin(family) => {
                    self.session.send_refresh_mark(Refresh::begin(*family), now);
                }
                Advertisement::RefreshEnd(family) => {
                    self.session.send_refresh_mark(Refresh::end(*family), now);
                }
                Advertisement::Reach { .. }
                | Advertisement::Withdraw(_)
                | Advertisement::EndOfRib(_) => (),
            }
        }
    }
}

/// The UPDATEs that an advertisement comes to.
fn updates(advertisement: &Advertisement, codec: &Codec) -> Vec<Bytes> {
    match advertisement {
        // The RIB tells nothing that does not fit this session's messages.
        Advertisement::Reach { attrs, prefixes } => Update::encode_reach(attrs, prefixes, codec)
            .unwrap_or_else(|_| Update::encode_withdraw(prefixes, codec)),
        Advertisement::Withdraw(prefixes) => Update::encode_withdraw(prefixes, codec),
        Advertisement::EndOfRib(family) => vec![Update::encode_end_of_rib(*family)],
        Advertisement::RefreshBegin(_) | Advertisement::RefreshEnd(_) => Vec::new(),
    }
}

/// Whether the peer takes IPv6 next hops for IPv4 prefixes (RFC 8950).
fn takes_extended_next_hop(established: &Established) -> bool {
    established.codec.extended_next_hop.contains(Family::Ipv4Unicast)
}

/// The addresses that next-hop-self takes: what the configuration says, else our end of the
/// session, else what the same interface has of the other family. To a peer on the link the
/// interface's link-local address is told as well (RFC 2545 §3).
///
/// On an unnumbered link an IPv4 address of ours need not be one that the peer can reach, so none is
/// told to a peer that takes IPv6 next hops for IPv4 prefixes (RFC 8950).
fn next_hops(
    settings: &Peer,
    local: IpAddr,
    interface: Option<&Interface>,
    extended_next_hop: bool,
) -> Vec<IpAddr> {
    let (local_v4, local_v6) = match local {
        IpAddr::V4(v4) => (Some(v4), None),
        IpAddr::V6(v6) => (None, Some(v6)),
    };
    let unnumbered = settings.address.interface().is_some();
    let beside = interface.filter(|_| !(unnumbered && extended_next_hop));
    let own_v4 = local_v4.or(beside.and_then(Interface::ipv4));
    let v4 = settings.next_hop_ipv4.or(own_v4);
    let (local_link, local_v6) = match local_v6 {
        Some(v6) if v6.is_unicast_link_local() => (Some(v6), None),
        Some(_) | None => (None, local_v6),
    };
    let own_v6 = local_v6.or(interface.and_then(Interface::ipv6));
    let v6 = settings.next_hop_ipv6.or(own_v6);
    // An address from the configuration may be one of another router.
    let on_link = settings.is_on_link() && v6 == own_v6;
    let link_local = local_link.or(interface.and_then(Interface::ipv6_link_local));
    let v6 = v6.into_iter().chain(link_local.filter(|_| on_link)).map(IpAddr::V6);
    v4.map(IpAddr::V4).into_iter().chain(v6).collect()
}

/// Octets waiting for the socket below which the RIB is asked for more: a few round trips'
/// worth, so that the socket never runs dry while the answer is under way.
const LOW_WATER: usize = 64 * 1024;

/// Prefixes asked for at once. With attributes of a hundred octets for each, an answer is some
/// 100 KiB; at worst, each with attributes that fill a message, 4 MiB.
const BUDGET: usize = 1024;

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, path::Path};

    use super::*;
    use crate::config::Config;

    const LINK_LOCAL: &str = "fe80::2";

    fn told(peer: &str, local: &str, addresses: &[&str], extended_next_hop: bool) -> Vec<String> {
        let text = format!(
            "[node]\nname = \"n\"\n[bgp]\nasn = 65001\nrouter_id = \"10.0.0.1\"\n\
             [[peers]]\nasn = 65002\n{peer}\n"
        );
        let config = Config::parse(Path::new("test.toml"), &text).unwrap().config;
        let interface = Interface {
            name: "eth1".to_owned(),
            index: NonZeroU32::new(3),
            addresses: addresses.iter().map(|addr| addr.parse().unwrap()).collect(),
        };
        let local = local.parse().unwrap();
        next_hops(&config.peers[0], local, Some(&interface), extended_next_hop)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_numbered_peer_is_told_our_end_and_what_stands_beside_it() {
        let all = ["10.1.1.1", "fd00::1", LINK_LOCAL];
        assert_eq!(told("address = \"10.1.1.0\"", "10.1.1.1", &all, false), all);
        assert_eq!(told("address = \"fd00::\"", "fd00::1", &all, true), all);
        let far = "address = \"10.9.0.1\"\nmultihop = 4";
        assert_eq!(told(far, "10.1.1.1", &all, false), all[..2]);
    }

    #[test]
    fn rfc8950_an_unnumbered_peer_is_told_ipv6_next_hops_and_ipv4_only_if_it_takes_no_other() {
        let peer = "interface = \"eth1\"";
        assert_eq!(told(peer, LINK_LOCAL, &[LINK_LOCAL], true), [LINK_LOCAL]);
        let all = ["10.1.1.1", "fd00::1", LINK_LOCAL];
        assert_eq!(told(peer, LINK_LOCAL, &all, true), all[1..]);
        assert_eq!(told(peer, LINK_LOCAL, &all, false), all);
    }

    #[test]
    fn next_hops_of_the_configuration_come_first_and_without_our_link_local_address() {
        let peer =
            "interface = \"eth1\"\nnext_hop_ipv4 = \"10.0.0.9\"\nnext_hop_ipv6 = \"fd00::9\"";
        let all = ["10.1.1.1", "fd00::1", LINK_LOCAL];
        assert_eq!(told(peer, LINK_LOCAL, &all, true), ["10.0.0.9", "fd00::9"]);
    }
}
