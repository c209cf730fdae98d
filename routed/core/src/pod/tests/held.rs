//! A name in a namespace that is taken by a pod which is leaving, and one that is really taken.

use super::*;

/// A pod of namespace 1 whose DEL is answered, but whose pair is not deleted yet.
fn leaving() -> Node {
    let mut node = Node::new();
    node.add(1);
    let del = node.ask(Request::Detach(id(1)), 1);
    node.execute(0, Fault::None);
    assert_eq!(node.replies[&del], Reply::Done);
    node
}

/// An ADD in the same namespace, before the deletion.
fn next_in_the_same_namespace(node: &mut Node) -> OpId {
    let add = node.ask(Request::Attach(attach(2)), 1);
    let last = node.pending.len() - 1;
    node.execute(last, Fault::None);
    add
}

#[test]
fn interface_name_is_free_again_once_detach_is_answered() {
    let mut node = leaving();
    let add = next_in_the_same_namespace(&mut node);
    assert_eq!(node.replies.get(&add), None, "waits for the deletion");
    node.run();
    let Reply::Attached(wiring) = node.replies[&add].clone() else { panic!() };
    assert_eq!(differences(&wiring, None, &node.kernel.picture(&wiring, 1)), []);
}

#[test]
fn interface_name_of_a_pod_whose_pair_stays_is_taken() {
    let mut node = leaving();
    let add = next_in_the_same_namespace(&mut node);
    node.execute(0, Fault::Socket(0));
    node.run();
    assert_eq!(failure(node.replies[&add].clone()), PodError::IfnameTaken("eth0".to_owned()));
    assert!(node.pods.ipam().get(&id(2)).is_none());
}

#[test]
fn interface_name_of_a_living_pod_is_taken_whoever_leaves_meanwhile() {
    let mut node = Node::new();
    node.add(1);
    node.add(3);
    node.ask(Request::Detach(id(3)), 3);
    node.execute(0, Fault::None);
    let add = next_in_the_same_namespace(&mut node);
    // One more leaves; nobody waits for that one.
    node.add(4);
    node.ask(Request::Detach(id(4)), 4);
    node.run();
    assert_eq!(failure(node.replies[&add].clone()), PodError::IfnameTaken("eth0".to_owned()));
}

#[test]
fn detach_of_what_waits_for_a_name_follows_it() {
    let mut node = leaving();
    let add = next_in_the_same_namespace(&mut node);
    let del = node.ask(Request::Detach(id(2)), 1);
    node.run();
    assert!(matches!(node.replies[&add], Reply::Attached(_)));
    assert_eq!(node.replies[&del], Reply::Done);
    assert_eq!(node.pods.pods().count(), 0);
}
