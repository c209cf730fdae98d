//! Aggregates of what this router originates (RFC 4271 §9.2.2.2).

use super::*;

fn aggregate(text: &str, summary_only: bool) -> Aggregate {
    Aggregate { prefix: prefix(text), summary_only }
}

fn configure(rib: &mut Rib, aggregates: &[Aggregate]) {
    rib.configure(&RibConfig { aggregates: aggregates.to_vec(), ..settings() });
}

fn originate(rib: &mut Rib, text: &str) {
    rib.originate(prefix(text), Arc::new(Attrs::originated(hop("0.0.0.0"))));
}

/// A router with these aggregates, whose peer 2 is told everything.
fn router_with(aggregates: &[Aggregate]) -> Rib {
    let mut rib = router();
    configure(&mut rib, aggregates);
    rib.peer_up(PeerId(2), peer(2, 65002));
    pull(&mut rib, 2);
    rib
}

/// Prefixes announced (+) and withdrawn (-) to peer 2, sorted.
fn news(rib: &mut Rib) -> Vec<String> {
    let mut all = Vec::new();
    for piece in pull(rib, 2) {
        match piece {
            Advertisement::Reach { prefixes, .. } => {
                all.extend(prefixes.iter().map(|nlri| format!("+{nlri}")));
            }
            Advertisement::Withdraw(prefixes) => {
                all.extend(prefixes.iter().map(|nlri| format!("-{nlri}")));
            }
            other => panic!("{other:?}"),
        }
    }
    all.sort();
    all
}

#[test]
fn rfc4271_9_2_2_2_an_aggregate_is_there_while_something_inside_it_is_originated() {
    let mut rib = router_with(&[aggregate("10.244.0.0/16", false), aggregate("fd00::/48", false)]);
    assert_eq!(news(&mut rib), [""; 0]);
    originate(&mut rib, "10.244.1.0/24");
    assert_eq!(news(&mut rib), ["+10.244.0.0/16", "+10.244.1.0/24"]);
    originate(&mut rib, "10.244.2.0/24");
    originate(&mut rib, "fd00:0:0:1::/64");
    assert_eq!(news(&mut rib), ["+10.244.2.0/24", "+fd00:0:0:1::/64", "+fd00::/48"]);
    rib.withdraw(prefix("10.244.1.0/24"));
    assert_eq!(news(&mut rib), ["-10.244.1.0/24"]);
    rib.withdraw(prefix("10.244.2.0/24"));
    assert_eq!(news(&mut rib), ["-10.244.0.0/16", "-10.244.2.0/24"]);
    // What others announce inside it makes no aggregate, nor does what lies around it.
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.244.9.0/24"], path(1, &[65001])));
    originate(&mut rib, "10.0.0.0/8");
    assert_eq!(news(&mut rib), ["+10.0.0.0/8", "+10.244.9.0/24"]);
}

#[test]
fn rfc4271_5_1_6_5_1_7_an_aggregate_says_who_made_it_and_loses_no_path() {
    let mut rib = router_with(&[aggregate("10.244.0.0/16", true)]);
    originate(&mut rib, "10.244.1.0/24");
    let [Advertisement::Reach { attrs, prefixes }] = &pull(&mut rib, 2)[..] else { panic!() };
    assert_eq!(prefixes[..], [nlri("10.244.0.0/16")]);
    let aggregator = crate::attrs::Aggregator { asn: US, router_id: OUR_ID };
    assert_eq!((attrs.aggregator, attrs.atomic_aggregate), (Some(aggregator), false));
    assert_eq!(attrs.as_path, AsPath::sequence([US.0]));
}

#[test]
fn a_summary_stands_for_what_is_originated_inside_it_and_not_for_what_others_announce() {
    let mut rib =
        router_with(&[aggregate("10.244.0.0/16", true), aggregate("10.244.0.0/20", false)]);
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.244.9.0/24"], path(1, &[65001])));
    originate(&mut rib, "10.244.1.0/24");
    assert_eq!(news(&mut rib), ["+10.244.0.0/16", "+10.244.9.0/24"]);
    let mut shown = rib.advertised(PeerId(2)).into_iter();
    let shown = shown.find(|view| view.prefix == prefix("10.244.1.0/24")).unwrap();
    assert_eq!(shown.outcome.unwrap_err().to_string(), "10.244.0.0/16 is announced instead");
    // It is ours all the same: nobody can take it over.
    rib.update(PeerId(1), &announce(&["10.244.1.0/24"], path(1, &[65001])));
    let best = rib.routes().find(|(at, _)| *at == prefix("10.244.1.0/24")).unwrap().1;
    assert_eq!((best[0].peer, best[0].verdict.clone()), (None, Verdict::Best));
}

#[test]
fn aggregates_that_come_go_and_change_are_told_at_once() {
    let mut rib = router_with(&[]);
    originate(&mut rib, "10.244.1.0/24");
    assert_eq!(news(&mut rib), ["+10.244.1.0/24"]);
    configure(&mut rib, &[aggregate("10.244.0.0/16", false)]);
    assert_eq!(news(&mut rib), ["+10.244.0.0/16"]);
    configure(&mut rib, &[aggregate("10.244.0.0/16", true)]);
    assert_eq!(news(&mut rib), ["-10.244.1.0/24"]);
    configure(&mut rib, &[aggregate("10.244.0.0/17", true)]);
    assert_eq!(news(&mut rib), ["+10.244.0.0/17", "-10.244.0.0/16"]);
    configure(&mut rib, &[]);
    assert_eq!(news(&mut rib), ["+10.244.1.0/24", "-10.244.0.0/17"]);
}

#[test]
fn what_is_originated_itself_needs_no_aggregate_and_is_one_again_without_that() {
    let mut rib = router_with(&[aggregate("10.244.0.0/16", false)]);
    originate(&mut rib, "10.244.1.0/24");
    let told = |rib: &mut Rib| {
        pull(rib, 2);
        let all = rib.advertised(PeerId(2)).into_iter();
        let view = all.into_iter().find(|view| view.prefix == prefix("10.244.0.0/16"));
        view.map(|view| view.outcome.unwrap().aggregator.is_some())
    };
    assert_eq!(told(&mut rib), Some(true));
    originate(&mut rib, "10.244.0.0/16");
    assert_eq!(told(&mut rib), Some(false));
    rib.withdraw(prefix("10.244.0.0/16"));
    assert_eq!(told(&mut rib), Some(true));
    rib.withdraw(prefix("10.244.1.0/24"));
    assert_eq!(told(&mut rib), None);
}
