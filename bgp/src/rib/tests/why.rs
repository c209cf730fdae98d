//! Why a route is as it is: the same answers as the tables give, and the statements behind them.

use super::*;
use crate::policy::{Action, Adjust, Condition, Decision, PrefixMatch, Statement, StepResult};

/// Accepts what is inside 10.1.0.0/16, with local preference 200, and nothing else.
fn fabric_only() -> Policy {
    let inside = [PrefixMatch::inside(prefix("10.1.0.0/16"))];
    let statement = Statement {
        name: "fabric".into(),
        conditions: vec![Condition::Prefix(inside.into_iter().collect())],
        actions: vec![Action::LocalPref(Adjust::Set(200))],
        apply: None,
        decision: Some(Decision::Accept),
    };
    Policy { name: "in".into(), statements: vec![statement], default: Decision::Reject }
}

#[test]
fn the_most_specific_covering_prefix_is_explained_with_the_statement_that_let_it_in() {
    let mut rib = router();
    let mut up = peer(1, 65001);
    up.config.import = Some(Arc::new(fabric_only()));
    rib.peer_up(PeerId(1), up);
    rib.peer_up(PeerId(2), peer(2, 65002));
    rib.update(PeerId(1), &announce(&["10.0.0.0/8", "10.1.0.0/16"], path(1, &[65001])));
    rib.update(PeerId(2), &announce(&["10.1.0.0/16"], path(2, &[65002, 65003])));

    let why = rib.why(prefix("10.1.2.3/32"), None).unwrap();
    assert_eq!(why.prefix, prefix("10.1.0.0/16"));
    let [best, lost] = &why.paths[..] else { panic!("{why:?}") };
    assert_eq!((best.view.peer, &best.view.verdict), (Some(PeerId(1)), &Verdict::Best));
    let import = best.import.as_ref().unwrap();
    assert_eq!(import.statement.as_deref(), Some("fabric"));
    assert!(matches!(import.steps[0].result, StepResult::Matched { .. }));
    assert_eq!((best.received.local_pref, best.view.attrs.local_pref), (None, Some(200)));
    assert_eq!(lost.view.verdict, Verdict::Lost(Step::LocalPref));

    let told: Vec<_> = why.told.iter().map(|told| (told.peer, told.outcome.is_ok())).collect();
    assert_eq!(told, [(PeerId(1), false), (PeerId(2), true)]);
    assert_eq!(why.told[0].outcome, Err(NotAdvertised::SplitHorizon));
    assert_eq!(why.told[0].export, None, "no policy is asked about what a rule forbids");
    assert!(why.told[1].export.is_some());
    let only = rib.why(prefix("10.1.0.0/16"), Some(PeerId(2))).unwrap();
    assert_eq!(only.told.len(), 1);
}

#[test]
fn a_rejected_path_is_explained_and_told_to_nobody() {
    let mut rib = router();
    let mut up = peer(1, 65001);
    up.config.import = Some(Arc::new(fabric_only()));
    rib.peer_up(PeerId(1), up);
    rib.update(PeerId(1), &announce(&["10.9.0.0/16"], path(1, &[65001])));
    let why = rib.why(prefix("10.9.9.9/32"), None).unwrap();
    let [path] = &why.paths[..] else { panic!("{why:?}") };
    assert!(matches!(path.view.verdict, Verdict::Ineligible(Ineligible::Rejected(_))));
    assert_eq!(path.import.as_ref().unwrap().statement, None, "the default");
    assert!(why.told.is_empty());
    assert_eq!(rib.why(prefix("192.0.2.0/24"), None), None);
}

#[test]
fn a_loop_is_found_before_any_policy_is_asked() {
    let mut rib = router();
    rib.peer_up(PeerId(1), peer(1, 65001));
    rib.update(PeerId(1), &announce(&["10.1.0.0/16"], path(1, &[65001, US.0])));
    let why = rib.why(prefix("10.1.0.0/16"), None).unwrap();
    assert_eq!(why.paths[0].view.verdict, Verdict::Ineligible(Ineligible::AsLoop));
    assert_eq!(why.paths[0].import, None);
}
