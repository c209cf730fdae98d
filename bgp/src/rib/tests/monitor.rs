//! Monitoring: what a station is told, in which order, and what it costs if it does not listen.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::policy::{Condition, Decision, PrefixMatch, Statement};
use crate::wire::Nlri;

const STATION: StationId = StationId(7);

fn all_views() -> ViewSet {
    View::ALL.into_iter().collect()
}

fn only(view: View) -> ViewSet {
    [view].into_iter().collect()
}

fn at(seconds: u32) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// A route as a station knows it.
type Known = (Attrs, Timestamp);

/// A station that believes what it is told, and objects to what makes no sense.
#[derive(Default)]
struct Collector {
    sessions: BTreeMap<PeerId, Arc<Monitored>>,
    routes: BTreeMap<(Option<PeerId>, View), BTreeMap<Nlri, Known>>,
    ends: BTreeMap<(Option<PeerId>, View, Family), usize>,
    downs: Vec<(PeerId, Cause, Timestamp)>,
}

impl Collector {
    /// Pulls until there is nothing more; how many pulls that took.
    fn listen(&mut self, rib: &mut Rib, budget: usize) -> usize {
        for pulls in 0.. {
            let announced = rib.has_reports(STATION);
            let reports = rib.poll_reports(STATION, budget);
            assert!(announced || reports.is_empty(), "without a word: {reports:?}");
            if reports.is_empty() {
                return pulls;
            }
            reports.into_iter().for_each(|report| self.take(report));
        }
        unreachable!()
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Up(session) => {
                let old = self.sessions.insert(session.id, session);
                assert_eq!(old, None, "up twice");
            }
            Report::Down { session, why, at } => {
                assert_eq!(self.sessions.remove(&session.id), Some(Arc::clone(&session)));
                self.routes.retain(|(peer, _), _| *peer != Some(session.id));
                self.downs.push((session.id, why, at));
            }
            Report::Routes { session, view, at, update } => {
                let peer = session.as_ref().map(|session| session.id);
                assert_eq!(peer.is_none(), view == View::LocRib);
                if let Some(session) = &session {
                    assert_eq!(self.sessions.get(&session.id), Some(session), "routes without up");
                }
                let routes = self.routes.entry((peer, view)).or_default();
                for nlri in &update.withdrawn {
                    let known = routes.remove(nlri);
                    assert!(known.is_some(), "{nlri} goes without having come");
                }
                for reach in &update.reach {
                    for nlri in &reach.prefixes {
                        routes.insert(*nlri, (Attrs::clone(&reach.attrs), at));
                    }
                }
                if let Some(family) = update.end_of_rib {
                    *self.ends.entry((peer, view, family)).or_default() += 1;
                }
            }
        }
    }

    fn prefixes(&self, peer: Option<u32>, view: View) -> Vec<String> {
        let routes = self.routes.get(&(peer.map(PeerId), view));
        routes.into_iter().flatten().map(|(nlri, _)| nlri.to_string()).collect()
    }
}

fn reject(text: &str) -> Arc<Policy> {
    let prefix = prefix(text);
    let matching = PrefixMatch { prefix, min_len: prefix.len(), max_len: prefix.len() };
    Arc::new(Policy {
        name: "p".into(),
        statements: vec![Statement {
            name: "s".into(),
            conditions: vec![Condition::Prefix([matching].into_iter().collect())],
            actions: Vec::new(),
            apply: None,
            decision: Some(Decision::Reject),
        }],
        default: Decision::Accept,
    })
}

fn config(import: Arc<Policy>) -> RibPeerConfig {
    RibPeerConfig { import: Some(import), ..peer(1, 65001).config }
}

