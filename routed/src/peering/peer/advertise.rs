//! What the RIB and the peer's session have to tell each other when routes may flow.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use bgp::{
    config::RibPeerConfig,
    family::Family,
    rib::{Advertisement, Opening, PeerUp},
    session::Established,
    wire::{Codec, Refresh, Update},
};
use bytes::Bytes;

use super::{PeerTask, command::is_on_link};
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
        let local = self.local();
        let interface = local.and_then(interfaces::interface_of);
        let config = rib_config(&self.settings, local, interface.as_ref());
        let link = interface.as_ref().filter(|_| is_on_link(&self.settings));
        let link = link.and_then(|interface| interface.index);
        self.interface = interface.map(|interface| interface.name);
        let settings = &self.settings;
        self.rib.up(PeerUp {
            families: established.families,
            local_asn: settings.session.local_asn,
            peer_asn: established.peer_asn,
            router_id: established.peer_router_id,
            address: settings.address,
            link,
            extended_next_hop: established.codec.extended_next_hop.contains(Family::Ipv4Unicast),
            options: established.into(),
            config,
            opening: Opening::default(),
        });
    }

    /// The RIB hears of new settings, if it knows of a session.
    pub(super) fn tell_settings(&mut self) {
        if self.session.established().is_some() {
            let local = self.local();
            let interface = local.and_then(interfaces::interface_of);
            let config = rib_config(&self.settings, local, interface.as_ref());
            self.rib.push(PeerEvent::Settings(Box::new(config)));
        }
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
    pub(super) fn advertise(&mut self, news: &[Advertisement]) {
        let Some((_, established)) = self.session.established() else { return };
        let codec = established.codec;
        let now = Instant::now();
        for advertisement in news {
            for octets in self.updates(advertisement, &codec) {
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
        self.carry_out();
    }

    /// The UPDATEs that an advertisement comes to.
    fn updates(&self, advertisement: &Advertisement, codec: &Codec) -> Vec<Bytes> {
        match advertisement {
            Advertisement::Reach { attrs, prefixes } => {
                Update::encode_reach(attrs, prefixes, codec).unwrap_or_else(|error| {
                    let (peer, first) = (&self.settings.name, prefixes.first());
                    tracing::error!(
                        %peer, prefix = ?first, %error,
                        "routes cannot be announced to this peer and are withdrawn from it",
                    );
                    Update::encode_withdraw(prefixes, codec)
                })
            }
            Advertisement::Withdraw(prefixes) => Update::encode_withdraw(prefixes, codec),
            Advertisement::EndOfRib(family) => vec![Update::encode_end_of_rib(*family)],
            Advertisement::RefreshBegin(_) | Advertisement::RefreshEnd(_) => Vec::new(),
        }
    }
}

/// How the peer's routes are treated, now that our end of the session is known.
fn rib_config(
    settings: &Peer,
    local: Option<SocketAddr>,
    interface: Option<&Interface>,
) -> RibPeerConfig {
    let local_addresses = next_hops(settings, local.map(|local| local.ip()), interface);
    RibPeerConfig { local_addresses, ..settings.rib.clone() }
}

/// The addresses that next-hop-self takes: what the configuration says, else our end of the
/// session, else what the same interface has of the other family. To a peer on the link the
/// interface's link-local address is told as well (RFC 2545 §3).
fn next_hops(settings: &Peer, local: Option<IpAddr>, interface: Option<&Interface>) -> Vec<IpAddr> {
    let (local_v4, local_v6) = match local {
        Some(IpAddr::V4(v4)) => (Some(v4), None),
        Some(IpAddr::V6(v6)) => (None, Some(v6)),
        None => (None, None),
    };
    let v4 = settings.next_hop_ipv4.or(local_v4).or(interface.and_then(Interface::ipv4));
    let own_v6 = local_v6.or(interface.and_then(Interface::ipv6));
    let v6 = settings.next_hop_ipv6.or(own_v6);
    // An address from the configuration may be one of another router.
    let link_local = match interface {
        Some(interface) if is_on_link(settings) && v6 == own_v6 => interface.ipv6_link_local(),
        Some(_) | None => None,
    };
    let v6 = v6.into_iter().chain(link_local).map(IpAddr::V6);
    v4.map(IpAddr::V4).into_iter().chain(v6).collect()
}

/// Octets waiting for the socket below which the RIB is asked for more: a few round trips'
/// worth, so that the socket never runs dry while the answer is under way.
const LOW_WATER: usize = 64 * 1024;

/// Prefixes asked for at once. With attributes of a hundred octets for each, an answer is some
/// 100 KiB; at worst, each with attributes that fill a message, 4 MiB.
const BUDGET: usize = 1024;
