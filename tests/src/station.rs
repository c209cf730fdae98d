//! What a monitoring station knows after what it was told, as an independent decoder
//! (bgpkit-parser) reads it.
//!
//! In: the octets of one connection. Out: sessions, tables and counts; a panic where messages do not
//! fit together (RFC 7854 §3.3): routes of a session that is not up, a second Peer Up, a withdrawal of
//! what was never announced.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use bgp::family::Family;
use bgpkit_parser::{
    models::BgpMessage,
    parser::bmp::{
        messages::{
            BmpMessage, BmpMessageBody, BmpPeerType, PeerFlags, PeerUpNotification, PerPeerFlags,
            StatsData,
        },
        parse_bmp_msg,
    },
};
use bytes::Bytes;
use ipnetwork::IpNetwork;

use crate::{fabric::Seen, oracle};

/// Whose something is: a peer by its address, or the router itself.
pub type Whose = Option<IpAddr>;

/// A table that a station sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Adj-RIB-In before policy.
    PrePolicy,
    /// Adj-RIB-In after policy.
    PostPolicy,
    /// Loc-RIB.
    LocRib,
    /// Adj-RIB-Out before policy.
    AdjRibOutPrePolicy,
    /// Adj-RIB-Out after policy.
    AdjRibOut,
}

/// The state of a station.
#[derive(Debug, Default)]
pub struct Station {
    /// The router's name and description, once told.
    pub router: Vec<String>,
    /// Sessions that stand, the Loc-RIB among them.
    pub up: BTreeMap<Option<IpAddr>, Session>,
    /// Sessions that ended, in order: whose, the reason's number, and what follows it.
    pub ended: Vec<(Whose, u8, Vec<u8>)>,
    /// Statistics, the newest of each kind: by kind and, where it has one, the AFI.
    pub statistics: BTreeMap<Whose, BTreeMap<(u16, u16), u64>>,
    /// The reason of a Termination, once told.
    pub terminated: Option<u16>,
    /// Octets of messages that have arrived whole.
    read: usize,
}

/// A session that stands.
#[derive(Debug)]
pub struct Session {
    /// The peer's AS and BGP identifier.
    pub asn: u32,
    /// The peer's BGP identifier.
    pub router_id: String,
    /// Its Peer Up.
    pub opening: PeerUpNotification,
    tables: BTreeMap<Table, BTreeMap<IpNetwork, Seen>>,
    complete: BTreeSet<(Table, Family)>,
}