#[test]
fn a_station_gets_the_sessions_then_every_view_then_one_end_of_rib_for_each_family() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.peer_up(PeerId(2), peer(2, 65002));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    rib.originate(prefix("fd00:1::/64"), Arc::new(Attrs::originated(hop("10.0.0.1"))));
    rib.set_policies(PeerId(1), config(reject("10.2.0.0/16")));
    pull(&mut rib, 2);
    rib.add_station(STATION, all_views());
    let first = rib.poll_reports(STATION, 2);
    assert!(matches!(&first[..], [Report::Up(one), Report::Up(two)] if one.id < two.id));

    let mut collector = Collector::default();
    first.into_iter().for_each(|report| collector.take(report));
    collector.listen(&mut rib, 1);
    let told = |peer, view| collector.prefixes(peer, view);
    assert_eq!(told(Some(1), View::PrePolicy), ["10.1.0.0/16", "10.2.0.0/16"]);
    assert_eq!(told(Some(1), View::PostPolicy), ["10.1.0.0/16"]);
    assert_eq!(told(None, View::LocRib), ["10.1.0.0/16", "fd00:1::/64"]);
    assert_eq!(told(Some(2), View::AdjRibOut), ["10.1.0.0/16", "fd00:1::/64"]);
    // Two peers with four views and the Loc-RIB, in two families.
    assert_eq!(collector.ends.len(), (2 * 4 + 1) * 2);
    assert!(collector.ends.values().all(|ends| *ends == 1), "{:?}", collector.ends);
}

#[test]
fn rfc9069_what_this_router_originates_has_a_next_hop_of_zeros_of_the_prefixs_family() {
    let mut rib = router();
    for text in ["fd00:1::/64", "10.1.0.0/16"] {
        rib.originate(prefix(text), Arc::new(Attrs::originated(hop("10.0.0.1"))));
    }
    rib.add_station(STATION, only(View::LocRib));
    let mut collector = Collector::default();
    collector.listen(&mut rib, 10);
    let hops = collector.routes[&(None, View::LocRib)].values();
    let hops: Vec<_> = hops.map(|(attrs, _)| attrs.next_hop.addr.to_string()).collect();
    assert_eq!(hops, ["0.0.0.0", "::"]);
}

#[test]
fn changes_follow_each_with_its_view_only() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.peer_up(PeerId(2), peer(2, 65002));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.add_station(STATION, all_views());
    let mut collector = Collector::default();
    collector.listen(&mut rib, 100);

    // A longer path of another peer does not reach the Loc-RIB.
    rib.update(PeerId(2), &announce(&["10.1.0.0/16"], path(2, &[65002, 65009])));
    let views: Vec<_> = rib.poll_reports(STATION, 100).iter().map(view_of).collect();
    assert_eq!(views, [Some((Some(2), View::PrePolicy)), Some((Some(2), View::PostPolicy))]);

    // A policy changes what is made of a route, not what was received.
    rib.set_policies(PeerId(2), config(reject("10.1.0.0/16")));
    let reports = rib.poll_reports(STATION, 100);
    let [Report::Routes { view: View::PostPolicy, update, .. }] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(update.withdrawn, [prefix("10.1.0.0/16").into()]);

    // The same again is no change.
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    assert!(!rib.has_reports(STATION));
    assert_eq!(rib.poll_reports(STATION, 100), []);
}

fn view_of(report: &Report) -> Option<(Option<u32>, View)> {
    match report {
        Report::Routes { session, view, .. } => {
            Some((session.as_ref().map(|session| session.id.0), *view))
        }
        Report::Up(_) | Report::Down { .. } => None,
    }
}

#[test]
fn routes_bear_the_time_at_which_they_were_learned() {
    let mut rib = router();
    rib.set_time(at(100));
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.set_time(at(200));
    rib.update(PeerId(1), &announce(&["10.2.0.0/16"], path(1, &[65001])));
    rib.set_time(at(300));
    // Neither the same again nor another policy makes a route younger.
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.set_policies(PeerId(1), config(reject("10.9.0.0/16")));
    rib.add_station(STATION, all_views());
    let mut collector = Collector::default();
    collector.listen(&mut rib, 100);
    let times = |collector: &Collector, view| -> Vec<_> {
        let peer = (view != View::LocRib).then_some(PeerId(1));
        collector.routes[&(peer, view)].values().map(|(_, at)| at.seconds()).collect()
    };
    assert_eq!(times(&collector, View::PrePolicy), [100, 200]);
    assert_eq!(times(&collector, View::PostPolicy), [100, 200]);
    // Since when a path is the best is not known of those that were so before the station came.
    assert_eq!(times(&collector, View::LocRib), [0, 0]);

    rib.set_time(at(400));
    rib.update(PeerId(1), &announce(&["10.2.0.0/16"], path(1, &[65001, 65002])));
    collector.listen(&mut rib, 100);
    assert_eq!(times(&collector, View::PrePolicy), [100, 400]);
    assert_eq!(times(&collector, View::LocRib), [0, 400]);
}

