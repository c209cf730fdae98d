//! NAT outgoing: when the kernel is told what.

use super::*;
use crate::pod::nat::{NatState, translations};

fn nat(ranges: &[&str]) -> Settings {
    let sources = ranges.iter().map(|range| range.parse().unwrap()).collect();
    let direct = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    Settings { nat: NatSettings { sources, direct, addresses: vec![] }, ..settings() }
}

fn configured(node: &mut Node, settings: Settings) {
    node.handle(Event::Configured(Box::new(settings)));
    node.run();
}

#[test]
fn kernel_is_told_at_the_start_and_when_something_changes_and_only_then() {
    let mut node = Node::starting(Kernel::new(1));
    node.handle(Event::Configured(Box::new(nat(&["10.0.0.0/29"]))));
    assert!(!node.pending.iter().any(|command| matches!(command, Command::Translate(_))));
    node.run();
    let wanted = translations(&nat(&["10.0.0.0/29"]).nat, &[]);
    assert_eq!(node.kernel.translations, wanted);
    node.kernel.translations.clear();
    configured(&mut node, nat(&["10.0.0.0/29"]));
    assert_eq!(node.kernel.translations, [], "nothing has changed");
    configured(&mut node, nat(&["10.0.0.0/29", "fd00::/64"]));
    assert_eq!(node.kernel.translations.len(), 2);
    let range = "fd00::/64".parse().unwrap();
    assert_eq!(node.pods.nat_of(range), NatState::On);
    configured(&mut node, settings());
    assert_eq!(node.kernel.translations, []);
    assert_eq!(node.pods.nat_of(range), NatState::Off);
}

#[test]
fn range_that_has_left_is_translated_until_its_last_pod_has_gone() {
    let mut node = Node::new();
    configured(&mut node, nat(&["10.0.0.0/29"]));
    node.add(1);
    let moved = |nat: &NatSettings| {
        let mut settings = Settings { nat: nat.clone(), ..settings() };
        settings.ipam.pools[0].ranges[0] = "10.9.0.0/29".parse().unwrap();
        settings
    };
    let elsewhere = nat(&["10.9.0.0/29"]).nat;
    configured(&mut node, moved(&elsewhere));
    let former = "10.0.0.0/29".parse().unwrap();
    assert_eq!(node.kernel.translations, translations(&elsewhere, &[former]));
    assert_eq!(node.pods.nat_of(former), NatState::On);
    assert_eq!(node.ask_and_run(Request::Detach(id(1)), 1), Reply::Done);
    configured(&mut node, moved(&elsewhere));
    assert_eq!(node.kernel.translations, translations(&elsewhere, &[]));
}

#[test]
fn what_the_kernel_refuses_is_tried_again_and_shown() {
    let mut node = Node::new();
    let range = "10.0.0.0/29".parse().unwrap();
    node.handle(Event::Configured(Box::new(nat(&["10.0.0.0/29"]))));
    node.execute(0, Fault::None);
    node.execute(0, Fault::Step(0));
    assert!(matches!(node.notices.last(), Some(Notice::NotTranslated(_))));
    assert_eq!(node.pods.nat_of(range), NatState::Failed);
    node.now = node.pods.poll_timeout().unwrap();
    node.handle(Event::Due);
    node.run();
    assert_eq!(node.kernel.translations.len(), 1);
    assert_eq!(node.pods.nat_of(range), NatState::On);
    assert_eq!(node.pods.poll_timeout(), None);
}

#[test]
fn repairs_of_tables_are_counted_and_failed_ones_are_made_up_for() {
    let mut node = Node::new();
    configured(&mut node, nat(&["10.0.0.0/29"]));
    for table in [RuleTable::Nat, RuleTable::Guard] {
        node.handle(Event::Restored(table, Ok(())));
        assert_eq!(node.pods.drift().tables[&table], 1);
        assert_eq!(node.notices.last(), Some(&Notice::Restored(table)));
        node.kernel.translations.clear();
        node.handle(Event::Restored(table, Err(PodError::Netlink(Errno(5)))));
        assert_eq!(node.pods.drift().tables[&table], 1);
        node.now = node.pods.poll_timeout().unwrap();
        node.handle(Event::Due);
        assert_eq!(node.pending.len(), 1);
        node.run();
        assert_eq!(node.pods.poll_timeout(), None);
    }
    assert_eq!(node.pods.drift().failed, 2);
}
