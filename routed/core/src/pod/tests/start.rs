//! What the first pods of a run wait for.

use super::*;

/// A node whose pods get the MTU of the ways to the peers, surveyed.
fn following_the_ways() -> Node {
    let mut node = Node::starting(Kernel::new(8));
    node.pods = Pods::new(Settings { mtu: None, ..settings() }, Memory::default());
    node.pending.clear();
    node.collect_commands();
    node.run();
    node
}

fn attached(node: &Node, op: OpId) -> Wiring {
    match &node.replies[&op] {
        Reply::Attached(wiring) => (**wiring).clone(),
        other @ (Reply::Done | Reply::Failed(_)) => panic!("{other:?}"),
    }
}

#[test]
fn first_pod_gets_the_mtu_of_the_ways_to_the_peers_however_early_it_comes() {
    let mut node = following_the_ways();
    let add = node.ask(Request::Attach(attach(1)), 1);
    node.run();
    assert_eq!(node.replies.get(&add), None);
    assert_eq!(node.pods.readiness(), Err(NotReady::Starting));
    node.handle(Event::PathMtu(Some(9000)));
    node.run();
    assert_eq!(attached(&node, add).mtu, 9000);
    assert_eq!(node.pods.readiness(), Ok(()));
}

#[test]
fn where_there_is_no_way_to_a_peer_pods_get_a_common_mtu() {
    let mut node = following_the_ways();
    let add = node.ask(Request::Attach(attach(1)), 1);
    node.handle(Event::PathMtu(None));
    node.run();
    assert_eq!(attached(&node, add).mtu, 1500);
}

#[test]
fn a_configured_mtu_waits_for_no_look_at_the_ways() {
    let mut node = following_the_ways();
    let add = node.ask(Request::Attach(attach(1)), 1);
    node.handle(Event::Configured(Box::new(Settings { mtu: Some(1400), ..settings() })));
    node.run();
    assert_eq!(attached(&node, add).mtu, 1400);
}