#[test]
fn a_lost_session_is_told_with_its_cause_and_takes_its_routes_with_it() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.add_station(STATION, all_views());
    let mut collector = Collector::default();
    collector.listen(&mut rib, 100);

    rib.update(PeerId(1), &announce(&["10.2.0.0/16"], path(1, &[65001])));
    rib.peer_down(PeerId(1), FamilySet::NONE, &Cause::SendHoldExpired, at(9));
    let reports = rib.poll_reports(STATION, 100);
    assert!(matches!(reports[0], Report::Down { .. }), "before all else: {reports:?}");
    reports.into_iter().for_each(|report| collector.take(report));
    assert_eq!(collector.downs, [(PeerId(1), Cause::SendHoldExpired, at(9))]);
    assert_eq!(collector.prefixes(Some(1), View::PrePolicy), [""; 0]);
    assert_eq!(collector.prefixes(None, View::LocRib), [""; 0]);
    assert!(!rib.has_reports(STATION));
}

#[test]
fn a_session_that_came_and_went_between_two_pulls_is_not_mentioned() {
    let mut rib = router();
    rib.add_station(STATION, all_views());
    let mut collector = Collector::default();
    collector.listen(&mut rib, 100);
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.peer_down(PeerId(1), FamilySet::NONE, &Cause::Closed, at(1));
    assert!(!rib.has_reports(STATION));

    // Of a session that is known and flaps, the station hears how that one ended, and the newest.
    rib.peer_up(PeerId(1), peer(1, 65001));
    collector.listen(&mut rib, 100);
    rib.peer_down(PeerId(1), FamilySet::NONE, &Cause::Stopped, at(2));
    for flap in 3..6 {
        rib.peer_up(
            PeerId(1),
            PeerUp { router_id: Ipv4Addr::new(10, 9, 9, flap), ..peer(1, 65001) },
        );
        if flap < 5 {
            rib.peer_down(PeerId(1), FamilySet::NONE, &Cause::Closed, at(flap.into()));
        }
    }
    collector.listen(&mut rib, 100);
    assert_eq!(collector.downs, [(PeerId(1), Cause::Stopped, at(2))]);
    assert_eq!(collector.sessions[&PeerId(1)].router_id, Ipv4Addr::new(10, 9, 9, 5));
}

#[test]
fn a_station_that_does_not_listen_costs_the_newest_state_and_no_more() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.add_station(STATION, all_views());
    let mut collector = Collector::default();
    collector.listen(&mut rib, 100);
    for round in 0..1000_u32 {
        let attrs = path(1, &[65001, 1 + round % 7]);
        rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], attrs));
        rib.update(PeerId(1), &withdraw(&["10.2.0.0/16"]));
    }
    let reports = rib.poll_reports(STATION, 1000);
    assert_eq!(reports.len(), 3, "one a view, the Adj-RIB-Out aside: {reports:?}");
    reports.into_iter().for_each(|report| collector.take(report));
    let (attrs, _) =
        &collector.routes[&(Some(PeerId(1)), View::PrePolicy)][&prefix("10.1.0.0/16").into()];
    assert_eq!(attrs.as_path, AsPath::sequence([65001, 1 + 999 % 7]));
}

#[test]
fn a_station_that_is_gone_leaves_nothing_behind() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16", "10.2.0.0/16"], path(1, &[65001])));
    for listens in [false, true] {
        rib.add_station(STATION, all_views());
        if listens {
            Collector::default().listen(&mut rib, 100);
        }
        rib.remove_station(STATION);
    }
    rib.peer_down(PeerId(1), FamilySet::NONE, &Cause::Closed, at(1));
    drain_best(&mut rib);
    assert_eq!(rib.loc.ids(), [], "destinations are held by nobody");
    assert_eq!(rib.poll_reports(STATION, 100), []);
    assert!(!rib.has_reports(STATION));
}

#[test]
fn a_rejected_route_may_come_and_go_unread() {
    let mut rib = router();
    rib.add_station(STATION, only(View::PrePolicy));
    rib.peer_up(PeerId(1), PeerUp { config: config(reject("10.1.0.0/16")), ..peer(1, 65001) });
    let mut collector = Collector::default();
    collector.listen(&mut rib, 100);
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    rib.update(PeerId(1), &withdraw(&["10.1.0.0/16"]));
    collector.listen(&mut rib, 100);
    assert_eq!(collector.prefixes(Some(1), View::PrePolicy), [""; 0]);
    assert_eq!(rib.loc.ids(), []);
}

