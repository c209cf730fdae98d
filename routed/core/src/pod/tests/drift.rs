//! Promises about what other programs change.

use super::{
    super::{check::Aspect, wiring::Mac},
    *,
};

fn mended(node: &Node) -> u64 {
    node.pods.drift().repaired.values().sum()
}

fn sound(node: &Node, wiring: &Wiring, number: usize) -> Vec<Difference> {
    differences(wiring, None, &node.kernel.picture(wiring, number))
}

#[test]
fn whatever_another_program_changes_on_the_host_is_put_right_at_once() {
    for damage in Damage::ALL {
        let mut node = Node::new();
        let (one, two) = (node.add(1), node.add(2));
        let before = node.kernel.clone();
        node.damage(1, damage);
        assert_ne!(node.kernel, before, "{damage:?}");
        node.run();
        assert_eq!(node.kernel, before, "{damage:?}");
        assert!(mended(&node) > 0, "{damage:?}");
        // One more look, and that is that.
        node.settle();
        assert_eq!((sound(&node, &one, 1), sound(&node, &two, 2)), (vec![], vec![]));
        let words = node.notices.iter().filter(|notice| matches!(notice, Notice::Mended { .. }));
        assert_eq!(words.count(), 1, "{damage:?}");
    }
}

#[test]
fn word_of_an_interface_that_is_as_it_should_be_costs_no_look() {
    let mut node = Node::new();
    node.add(1);
    for link in node.kernel.survey() {
        node.handle(Event::LinkChanged(Box::new(link)));
    }
    node.handle(Event::Disturbed(1));
    node.handle(Event::RouteChanged("192.0.2.1".parse().unwrap()));
    assert_eq!(node.pending, []);
}

#[test]
fn damage_done_while_no_daemon_ran_is_found_at_the_start() {
    let mut node = Node::new();
    let wiring = node.add(1);
    node.kernel.damage(&wiring, Damage::Down);
    let node = node.restarted();
    assert_eq!(sound(&node, &wiring, 1), []);
    assert_eq!(node.pods.drift().repaired[&Aspect::Up], 1);
}

#[test]
fn changes_that_were_missed_are_found_by_looking_at_every_pod() {
    let mut node = Node::new();
    let wirings = [1, 2, 3].map(|number| node.add(number));
    for wiring in &wirings {
        node.kernel.damage(wiring, Damage::Neighbours);
    }
    node.handle(Event::Missed);
    node.run();
    for (number, wiring) in (1..).zip(&wirings) {
        assert_eq!(sound(&node, wiring, number), []);
    }
    // The log hears of the first at once and of the others together.
    node.settle();
    let more = node.notices.iter().filter_map(|notice| match notice {
        Notice::Mended { more, .. } => Some(*more),
        _ => None,
    });
    assert_eq!(more.collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn program_that_insists_is_answered_less_and_less_often_and_the_log_stays_short() {
    let mut node = Node::new();
    node.add(1);
    let start = node.now;
    while node.now < start + Duration::from_secs(60) {
        node.damage(1, Damage::Routes);
        node.run();
        node.now += Duration::from_millis(5);
        node.handle(Event::Due);
        node.run();
    }
    // Both routes each time; 20 ms, 40 ms, … 10 s between.
    assert!((20..60).contains(&mended(&node)), "{}", mended(&node));
    let words = node.notices.iter().filter(|notice| matches!(notice, Notice::Mended { .. }));
    assert!(words.count() <= 7);
    // Once it has given up, all is well, and the next one is answered at once.
    node.settle();
    node.now += Duration::from_secs(30);
    let before = node.kernel.clone();
    node.damage(1, Damage::Mtu);
    node.run();
    assert_eq!(node.kernel, before);
}

#[test]
fn request_waits_for_one_look_and_finds_the_pod_whole() {
    let mut node = Node::new();
    let wirings = [1, 2, 3].map(|number| node.add(number));
    for number in [1, 2, 3] {
        node.damage(number, Damage::Routes);
    }
    assert_eq!(node.pending.len(), 1, "one pod is looked at at a time");
    let op = node.ask(Request::Detach(id(1)), 1);
    assert_eq!(node.pending.len(), 1);
    node.run();
    assert_eq!(node.replies[&op], Reply::Done);
    assert_eq!(sound(&node, &wirings[2], 3), []);
    assert!(!node.kernel.host.routes.iter().any(|(_, on, _)| *on == wirings[0].host.index));
}

#[test]
fn pod_whose_addresses_another_has_gets_no_routes_back() {
    let mut node = Node::new();
    let wiring = node.add(1);
    let lease = node.pods.ipam.release(&id(1), node.now);
    assert_eq!(lease, Some(wiring.lease));
    node.kernel.damage(&wiring, Damage::Routes);
    node.handle(Event::Disturbed(wiring.host.index));
    node.run();
    assert!(node.kernel.host.routes.is_empty(), "{:?}", node.kernel.host.routes);
}

#[test]
fn what_is_refused_is_counted_and_tried_again() {
    let mut node = Node::new();
    let wiring = node.add(1);
    node.damage(1, Damage::Routes);
    node.execute(0, Fault::None);
    node.execute(0, Fault::Step(0));
    assert_eq!((node.pods.drift().failed, node.pods.drift().left), (1, 1));
    assert!(matches!(node.notices.last(), Some(Notice::Unmended { more: 0, .. })));
    node.settle();
    assert_eq!(sound(&node, &wiring, 1), []);
    assert_eq!((node.pods.drift().failed, node.pods.drift().left), (1, 0));
}

#[test]
fn neighbour_whose_hardware_address_the_host_was_told_stays() {
    let mut node = Node::new();
    let wiring = node.add(1);
    let told = Mac([2, 0, 0, 0, 0, 7]);
    let retold = |(on, address, _): (u32, IpAddr, Mac)| (on, address, told);
    let neighbours = std::mem::take(&mut node.kernel.host.neighbours);
    node.kernel.host.neighbours = neighbours.into_iter().map(retold).collect();
    let before = node.kernel.clone();
    node.handle(Event::Disturbed(wiring.host.index));
    node.run();
    assert_eq!(node.kernel, before);
    assert_eq!(mended(&node), 0);
}
