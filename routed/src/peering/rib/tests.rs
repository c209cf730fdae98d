//! The RIB's thread through its handle: who is told what, when, and what is never lost.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bgp::{
    aspath::Asn,
    config::RibPeerConfig,
    family::FamilySet,
    policy::Policy,
    rib::{
        Advertisement, News, NotAdvertised, Opening, PeerUp, Report, SessionOptions, Verdict, View,
    },
    session::Cause,
    timestamp::Timestamp,
    wire::Update,
};

use super::*;

const PEER: PeerId = PeerId(7);

struct Fixture {
    rib: RibHandle,
    best: BestChanges,
    thread: thread::JoinHandle<()>,
}

fn fixture(resolve_next_hops: bool) -> Fixture {
    let router_id = Ipv4Addr::new(10, 0, 0, 1);
    let config =
        RibConfig { multipath: 4, resolve_next_hops, ..RibConfig::new(Asn(65_001), router_id) };
    let (rib, best, thread) =
        start(Beginning { config, originated: Vec::new(), deferred_for: Vec::new() }).unwrap();
    Fixture { rib, best, thread }
}

fn up() -> PeerEvent {
    let all = Some(Arc::new(Policy::accept_all()));
    let up = Box::new(PeerUp {
        families: FamilySet::ALL,
        local_asn: Asn(65_001),
        peer_asn: Asn(65_002),
        router_id: Ipv4Addr::new(10, 0, 0, 2),
        address: "10.1.0.2".parse().unwrap(),
        link: None,
        extended_next_hop: false,
        options: SessionOptions::default(),
        config: RibPeerConfig {
            import: all.clone(),
            export: all,
            enforce_first_as: false,
            local_addresses: vec!["10.1.0.1".parse().unwrap()],
            ..RibPeerConfig::default()
        },
        opening: Opening::default(),
    });
    PeerEvent::Up(up, watch::channel(LimitsReached::new()).0)
}