#[test]
fn two_stations_are_told_independently() {
    let mut rib = router();
    rib.add_station(STATION, only(View::LocRib));
    rib.add_station(StationId(8), only(View::PrePolicy));
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001])));
    let mut collector = Collector::default();
    collector.listen(&mut rib, 100);
    assert_eq!(collector.prefixes(None, View::LocRib), ["10.1.0.0/16"]);
    assert_eq!(collector.prefixes(Some(1), View::PrePolicy), [""; 0]);
    let other = rib.poll_reports(StationId(8), 100);
    let views: BTreeSet<_> = other.iter().filter_map(view_of).collect();
    assert_eq!(views, BTreeSet::from([(Some(1), View::PrePolicy)]));
}

/// Something that happens to the RIB.
#[derive(Clone, Debug)]
enum Step {
    Up(u8),
    Down(u8, bool),
    StaleExpired(u8),
    Announce(u8, u8, u32, u8),
    Withdraw(u8, u8, u32),
    Originate(u8),
    Cease(u8),
    Policy(u8, u8),
    Refresh(u8),
    Listen(usize),
    Tell(u8),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let (peer, place) = (1..4_u8, 0..5_u8);
    prop_oneof![
        2 => peer.clone().prop_map(Step::Up),
        1 => (peer.clone(), any::<bool>()).prop_map(|(p, retain)| Step::Down(p, retain)),
        1 => peer.clone().prop_map(Step::StaleExpired),
        8 => (peer.clone(), place.clone(), 0..3_u32, 0..3_u8)
            .prop_map(|(p, n, path, len)| Step::Announce(p, n, path, len)),
        4 => (peer.clone(), place.clone(), 0..3_u32).prop_map(|(p, n, path)| Step::Withdraw(p, n, path)),
        1 => place.clone().prop_map(Step::Originate),
        1 => place.clone().prop_map(Step::Cease),
        2 => (peer.clone(), place).prop_map(|(p, n)| Step::Policy(p, n)),
        1 => peer.clone().prop_map(Step::Refresh),
        4 => (1..4_usize).prop_map(Step::Listen),
        4 => peer.prop_map(Step::Tell),
        1 => Just(Step::Reconnect),
    ]
}

fn place(number: u8) -> Prefix {
    let text = if number < 4 { format!("10.{number}.0.0/16") } else { "fd00:1::/64".to_owned() };
    prefix(&text)
}

/// The last peer has several paths to a prefix.
const fn path_of(peer: u8, path_id: u32) -> u32 {
    if peer == 3 { path_id } else { 0 }
}

fn take_step(rib: &mut Rib, collector: &mut Collector, step: &Step) {
    let id = |n: u8| PeerId(n.into());
    match *step {
        Step::Up(n) => rib.peer_up(id(n), peer(n, 65000 + u32::from(n))),
        Step::Down(n, retain) => {
            let retain = if retain { FamilySet::ALL } else { FamilySet::NONE };
            rib.peer_down(id(n), retain, &Cause::Closed, at(1));
        }
        Step::StaleExpired(n) => rib.stale_expired(id(n), FamilySet::ALL),
        Step::Announce(n, number, path_id, len) => {
            let asns: Vec<_> =
                std::iter::repeat_n(65000 + u32::from(n), usize::from(len) + 1).collect();
            let mut attrs = path(n, &asns);
            if number == 4 {
                attrs.next_hop = hop("2001:db8::9");
            }
            let mut update = announce(&[&place(number).to_string()], attrs);
            update.reach[0].prefixes[0].path_id = path_of(n, path_id);
            rib.update(id(n), &update);
        }
        Step::Withdraw(n, number, path_id) => {
            let mut update = withdraw(&[&place(number).to_string()]);
            update.withdrawn[0].path_id = path_of(n, path_id);
            rib.update(id(n), &update);
        }
        Step::Originate(number) => {
            rib.originate(place(number), Arc::new(Attrs::originated(hop("10.0.0.1"))));
        }
        Step::Cease(number) => rib.withdraw(place(number)),
        Step::Policy(n, number) => {
            let import = Some(reject(&place(number).to_string()));
            rib.set_policies(id(n), RibPeerConfig { import, ..peer(n, 65001).config });
        }
        Step::Refresh(n) => rib.refresh(id(n), Family::Ipv4Unicast),
        Step::Listen(budget) => {
            rib.poll_reports(STATION, budget).into_iter().for_each(|report| collector.take(report));
        }
        Step::Tell(n) => drop(rib.poll_advertisements(id(n), 2)),
        Step::Reconnect => {
            rib.add_station(STATION, all_views());
            *collector = Collector::default();
        }
    }
}