impl Station {
    /// The state after these octets of a connection; the last message may be cut off.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        let mut station = Self::default();
        let mut rest = Bytes::copy_from_slice(octets);
        while let Some(message) = cut(&mut rest) {
            station.take(&message);
        }
        station
    }

    /// A table in prefix order; empty if nothing of it was told.
    #[must_use]
    pub fn table(&self, whose: Whose, table: Table) -> Vec<Seen> {
        let routes = self.up.get(&whose).and_then(|session| session.tables.get(&table));
        let mut routes: Vec<_> = routes.into_iter().flat_map(BTreeMap::values).cloned().collect();
        routes.sort();
        routes
    }

    /// Has End-of-RIB of both families been told of it?
    #[must_use]
    pub fn is_complete(&self, whose: Whose, table: Table) -> bool {
        let is_complete = |session: &Session| {
            Family::ALL.into_iter().all(|family| session.complete.contains(&(table, family)))
        };
        self.up.get(&whose).is_some_and(is_complete)
    }

    fn take(&mut self, octets: &Bytes) {
        assert_eq!(self.terminated, None, "a message after the Termination");
        let mut rest = octets.clone();
        let message = parse_bmp_msg(&mut rest)
            .unwrap_or_else(|error| panic!("the oracle refuses {octets:?}: {error}"));
        assert!(rest.is_empty(), "octets are left after {message:?}");
        let is_first = self.read == 0;
        self.read += octets.len();
        let is_initiation = matches!(message.message_body, BmpMessageBody::InitiationMessage(_));
        assert_eq!(is_first, is_initiation, "RFC 7854 §4.3: {message:?}");
        let BmpMessage { per_peer_header, message_body, .. } = message;
        let header = per_peer_header;
        let whose = header.and_then(|header| {
            (header.peer_type != BmpPeerType::LocalRib).then_some(header.peer_ip)
        });
        match message_body {
            BmpMessageBody::InitiationMessage(told) => {
                self.router = told.tlvs.into_iter().map(|tlv| tlv.info).collect();
            }
            BmpMessageBody::PeerUpNotification(opening) => {
                let header = header.expect("it has one");
                let session = Session {
                    asn: header.peer_asn.into(),
                    router_id: header.peer_bgp_id.to_string(),
                    opening,
                    tables: BTreeMap::new(),
                    complete: BTreeSet::new(),
                };
                assert!(self.up.insert(whose, session).is_none(), "{whose:?} comes up twice");
            }
            BmpMessageBody::PeerDownNotification(down) => {
                assert!(self.up.remove(&whose).is_some(), "{whose:?} goes down without being up");
                self.ended.push((whose, down.reason.into(), down.data.unwrap_or_default()));
            }
            BmpMessageBody::RouteMonitoring(routes) => {
                let header = header.expect("it has one");
                let session = self.up.get_mut(&whose);
                let session = session.unwrap_or_else(|| panic!("{whose:?} is not up: {routes:?}"));
                let table = match header.peer_flags {
                    PerPeerFlags::LocalRibPeerFlags(_) => Table::LocRib,
                    PerPeerFlags::PeerFlags(flags) => {
                        let out = flags.contains(PeerFlags::IS_ADJ_RIB_OUT);
                        match (out, flags.contains(PeerFlags::IS_POST_POLICY)) {
                            (false, false) => Table::PrePolicy,
                            (false, true) => Table::PostPolicy,
                            (true, true) => Table::AdjRibOut,
                            (true, false) => Table::AdjRibOutPrePolicy,
                        }
                    }
                };
                let BgpMessage::Update(update) = routes.bgp_message else {
                    panic!("RFC 7854 §4.6: {routes:?}")
                };
                match end_of_rib(octets) {
                    Some(family) => drop(session.complete.insert((table, family))),
                    None => session.update(table, &oracle::update(update)),
                }
            }
            BmpMessageBody::StatsReport(report) => {
                assert!(self.up.contains_key(&whose), "{whose:?} is not up: {report:?}");
                let counts = report.counters.into_iter().map(|counter| {
                    let kind = counter.stat_type.into();
                    match counter.stat_data {
                        StatsData::Counter(count) => ((kind, 0), count.into()),
                        StatsData::Gauge(count) => ((kind, 0), count),
                        StatsData::AfiSafiGauge(afi, _, count) => ((kind, afi), count),
                        StatsData::Unknown(octets) => panic!("{kind}: {octets:?}"),
                    }
                });
                self.statistics.insert(whose, counts.collect());
            }
            BmpMessageBody::TerminationMessage(_) => {
                // One TLV: type 1, length 2, the reason (RFC 7854 §4.5).
                let [.., 0, 1, 0, 2, high, low] = octets[..] else { panic!("{octets:?}") };
                self.terminated = Some(u16::from_be_bytes([high, low]));
            }
            BmpMessageBody::RouteMirroring(_) => panic!("RFC 7854 §4.7: not asked for"),
        }
    }
}

impl Session {
    fn update(&mut self, table: Table, update: &bgp::wire::Update) {
        let routes = self.tables.entry(table).or_default();
        for nlri in &update.withdrawn {
            let known = routes.remove(&nlri.prefix.into());
            assert!(known.is_some(), "{table:?}: {} was never announced", nlri.prefix);
        }
        for (nlri, attrs) in oracle::routes(update) {
            let prefix = nlri.prefix.into();
            let path: Vec<_> = attrs.as_path.to_string().split_whitespace().map(number).collect();
            let seen = Seen {
                prefix,
                next_hop: attrs.next_hop.addr,
                as_path: path,
                communities: attrs.communities.iter().map(ToString::to_string).collect(),
                large_communities: attrs
                    .large_communities
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                med: attrs.med,
            };
            routes.insert(prefix, seen);
        }
    }
}

fn number(word: &str) -> u32 {
    word.parse().unwrap_or_else(|_| panic!("no AS number: {word}"))
}

/// The next whole message, by the common header (RFC 7854 §4.1).
fn cut(octets: &mut Bytes) -> Option<Bytes> {
    let [3, a, b, c, d, ..] = octets[..] else {
        assert!(octets.len() < HEADER_LEN, "RFC 7854 §4.1: {octets:?}");
        return None;
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).expect("32 bits");
    (octets.len() >= length).then(|| octets.split_to(length))
}

/// The family of an UPDATE that is an End-of-RIB (RFC 4724 §2), in a Route Monitoring message.
fn end_of_rib(message: &[u8]) -> Option<Family> {
    // After the headers and the marker: length, type, no withdrawn routes, then attributes.
    match message[HEADER_LEN + PEER_HEADER_LEN + 16..] {
        [0, 23, 2, 0, 0, 0, 0] => Some(Family::Ipv4Unicast),
        [0, 29, 2, 0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1] => Some(Family::Ipv6Unicast),
        [0, 30, 2, 0, 0, 0, 7, 0x90, 15, 0, 3, 0, 2, 1] => Some(Family::Ipv6Unicast),
        _ => None,
    }
}

/// RFC 7854 §4.1.
const HEADER_LEN: usize = 6;
/// RFC 7854 §4.2.
const PEER_HEADER_LEN: usize = 42;