fn down() -> PeerEvent {
    PeerEvent::Down { retain: FamilySet::NONE, why: Cause::Closed, at: Timestamp::UNKNOWN }
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn originated() -> Arc<Attrs> {
    Arc::new(Attrs::originated(NextHop::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
}

fn learned(prefixes: &[&str]) -> PeerEvent {
    let attrs = Arc::new(Attrs::originated(NextHop::new("10.1.0.2".parse().unwrap())));
    let prefixes = prefixes.iter().map(|text| prefix(text).into()).collect();
    let reach = bgp::wire::Reach { family: Family::Ipv4Unicast, attrs, prefixes };
    PeerEvent::Updates(vec![Update { reach: vec![reach], ..Update::default() }])
}

impl Fixture {
    async fn event(&self, event: PeerEvent) {
        self.rib.send(Command::Peer(PEER, event)).await.unwrap();
    }

    async fn pull(&self, budget: usize) -> oneshot::Receiver<News> {
        let (answer, pull) = oneshot::channel();
        self.rib.send(Command::Pull { peer: PEER, budget, answer }).await.unwrap();
        pull
    }
}

/// Prefixes announced or withdrawn.
fn told(news: &News) -> Vec<Prefix> {
    let news = news.clone().into_advertisements();
    let prefixes = news.iter().flat_map(|advertisement| match advertisement {
        Advertisement::Reach { prefixes, .. } | Advertisement::Withdraw(prefixes) => {
            prefixes.iter().map(|nlri| nlri.prefix).collect()
        }
        Advertisement::EndOfRib(_)
        | Advertisement::RefreshBegin(_)
        | Advertisement::RefreshEnd(_) => Vec::new(),
    });
    prefixes.collect()
}

#[tokio::test]
async fn a_peer_with_room_is_told_as_soon_as_there_is_news() {
    let rib = fixture(false);
    rib.event(up()).await;
    // The initial transfer: nothing but End-of-RIB of both families.
    let first = rib.pull(100).await.await.unwrap();
    assert!(told(&first).is_empty());

    let mut pull = rib.pull(100).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut pull).await.is_err());
    rib.rib.originate(prefix("10.244.1.0/24"), originated()).await.unwrap();

    assert_eq!(told(&pull.await.unwrap()), [prefix("10.244.1.0/24")]);
}

#[tokio::test]
async fn a_request_of_an_earlier_session_takes_nothing_from_the_next() {
    let rib = fixture(false);
    rib.event(up()).await;
    while !rib
        .pull(100)
        .await
        .await
        .unwrap()
        .into_advertisements()
        .contains(&Advertisement::EndOfRib(Family::Ipv6Unicast))
    {}
    let stale = rib.pull(100).await;

    rib.event(down()).await;
    rib.event(up()).await;
    rib.rib.originate(prefix("10.244.1.0/24"), originated()).await.unwrap();

    assert!(stale.await.is_err(), "void once its session is down");
    assert_eq!(told(&rib.pull(100).await.await.unwrap()), [prefix("10.244.1.0/24")]);
}

#[tokio::test]
async fn best_changes_survive_a_reader_that_looks_elsewhere() {
    let mut rib = fixture(false);
    let impatient = tokio::time::timeout(Duration::from_millis(20), rib.best.next(10)).await;
    assert!(impatient.is_err());

    rib.rib.originate(prefix("10.244.1.0/24"), originated()).await.unwrap();
    rib.rib.best_counts().await.unwrap();

    let changes = rib.best.next(10).await.unwrap();
    assert_eq!(changes[0].prefix, prefix("10.244.1.0/24"));
    assert_eq!(changes[0].paths[0].peer, None);
}

#[tokio::test]
async fn best_changes_come_within_the_budget_and_end_with_the_newest_state() {
    let mut rib = fixture(false);
    for third in 0..5 {
        rib.rib.originate(prefix(&format!("10.0.{third}.0/24")), originated()).await.unwrap();
    }
    rib.rib.withdraw(prefix("10.0.0.0/24")).await.unwrap();
    rib.rib.best_counts().await.unwrap();

    let mut changes = Vec::new();
    while changes.len() < 4 {
        let some = rib.best.next(2).await.unwrap();
        assert!(some.len() <= 2);
        changes.extend(some);
    }

    // What came and went before anyone looked is no change.
    assert!(changes.iter().all(|change| change.paths.len() == 1), "{changes:?}");
    assert_eq!(changes.len(), 4);
}

#[tokio::test]
async fn next_hops_are_published_while_paths_have_them() {
    let rib = fixture(true);
    let mut next_hops = rib.rib.next_hops();
    rib.event(up()).await;

    rib.event(learned(&["192.0.2.0/24"])).await;
    next_hops.changed().await.unwrap();
    let hop = NextHop::new("10.1.0.2".parse().unwrap());
    assert_eq!(next_hops.borrow_and_update().iter().collect::<Vec<_>>(), [&hop]);
    let unresolved = rib.rib.received(PEER).await.unwrap();
    assert!(matches!(unresolved[0].1.verdict, Verdict::Ineligible(_)));

    rib.rib.set_next_hop(hop, Resolution::Reachable { cost: 0 }).await.unwrap();
    assert_eq!(rib.rib.received(PEER).await.unwrap()[0].1.verdict, Verdict::Best);

    rib.event(down()).await;
    next_hops.changed().await.unwrap();
    assert!(next_hops.borrow().is_empty());
}

#[tokio::test]
async fn questions_are_answered_from_the_state_that_earlier_commands_made() {
    let rib = fixture(false);
    rib.event(up()).await;
    rib.event(learned(&["192.0.2.0/24", "198.51.100.0/24"])).await;
    rib.rib.originate(prefix("fd00:1::/64"), originated()).await.unwrap();

    assert_eq!(rib.rib.routes().await.unwrap().len(), 3);
    assert_eq!(rib.rib.best_counts().await.unwrap(), [2, 1]);
    let counts = rib.rib.peer_counts(vec![PEER, PeerId(99)]).await.unwrap();
    assert_eq!((counts[0][0].received, counts[1][0].received), (2, 0));
    let advertised = rib.rib.advertised(PEER).await.unwrap();
    let why =
        |text| advertised.iter().find(|view| view.prefix == prefix(text)).unwrap().outcome.clone();
    assert_eq!(why("fd00:1::/64"), Err(NotAdvertised::NoNextHop));
    assert_eq!(why("192.0.2.0/24"), Err(NotAdvertised::SplitHorizon));
}

#[tokio::test]
async fn everybody_hears_that_the_rib_has_stopped() {
    let mut rib = fixture(false);
    rib.rib.stop().await;
    rib.thread.join().unwrap();

    assert_eq!(rib.rib.routes().await, Err(RibStopped));
    assert_eq!(rib.rib.withdraw(prefix("10.0.0.0/8")).await, Err(RibStopped));
    assert_eq!(rib.best.next(1).await, Err(RibStopped));
}

#[tokio::test]
async fn a_station_is_told_what_there_is_then_waits_for_changes_and_is_forgotten_when_it_goes() {
    let rib = fixture(false);
    rib.event(up()).await;
    rib.event(learned(&["10.244.1.0/24"])).await;
    let mut reports = rib.rib.monitor([View::PrePolicy].into_iter().collect()).await.unwrap();
    let first = reports.next(100).await.unwrap();
    assert!(matches!(&first[0], Report::Up(session) if session.id == PEER), "{first:?}");
    assert!(first[1..].iter().all(|report| matches!(report, Report::Routes { .. })));

    // Nothing more: it waits, and an abandoned wait loses nothing.
    while tokio::time::timeout(Duration::from_millis(50), reports.next(100)).await.is_ok() {}
    rib.event(down()).await;
    let next = reports.next(100).await.unwrap();
    assert!(matches!(&next[..], [Report::Down { why: Cause::Closed, .. }]), "{next:?}");

    drop(reports);
    // The thread notices with its next command, and does not hand out the station's news to others.
    rib.event(up()).await;
    let mut other = rib.rib.monitor([View::LocRib].into_iter().collect()).await.unwrap();
    let first = other.next(100).await.unwrap();
    assert!(matches!(&first[0], Report::Up(_)), "{first:?}");
}

#[tokio::test]
async fn what_is_soon_done_is_done_on_the_spot_while_the_thread_rests() {
    let rib = fixture(false);
    rib.event(up()).await;
    rib.rib.best_counts().await.unwrap();
    for third in 0..1000 {
        // The thread may still be at work, and then this is left to it.
        let prefixes = [format!("10.1.{}.0/24", third % 256)];
        let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
        assert!(rib.rib.try_send(Command::Peer(PEER, learned(&prefixes))).is_ok());
        let (answer, mut pull) = oneshot::channel();
        assert!(rib.rib.try_send(Command::PullBest { budget: 10, answer }).is_ok());
        if pull.try_recv().is_ok() {
            return;
        }
        pull.await.unwrap();
    }
    panic!("always left to the thread");
}

#[tokio::test]
async fn who_speaks_in_one_turn_of_the_event_loop_is_heard_at_once() {
    const TURNS: usize = 100;
    let mut rib = fixture(false);
    tokio::spawn(rib.rib.clone().attend());
    rib.event(up()).await;
    let mut at_once = 0;
    for third in 0..TURNS {
        // All that was brought before is done, and the thread rests, or soon does.
        rib.rib.best_counts().await.unwrap();
        let (answer, mut pull) = oneshot::channel();
        assert!(rib.rib.try_send(Command::PullBest { budget: 10, answer }).is_ok());
        for fourth in [0, 128] {
            let prefix = format!("10.1.{third}.{fourth}/25");
            assert!(rib.rib.try_send(Command::Peer(PEER, learned(&[&prefix]))).is_ok());
        }
        let early = pull.try_recv().ok();
        let mut changes = match &early {
            Some(changes) => changes.len(),
            None => pull.await.unwrap().len(),
        };
        at_once += usize::from(early.is_none() && changes == 2);
        while changes < 2 {
            changes += rib.best.next(10).await.unwrap().len();
        }
    }
    // Now and then the thread is still at work, and has answered in between.
    assert!(at_once > TURNS / 2, "{at_once}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_from_another_thread_is_always_answered() {
    let mut rib = fixture(false);
    tokio::spawn(rib.rib.clone().attend());
    let prefix = prefix("10.244.1.0/24");
    for round in 0..5_000 {
        rib.rib.originate(prefix, originated()).await.unwrap();
        rib.rib.withdraw(prefix).await.unwrap();
        if round % 2 == 0 {
            rib.rib.originate(prefix, originated()).await.unwrap();
        }
        // There is something to tell, and the thread rests, or soon does.
        rib.rib.best_counts().await.unwrap();
        let changes = tokio::time::timeout(Duration::from_secs(10), rib.best.next(10)).await;
        assert_eq!(changes.expect("not forgotten").unwrap().len(), 1, "round {round}");
    }
}