/// What a station that has listened to the end must know.
fn truth(rib: &Rib) -> BTreeMap<(Option<PeerId>, View), BTreeMap<Nlri, Attrs>> {
    let mut all: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (id, state) in &rib.peers {
        // Stale paths of a session that has ended are nobody's word.
        let Some(out) = &state.out else { continue };
        for dest in state.received.iter().map(|dest| rib.loc.get(dest)) {
            for path in dest.paths_of(*id) {
                let nlri = Nlri { prefix: dest.prefix, path_id: path.key().path_id };
                let mut put = |view, attrs| {
                    let attrs = Attrs::clone(&rib.attrs.get(attrs));
                    all.entry((Some(*id), view)).or_default().insert(nlri, attrs);
                };
                put(View::PrePolicy, path.received);
                path.accepted().into_iter().for_each(|attrs| put(View::PostPolicy, attrs));
            }
        }
        let exporter = Exporter::new(rib.us(), (*id, &state.up), Arc::new);
        for dest in rib.loc.ids().into_iter().map(|dest| rib.loc.get(dest)) {
            for (path_id, attrs) in exporter.offers(rib.judge(), dest) {
                let nlri = Nlri { prefix: dest.prefix, path_id };
                let offered = all.entry((Some(*id), View::AdjRibOutPrePolicy)).or_default();
                offered.insert(nlri, Attrs::clone(&attrs));
            }
        }
        for dest in out.told(*id, &rib.groups) {
            let prefix = rib.loc.get(dest).prefix;
            for (path_id, attrs) in out.told_of(*id, &rib.groups, (prefix.family(), dest)) {
                let nlri = Nlri { prefix, path_id };
                let told = all.entry((Some(*id), View::AdjRibOut)).or_default();
                told.insert(nlri, Attrs::clone(&rib.attrs.get(attrs)));
            }
        }
    }
    for dest in rib.loc.ids().into_iter().map(|dest| rib.loc.get(dest)) {
        let Some(best) = dest.best() else { continue };
        let mut attrs = Attrs::clone(&rib.attrs.get(best.accepted().unwrap()));
        if best.from().is_none() {
            attrs.next_hop = hop(if dest.prefix.addr().is_ipv4() { "0.0.0.0" } else { "::" });
        }
        all.entry((None, View::LocRib)).or_default().insert(dest.prefix.into(), attrs);
    }
    all
}

proptest! {
    #[test]
    fn whatever_happens_a_station_that_listens_knows_the_truth(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        let mut rib = router();
        rib.add_station(STATION, all_views());
        let mut collector = Collector::default();
        for step in &steps {
            take_step(&mut rib, &mut collector, step);
        }
        collector.listen(&mut rib, 2);
        let mut known = collector.routes;
        known.retain(|_, routes| !routes.is_empty());
        let known: BTreeMap<_, BTreeMap<_, _>> = known
            .into_iter()
            .map(|(key, routes)| {
                (key, routes.into_iter().map(|(prefix, (attrs, _))| (prefix, attrs)).collect())
            })
            .collect();
        prop_assert_eq!(known, truth(&rib));
        let up = rib.peers.iter().filter(|(_, state)| state.is_up()).map(|(id, _)| id);
        prop_assert!(collector.sessions.keys().eq(up));
        prop_assert!(collector.ends.values().all(|ends| *ends >= 1));

        // And nothing is left when all is over.
        rib.remove_station(STATION);
        for n in 1..4 {
            rib.peer_down(PeerId(n), FamilySet::NONE, &Cause::Closed, at(1));
            rib.stale_expired(PeerId(n), FamilySet::ALL);
        }
        for number in 0..5 {
            rib.withdraw(place(number));
        }
        drain_best(&mut rib);
        prop_assert_eq!(rib.loc.ids(), []);
    }
}
