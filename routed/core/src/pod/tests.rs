//! Promises of the pods' machine, on a made-up kernel that can be told to fail.

use std::{collections::BTreeMap, num::NonZeroU64};

use proptest::prelude::*;

use super::{
    nat::NatSettings,
    step::{GROUP_DOOMED, GROUP_LIVE},
    verb::{Collect, Errno},
    wiring::RouteStamp,
    *,
};
use crate::ipam::{IpamSettings, Lease, LeaseError, PoolSettings, Wish};

/// Of the host's end of the first pod.
const FIRST_INDEX_IN_TESTS: u32 = 1 << 24;

mod drift;
mod held;
mod kernel;
mod nat;
mod start;

use kernel::{Damage, EEXIST, Fault, Kernel};

fn settings() -> Settings {
    Settings {
        ipam: IpamSettings {
            pools: vec![PoolSettings {
                name: "default".to_owned(),
                ranges: vec!["10.0.0.0/29".parse().unwrap(), "fd00::/64".parse().unwrap()],
                block_ipv4: 26,
                block_ipv6: 122,
                announce: true,
            }],
            reserved: vec![],
            floating: Vec::new(),
            lost: Vec::new(),
            cooldown: Duration::ZERO,
        },
        mtu: Some(1500),
        routes: RouteStamp { table: 254, protocol: 132, learned: 0 },
        guard: Some(GuardSettings { closed_ports: vec![179] }),
        nat: NatSettings::default(),
    }
}

fn id(number: usize) -> AttachmentId {
    AttachmentId::new("net", &format!("c{number}"), "eth0").unwrap()
}

fn attach(number: usize) -> Attach {
    Attach {
        id: id(number),
        pod: None,
        wish: Wish::default(),
        mac: None,
        mtu: None,
        default_route: None,
        destinations: vec![],
    }
}

/// An attach that asks for an address.
fn asking(address: &str, number: usize) -> Attach {
    let wish = Wish { addresses: vec![address.parse().unwrap()], ..Wish::default() };
    Attach { wish, ..attach(number) }
}

/// The machine, the kernel, and between them what is not carried out yet.
struct Node {
    pods: Pods,
    kernel: Kernel,
    now: Instant,
    ops: u64,
    netns: BTreeMap<OpId, usize>,
    pending: Vec<Command>,
    replies: BTreeMap<OpId, Reply>,
    notices: Vec<Notice>,
    records: Vec<Record>,
}

impl Node {
    /// Pods of the made-up kernel's namespaces; nothing has been surveyed yet.
    #[expect(clippy::disallowed_methods, reason = "simulated time has to begin somewhere")]
    fn starting(kernel: Kernel) -> Self {
        let mut node = Self {
            pods: Pods::new(settings(), Memory::default()),
            kernel,
            now: Instant::now(),
            ops: 0,
            netns: BTreeMap::new(),
            pending: vec![],
            replies: BTreeMap::new(),
            notices: vec![],
            records: vec![],
        };
        node.collect_commands();
        node
    }

    fn new() -> Self {
        let mut node = Self::starting(Kernel::new(8));
        node.run();
        node
    }

    fn ask(&mut self, request: Request, netns: usize) -> OpId {
        self.ops += 1;
        let op = OpId(NonZeroU64::new(self.ops).unwrap());
        self.netns.insert(op, netns);
        self.handle(Event::Asked(op, request));
        op
    }

    /// Carries out all that is pending, without fault, until nothing is.
    fn run(&mut self) {
        while !self.pending.is_empty() {
            self.execute(0, Fault::None);
        }
    }

    fn ask_and_run(&mut self, request: Request, netns: usize) -> Reply {
        let op = self.ask(request, netns);
        self.run();
        self.replies[&op].clone()
    }

    fn add(&mut self, number: usize) -> Wiring {
        match self.ask_and_run(Request::Attach(attach(number)), number) {
            Reply::Attached(wiring) => *wiring,
            other => panic!("{other:?}"),
        }
    }

    fn handle(&mut self, event: Event) {
        self.pods.handle(event, self.now);
        self.collect_commands();
    }

    fn collect_commands(&mut self) {
        while let Some(command) = self.pods.poll_command() {
            match command {
                Command::Reply(op, reply) => {
                    assert!(self.netns.contains_key(&op), "a reply to nobody");
                    assert!(self.replies.insert(op, reply).is_none(), "a second reply");
                }
                Command::Notice(notice) => self.notices.push(notice),
                Command::Record(record) => self.records.push(record),
                Command::Unpermit(index) => self.kernel.permits.retain(|(on, _)| *on != index),
                Command::Survey
                | Command::Attach(..)
                | Command::Observe(..)
                | Command::Inspect(_)
                | Command::Mend(..)
                | Command::Cut(..)
                | Command::Enforce(_)
                | Command::Translate(_)
                | Command::Sweep(_)
                | Command::Discard(_) => self.pending.push(command),
            }
        }
    }

    /// Carries out one pending command and tells the machine how it ended.
    fn execute(&mut self, position: usize, fault: Fault) {
        let broken = || PodError::Netlink(Errno(5));
        let event = match self.pending.remove(position) {
            Command::Survey if fault == Fault::None => Event::Surveyed(Ok(self.kernel.survey())),
            Command::Survey => Event::Surveyed(Err(broken())),
            Command::Attach(op, id, steps) => {
                let outcome = self.kernel.attach(&steps, self.netns[&op], fault);
                Event::Answered(id, Answer::Attached(outcome))
            }
            Command::Observe(op, wiring) => {
                let picture = self.kernel.picture(&wiring, self.netns[&op]);
                let outcome =
                    if fault == Fault::None { Ok(Box::new(picture)) } else { Err(broken()) };
                Event::Answered(wiring.id, Answer::Observed(outcome))
            }
            Command::Inspect(wiring) => {
                let inspected = self.kernel.picture_on_host(&wiring);
                let outcome =
                    if fault == Fault::None { Ok(Box::new(inspected)) } else { Err(broken()) };
                Event::Answered(wiring.id, Answer::Inspected(outcome))
            }
            Command::Mend(id, steps) => {
                Event::Answered(id, Answer::Mended(self.kernel.mend(&steps, fault)))
            }
            Command::Enforce(rules) if fault == Fault::None => {
                self.kernel.permits = rules.unwrap_or_default().permits.into_iter().collect();
                Event::Enforced(Ok(()))
            }
            Command::Enforce(_) => Event::Enforced(Err(broken())),
            Command::Translate(wanted) => Event::Translated(match fault {
                Fault::None => {
                    self.kernel.translations = wanted;
                    Ok(())
                }
                _ => Err(broken()),
            }),
            Command::Cut(id, steps) => {
                Event::Answered(id, Answer::Cut(self.kernel.cut(&steps, fault)))
            }
            Command::Sweep(id) => {
                let outcome = if fault == Fault::None { Ok(()) } else { Err(broken()) };
                if outcome.is_ok() {
                    self.kernel.sweep();
                }
                Event::Answered(id, Answer::Swept(outcome))
            }
            Command::Discard(name) => {
                // Sweeping another's pair may have taken it along.
                if let Some(link) = self.kernel.host.links.get_mut(&name) {
                    link.group = GROUP_DOOMED;
                }
                self.kernel.sweep();
                Event::Discarded(name)
            }
            other @ (Command::Reply(..)
            | Command::Record(_)
            | Command::Notice(_)
            | Command::Unpermit(_)) => panic!("{other:?}"),
        };
        self.handle(event);
    }

    /// Until nothing is pending any more, and nothing waits for its time.
    fn settle(&mut self) {
        self.run();
        while let Some(due) = self.pods.poll_timeout() {
            self.now = self.now.max(due);
            self.handle(Event::Due);
            self.run();
        }
    }

    /// Another program changes something of a pod on the host, and the kernel tells it.
    fn damage(&mut self, number: usize, damage: Damage) {
        let wiring = self.pods.slots.living(&id(number)).cloned();
        let Some(wiring) = wiring else { return };
        self.kernel.damage(&wiring, damage);
        match damage {
            Damage::Routes | Damage::Elsewhere => {
                for address in wiring.lease.iter() {
                    self.handle(Event::RouteChanged(address));
                }
            }
            Damage::Neighbours => self.handle(Event::Disturbed(wiring.host.index)),
            Damage::Down | Damage::Mtu | Damage::Mac | Damage::Group | Damage::Alias => {
                let mut links = self.kernel.survey().into_iter();
                if let Some(link) = links.find(|link| link.index == wiring.host.index) {
                    self.handle(Event::LinkChanged(Box::new(link)));
                }
            }
        }
    }

    fn leased(&self) -> u128 {
        self.pods.ipam().pools(self.now).map(|pool| pool.leased).sum()
    }

    fn restarted(self) -> Self {
        let mut node = Self::starting(self.kernel);
        node.run();
        node
    }
}

fn failure(reply: Reply) -> PodError {
    match reply {
        Reply::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn attached_pod_has_all_that_check_asks_for() {
    let mut node = Node::new();
    let wiring = node.add(1);
    assert_eq!(wiring.lease.iter().count(), 2);
    assert_eq!(differences(&wiring, None, &node.kernel.picture(&wiring, 1)), []);
    let expected = Expected {
        listed: true,
        mac: Some(wiring.inside.mac),
        mtu: Some(1500),
        addresses: wiring.lease.iter().collect(),
        destinations: vec![],
        tells_mtu: true,
    };
    assert_eq!(node.ask_and_run(Request::Check(id(1), expected), 1), Reply::Done);
}

#[test]
fn detached_pod_leaves_the_kernel_as_it_was() {
    let mut node = Node::new();
    let before = node.kernel.host.clone();
    node.add(1);
    assert_eq!(node.ask_and_run(Request::Detach(id(1)), 1), Reply::Done);
    assert_eq!(node.kernel.host, before);
    assert!(!node.kernel.pods[1].links.contains_key("eth0"));
    assert_eq!(node.leased(), 0);
    assert_eq!(node.pods.pods().count(), 0);
}

#[test]
fn detach_is_answered_and_the_address_idle_once_nothing_leads_to_the_pod() {
    let mut node = Node::new();
    node.add(1);
    let op = node.ask(Request::Detach(id(1)), 1);
    node.execute(0, Fault::None);
    assert_eq!(node.replies[&op], Reply::Done);
    assert!(node.kernel.host.routes.is_empty());
    assert_eq!(node.leased(), 0);
    assert_eq!(node.pods.pods().next().unwrap().1, PodState::Removing);
    // Who asks for it need not wait until the pair is gone.
    let again = node.ask(Request::Attach(asking("10.0.0.1", 2)), 2);
    node.run();
    assert!(matches!(node.replies[&again], Reply::Attached(_)));
    assert_eq!(node.pods.pods().count(), 1);
}

#[test]
fn restart_between_answer_and_deletion_leaves_the_address_to_its_new_pod() {
    let mut node = Node::new();
    let old = node.add(1);
    node.ask(Request::Detach(id(1)), 1);
    node.execute(0, Fault::None);
    // The deletion is not carried out before the daemon dies.
    node.pending.clear();
    let add = node.ask(Request::Attach(asking("10.0.0.1", 2)), 2);
    node.execute(0, Fault::None);
    assert!(matches!(node.replies[&add], Reply::Attached(_)));
    let node = node.restarted();
    assert!(!node.notices.iter().any(|notice| matches!(notice, Notice::Conflict { .. })));
    let known: Vec<_> = node.pods.pods().map(|(wiring, _)| wiring.id.clone()).collect();
    assert_eq!(known, [id(2)]);
    assert!(!node.kernel.host.links.contains_key(&old.host.name));
}

#[test]
fn detach_of_the_unknown_succeeds_and_check_of_it_does_not() {
    let mut node = Node::new();
    assert_eq!(node.ask_and_run(Request::Detach(id(1)), 1), Reply::Done);
    let reply = node.ask_and_run(Request::Check(id(1), Expected::default()), 1);
    assert_eq!(failure(reply), PodError::Unknown(id(1)));
}

#[test]
fn detach_without_the_namespace_succeeds() {
    let mut node = Node::new();
    node.add(1);
    node.kernel.drop_namespace(1);
    assert_eq!(node.ask_and_run(Request::Detach(id(1)), 1), Reply::Done);
    assert_eq!(node.leased(), 0);
}

#[test]
fn late_detach_of_an_old_sandbox_does_not_touch_the_new_one() {
    let mut node = Node::new();
    node.add(1);
    let new = node.add(2);
    node.ask_and_run(Request::Detach(id(1)), 1);
    assert_eq!(differences(&new, None, &node.kernel.picture(&new, 2)), []);
    node.ask_and_run(Request::Detach(id(1)), 2);
    assert_eq!(differences(&new, None, &node.kernel.picture(&new, 2)), []);
}

#[test]
fn refused_step_is_named_and_everything_before_it_is_undone() {
    let steps = {
        let mut node = Node::new();
        node.ask(Request::Attach(attach(1)), 1);
        let Command::Attach(_, _, steps) = node.pending.remove(0) else { panic!() };
        steps
    };
    for (number, step) in steps.iter().enumerate() {
        for fault in [Fault::Step(number), Fault::Socket(number)] {
            let mut node = Node::new();
            let before = node.kernel.clone();
            let op = node.ask(Request::Attach(attach(1)), 1);
            node.execute(0, fault);
            node.run();
            let error = failure(node.replies[&op].clone());
            if let (PodError::Refused { step: refused, .. }, Fault::Step(_)) = (&error, fault) {
                assert_eq!(**refused, *step);
            }
            assert_eq!(node.kernel.host, before.host, "{fault:?}: {error}");
            assert!(!node.kernel.pods[1].links.contains_key("eth0"), "{fault:?}");
            assert_eq!(node.leased(), 0, "{fault:?}");
            node.add(1);
        }
    }
}

#[test]
fn full_pool_is_an_error_and_harms_nobody() {
    let mut node = Node::new();
    for number in 0..6 {
        node.add(number);
    }
    let before = node.kernel.clone();
    let error = failure(node.ask_and_run(Request::Attach(attach(6)), 6));
    assert!(matches!(error, PodError::Lease(LeaseError::Exhausted { .. })), "{error}");
    assert_eq!(node.kernel, before);
    node.ask_and_run(Request::Detach(id(3)), 3);
    assert_eq!(node.add(6).lease.ipv4, "10.0.0.4".parse().ok());
}

#[test]
fn repeated_attach_gives_the_same_answer_and_changes_nothing() {
    let mut node = Node::new();
    let first = node.add(1);
    let before = node.kernel.clone();
    assert_eq!(node.add(1), first);
    assert_eq!(node.kernel, before);
}

#[test]
fn repeated_attach_makes_a_damaged_pod_anew_with_the_same_addresses() {
    let mut node = Node::new();
    let first = node.add(1);
    node.kernel.host.routes.clear();
    node.kernel.pods[1].addresses.clear();
    let second = node.add(1);
    assert_eq!((second.lease, second.inside.mac), (first.lease, first.inside.mac));
    assert_eq!(differences(&second, None, &node.kernel.picture(&second, 1)), []);
    assert!(node.notices.iter().any(|notice| matches!(notice, Notice::Rebuilding { .. })));
    assert_eq!(node.leased(), 2);
}

#[test]
fn repeated_attach_in_another_namespace_moves_the_pod_there() {
    let mut node = Node::new();
    let first = node.add(1);
    let reply = node.ask_and_run(Request::Attach(attach(1)), 2);
    let Reply::Attached(second) = reply else { panic!("{reply:?}") };
    assert_eq!(second.lease, first.lease);
    assert_eq!(differences(&second, None, &node.kernel.picture(&second, 2)), []);
    assert!(!node.kernel.pods[1].links.contains_key("eth0"));
}

#[test]
fn repeated_attach_that_asks_for_something_else_is_refused() {
    let mut node = Node::new();
    node.add(1);
    let other = [
        Attach { mtu: Some(9000), ..attach(1) },
        Attach { mac: Some(wiring::Mac([2; 6])), ..attach(1) },
        Attach { default_route: Some(false), ..attach(1) },
        asking("10.0.0.5", 1),
    ];
    for attach in other {
        let error = failure(node.ask_and_run(Request::Attach(attach), 1));
        let refused = matches!(
            error,
            PodError::AlreadyAttached { .. } | PodError::Lease(LeaseError::Differs { .. })
        );
        assert!(refused, "{error}");
    }
    node.add(1);
}

#[test]
fn requests_for_one_attachment_are_served_in_order_and_others_meanwhile() {
    let mut node = Node::new();
    let first = node.ask(Request::Attach(attach(1)), 1);
    let second = node.ask(Request::Attach(attach(1)), 1);
    let gone = node.ask(Request::Detach(id(1)), 1);
    let other = node.ask(Request::Attach(attach(2)), 2);
    assert_eq!(node.pending.len(), 2, "one for each attachment");
    node.run();
    let (Reply::Attached(one), Reply::Attached(two)) =
        (&node.replies[&first], &node.replies[&second])
    else {
        panic!("{:?}", node.replies)
    };
    assert_eq!(one, two);
    assert_eq!(node.replies[&gone], Reply::Done);
    assert!(matches!(node.replies[&other], Reply::Attached(_)));
    assert_eq!(node.pods.pods().count(), 1);
}

#[test]
fn second_of_two_racing_attaches_tries_itself_if_the_first_fails() {
    let mut node = Node::new();
    let first = node.ask(Request::Attach(attach(1)), 1);
    let second = node.ask(Request::Attach(attach(1)), 1);
    node.execute(0, Fault::Step(3));
    node.run();
    failure(node.replies[&first].clone());
    assert!(matches!(node.replies[&second], Reply::Attached(_)));
}

#[test]
fn pod_that_cannot_be_removed_is_tried_again_and_keeps_its_addresses_until_then() {
    let mut node = Node::new();
    node.add(1);
    let op = node.ask(Request::Detach(id(1)), 1);
    node.execute(0, Fault::Socket(0));
    failure(node.replies[&op].clone());
    assert_eq!((node.leased(), node.pods.pods().next().unwrap().1), (2, PodState::Stuck));
    let due = node.pods.poll_timeout().unwrap();
    node.handle(Event::Due);
    assert!(node.pending.is_empty(), "not before its time");
    node.now = due;
    node.handle(Event::Due);
    node.run();
    assert_eq!(node.leased(), 0);
    assert_eq!(node.pods.poll_timeout(), None);
}

#[test]
fn detach_of_a_stuck_pod_tries_at_once() {
    let mut node = Node::new();
    node.add(1);
    node.ask(Request::Detach(id(1)), 1);
    node.execute(0, Fault::Step(0));
    assert_eq!(node.ask_and_run(Request::Detach(id(1)), 1), Reply::Done);
    assert_eq!(node.leased(), 0);
}

#[test]
fn gc_removes_what_is_not_listed_in_its_network_only() {
    let mut node = Node::new();
    for number in 1..=3 {
        node.add(number);
    }
    let other = AttachmentId::new("other", "c9", "eth0").unwrap();
    node.ask_and_run(Request::Attach(Attach { id: other.clone(), ..attach(0) }), 5);
    let collect = |valid: &[usize]| {
        let valid = valid.iter().map(|number| id(*number)).collect();
        Request::Collect(Collect { network: "net".to_owned(), valid })
    };
    assert_eq!(node.ask_and_run(collect(&[2, 7]), 0), Reply::Done);
    let left: Vec<_> = node.pods.pods().map(|(wiring, _)| wiring.id.clone()).collect();
    assert_eq!(left, [id(2), other.clone()]);
    assert_eq!(node.ask_and_run(collect(&[]), 0), Reply::Done);
    let left: Vec<_> = node.pods.pods().map(|(wiring, _)| wiring.id.clone()).collect();
    assert_eq!(left, [other]);
}

#[test]
fn gc_reports_what_it_could_not_remove_and_removes_the_rest() {
    let mut node = Node::new();
    node.add(1);
    node.add(2);
    let collect = Collect { network: "net".to_owned(), valid: [].into() };
    let op = node.ask(Request::Collect(collect), 0);
    node.execute(0, Fault::Step(0));
    node.run();
    let PodError::NotCollected(failed) = failure(node.replies[&op].clone()) else { panic!() };
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].id, id(1));
    assert_eq!(node.pods.pods().count(), 1);
}

#[test]
fn gc_leaves_an_attach_under_way_alone() {
    let mut node = Node::new();
    let add = node.ask(Request::Attach(attach(1)), 1);
    let collect = Collect { network: "net".to_owned(), valid: [].into() };
    let gc = node.ask(Request::Collect(collect), 0);
    node.run();
    assert!(matches!(node.replies[&add], Reply::Attached(_)));
    assert_eq!(node.replies[&gc], Reply::Done);
    assert_eq!(node.pods.pods().count(), 1);
}

#[test]
fn after_a_restart_pods_are_known_and_their_addresses_taken() {
    let mut node = Node::new();
    let pod = crate::attachment::PodName { namespace: "ns".into(), name: "web-0".into() };
    let named = Attach { pod: Some(pod.clone()), mtu: Some(1400), ..attach(1) };
    let Reply::Attached(first) = node.ask_and_run(Request::Attach(named), 1) else { panic!() };
    node.add(2);
    let kernel = node.kernel.clone();
    let mut node = node.restarted();
    assert_eq!(node.kernel, kernel, "adopting changes nothing");
    let known: Vec<_> = node.pods.pods().map(|(wiring, state)| (wiring.clone(), state)).collect();
    assert_eq!(known[0], (*first.clone(), PodState::Ready));
    assert_eq!(node.leased(), 4);
    assert_eq!(node.add(1), *first);
    assert_ne!(node.add(3).lease, first.lease);
    node.ask_and_run(Request::Detach(id(1)), 1);
    assert_eq!(node.leased(), 4);
}

#[test]
fn restart_in_the_middle_of_a_detach_finishes_it() {
    let mut node = Node::new();
    node.add(1);
    node.ask(Request::Detach(id(1)), 1);
    node.execute(0, Fault::None);
    let node = node.restarted();
    assert_eq!(node.kernel.host, Kernel::new(0).host);
    assert_eq!(node.leased(), 0);
}

#[test]
fn restart_in_the_middle_of_an_attach_leaves_what_the_next_attach_repairs() {
    for steps in 0..=17 {
        let mut node = Node::new();
        node.ask(Request::Attach(attach(1)), 1);
        let Command::Attach(_, _, all) = node.pending.remove(0) else { panic!() };
        let _ = node.kernel.attach(&all[..steps], 1, Fault::None);
        let mut node = node.restarted();
        let wiring = node.add(1);
        assert_eq!(differences(&wiring, None, &node.kernel.picture(&wiring, 1)), []);
        assert_eq!(node.kernel.host.links.len(), 2, "{steps}");
        assert_eq!(node.leased(), 2);
    }
}

#[test]
fn strangers_interfaces_are_left_alone_at_start() {
    let mut node = Node::new();
    node.add(1);
    let mut stranger = node.kernel.host.links.values().nth(1).unwrap().clone();
    stranger.alias = Some("somebody's".to_owned());
    stranger.index = 77;
    node.kernel.host.links.insert("veth77".to_owned(), stranger.clone());
    stranger.group = 0;
    stranger.alias = None;
    stranger.index = 78;
    node.kernel.host.links.insert("s32veth78".to_owned(), stranger.clone());
    let kernel = node.kernel.clone();
    let node = node.restarted();
    assert_eq!(node.kernel, kernel);
    assert!(node.notices.iter().any(|notice| matches!(notice, Notice::Unreadable { .. })));
}

#[test]
fn before_the_survey_only_status_is_answered() {
    let mut node = Node::starting(Kernel::new(2));
    let add = node.ask(Request::Attach(attach(1)), 1);
    let status = node.ask(Request::Status, 0);
    assert_eq!(node.replies[&status], Reply::Failed(NotReady::Starting.into()));
    node.execute(0, Fault::Step(0));
    assert!(node.pending.is_empty());
    node.now = node.pods.poll_timeout().unwrap();
    node.handle(Event::Due);
    node.run();
    assert!(matches!(node.replies[&add], Reply::Attached(_)));
    assert_eq!(node.ask_and_run(Request::Status, 0), Reply::Done);
}

#[test]
fn status_tells_of_isolation_but_not_of_a_full_pool() {
    let mut node = Node::new();
    node.handle(Event::Sessions { configured: 2, established: 0 });
    assert_eq!(node.ask_and_run(Request::Status, 0), Reply::Failed(NotReady::Isolated.into()));
    node.handle(Event::Sessions { configured: 2, established: 1 });
    for number in 0..6 {
        node.add(number);
    }
    assert_eq!(node.ask_and_run(Request::Status, 0), Reply::Done);
}

#[test]
fn impossible_requests_are_refused_before_anything_is_done() {
    let mut node = Node::new();
    let refused = |node: &mut Node, attach| {
        let op = node.ask(Request::Attach(attach), 1);
        assert!(node.pending.is_empty());
        failure(node.replies[&op].clone())
    };
    let error = refused(&mut node, Attach { mtu: Some(1000), ..attach(1) });
    assert_eq!(error, PodError::Mtu { mtu: 1000, least: 1280 });
    let group = wiring::Mac([1, 0, 0, 0, 0, 1]);
    assert_eq!(refused(&mut node, Attach { mac: Some(group), ..attach(1) }), PodError::Mac(group));
    let error = refused(&mut node, asking("192.0.2.1", 1));
    assert!(matches!(error, PodError::Lease(LeaseError::OutsidePools { .. })), "{error}");
    assert_eq!(node.leased(), 0);
}

#[test]
fn secondary_interface_gets_no_default_route() {
    let mut node = Node::new();
    let request = Request::Attach(Attach { default_route: Some(false), ..attach(1) });
    let Reply::Attached(wiring) = node.ask_and_run(request, 1) else { panic!() };
    assert!(node.kernel.pods[1].routes.iter().all(|(prefix, ..)| !prefix.is_default()));
    assert_eq!(differences(&wiring, None, &node.kernel.picture(&wiring, 1)), []);
}

#[test]
fn first_interface_of_a_container_gets_the_default_route_unless_told_otherwise() {
    let mut node = Node::new();
    let of = |ifname: &str, default_route| {
        let id = AttachmentId::new("net", "c1", ifname).unwrap();
        Request::Attach(Attach { id, default_route, ..attach(1) })
    };
    let mut add = |ifname: &str, default_route| match node.ask_and_run(of(ifname, default_route), 1)
    {
        Reply::Attached(wiring) => wiring.default_route,
        other => panic!("{other:?}"),
    };
    assert!(!add("net0", Some(false)));
    assert!(add("eth0", None));
    assert!(!add("net1", None));
    assert!(add("eth0", None), "asked again, it is what it was");
    assert!(!add("net1", None));
}

#[test]
fn pod_may_send_from_all_its_addresses_on_each_interface_and_from_no_other() {
    let mut node = Node::new();
    node.add(2);
    let id = |ifname: &str| AttachmentId::new("net", "c1", ifname).unwrap();
    let wirings = ["eth0", "net1"].map(|ifname| {
        let request = Request::Attach(Attach { id: id(ifname), ..attach(1) });
        match node.ask_and_run(request, 1) {
            Reply::Attached(wiring) => *wiring,
            other => panic!("{other:?}"),
        }
    });
    let permitted = |node: &Node, wiring: &Wiring| -> Vec<IpAddr> {
        let index = wiring.host.index;
        node.kernel.permits.iter().filter(|(on, _)| *on == index).map(|(_, from)| *from).collect()
    };
    let [first, second] = &wirings;
    let mut all: Vec<_> = wirings.iter().flat_map(|wiring| wiring.lease.iter()).collect();
    all.sort();
    assert_eq!(permitted(&node, first), all);
    assert_eq!(permitted(&node, second), all);
    // A restarted daemon comes to the same.
    let before = node.kernel.permits.clone();
    let mut node = node.restarted();
    assert_eq!(node.kernel.permits, before);
    node.ask_and_run(Request::Detach(id("eth0")), 1);
    assert!(permitted(&node, first).is_empty());
    assert_eq!(permitted(&node, second), second.lease.iter().collect::<Vec<_>>());
    assert_eq!(differences(second, None, &node.kernel.picture(second, 1)), []);
}

#[test]
fn rules_wait_for_the_interface_to_be_gone_unless_another_may_send_from_its_addresses() {
    let mut node = Node::new();
    let id = |ifname: &str| AttachmentId::new("net", "c1", ifname).unwrap();
    for ifname in ["eth0", "net1"] {
        let request = Request::Attach(Attach { id: id(ifname), ..attach(1) });
        assert!(matches!(node.ask_and_run(request, 1), Reply::Attached(_)));
    }
    let forbids = |node: &Node| match &node.pending[..] {
        [Command::Cut(_, steps)] => steps.iter().any(|step| matches!(step, Step::Forbid { .. })),
        other => panic!("{other:?}"),
    };
    node.ask(Request::Detach(id("net1")), 1);
    assert!(forbids(&node), "eth0 could go on sending from an address that another pod gets");
    node.run();
    node.ask(Request::Detach(id("eth0")), 1);
    assert!(!forbids(&node));
    node.execute(0, Fault::None);
    assert!(!node.kernel.permits.is_empty(), "DEL is answered before");
    node.run();
    assert!(node.kernel.permits.is_empty());
}

#[test]
fn missing_permit_is_a_difference_and_an_unruled_node_has_none() {
    let mut node = Node::new();
    let wiring = node.add(1);
    node.kernel.permits.clear();
    let mut picture = node.kernel.picture(&wiring, 1);
    let found = differences(&wiring, None, &picture);
    let address = "10.0.0.1".parse().unwrap();
    assert_eq!(found[0], check::Difference::NotPermitted(address));
    picture.permitted = None;
    assert_eq!(differences(&wiring, None, &picture), []);
    let ruled = Settings { guard: None, ..settings() };
    node.handle(Event::Configured(Box::new(ruled)));
    assert_eq!(node.pending, [Command::Enforce(None)]);
    node.run();
    node.add(2);
    assert!(node.kernel.permits.is_empty());
}

#[test]
fn rules_that_could_not_be_put_in_force_are_tried_again() {
    let mut node = Node::starting(Kernel::new(8));
    node.execute(0, Fault::None);
    node.execute(0, Fault::Step(0));
    assert!(matches!(node.notices.last(), Some(Notice::NotEnforced(_))));
    node.now = node.pods.poll_timeout().unwrap();
    node.handle(Event::Due);
    let rules = Rules { permits: vec![], closed_ports: vec![179] };
    assert_eq!(node.pending, [Command::Translate(vec![]), Command::Enforce(Some(rules))]);
    node.run();
    assert_eq!(node.pods.poll_timeout(), None);
}

#[test]
fn further_destinations_are_routed_and_checked() {
    let mut node = Node::new();
    let to: bgp::prefix::Prefix = "10.64.0.0/10".parse().unwrap();
    let request = Attach { destinations: vec![to], default_route: Some(false), ..attach(1) };
    let reply = node.ask_and_run(Request::Attach(request), 1);
    let Reply::Attached(wiring) = reply else { panic!("{reply:?}") };
    let expected = |wiring: &Wiring| Expected {
        listed: true,
        addresses: wiring.lease.iter().collect(),
        destinations: vec![to],
        ..Expected::default()
    };
    // After a restart only the runtime knows of them.
    let mut node = node.restarted();
    let check = Request::Check(id(1), expected(&wiring));
    assert_eq!(node.ask_and_run(check.clone(), 1), Reply::Done);
    node.kernel.pods[1].routes.retain(|(prefix, ..)| *prefix != to);
    let error = failure(node.ask_and_run(check, 1)).to_string();
    assert_eq!(error, "the pod has no route 10.64.0.0/10 via 169.254.1.1");
}

#[test]
fn destination_without_an_address_of_its_family_is_refused_and_nothing_leased() {
    let mut node = Node::new();
    let wish =
        Wish { addresses: vec!["192.0.2.7".parse().unwrap()], delegated: true, ..Wish::default() };
    let destinations = vec!["fd99::/16".parse().unwrap()];
    let request = Attach { wish, destinations, ..attach(1) };
    let error = failure(node.ask_and_run(Request::Attach(request), 1));
    assert!(matches!(error, PodError::RouteWithoutAddress(_)), "{error}");
    assert_eq!(node.leased(), 0);
    assert_eq!(node.pods.ipam().leases().count(), 0);
}

#[test]
fn address_that_the_book_gives_to_nobody_is_a_difference() {
    let mut node = Node::new();
    let wiring = node.add(1);
    node.pods.ipam.release(&id(1), node.now).unwrap();
    let expected =
        Expected { listed: true, addresses: wiring.lease.iter().collect(), ..Expected::default() };
    let PodError::Differs(found) = failure(node.ask_and_run(Request::Check(id(1), expected), 1))
    else {
        panic!()
    };
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].to_string(), "the pod's address 10.0.0.1 is leased to nobody");
}

#[test]
fn hardware_address_that_a_later_plugin_changed_must_be_known_to_the_host() {
    let mut node = Node::new();
    let wiring = node.add(1);
    let changed = wiring::Mac([2, 0, 0, 0, 0, 9]);
    node.kernel.pods[1].links.get_mut("eth0").unwrap().mac = changed;
    let mut expected = Expected {
        listed: true,
        mac: Some(changed),
        addresses: wiring.lease.iter().collect(),
        ..Expected::default()
    };
    let check = |node: &mut Node, expected: &Expected| {
        node.ask_and_run(Request::Check(id(1), expected.clone()), 1)
    };
    let error = failure(check(&mut node, &expected)).to_string();
    assert!(
        error.contains("neighbour 10.0.0.1 at 02:00:00:00:00:09 is missing on the host"),
        "{error}"
    );
    // One that a later plugin could not have told us of is tolerated: a smaller MTU.
    expected.mac = None;
    node.kernel.pods[1].links.get_mut("eth0").unwrap().mac = wiring.inside.mac;
    node.kernel.pods[1].links.get_mut("eth0").unwrap().mtu = 1400;
    assert_eq!(check(&mut node, &expected), Reply::Done);
    expected.tells_mtu = true;
    failure(check(&mut node, &expected));
}

#[test]
fn pod_whose_namespace_went_without_a_word_is_removed() {
    let mut node = Node::new();
    let [gone, stays] = [1, 2].map(|number| node.add(number));
    node.kernel.drop_namespace(1);
    node.handle(Event::LinkGone(gone.host.index));
    node.run();
    let left: Vec<_> = node.pods.pods().map(|(wiring, _)| wiring.id.clone()).collect();
    assert_eq!(left, [stays.id]);
    assert_eq!(node.leased(), 2);
    assert!(node.notices.contains(&Notice::Vanished(id(1))));
    assert_eq!(node.ask_and_run(Request::Detach(id(1)), 1), Reply::Done);
}

#[test]
fn namespace_that_goes_in_the_middle_of_anything_leaves_nothing() {
    for early in [false, true] {
        let mut node = Node::new();
        let op = node.ask(Request::Attach(attach(1)), 1);
        let index = FIRST_INDEX_IN_TESTS;
        if early {
            node.handle(Event::LinkGone(index));
        }
        node.execute(0, Fault::None);
        assert!(matches!(node.replies[&op], Reply::Attached(_)));
        node.kernel.drop_namespace(1);
        if !early {
            node.handle(Event::LinkGone(index));
        }
        node.run();
        assert_eq!((node.leased(), node.pods.pods().count()), (0, 0), "{early}");
        assert_eq!(node.kernel.host, Kernel::new(0).host);
    }
}

#[test]
fn pod_that_goes_while_the_daemon_starts_is_not_taken_for_alive() {
    let mut node = Node::new();
    let wiring = node.add(1);
    let mut node = Node::starting(node.kernel);
    let seen = node.kernel.survey();
    node.kernel.drop_namespace(1);
    node.handle(Event::LinkGone(wiring.host.index));
    node.pending.clear();
    node.handle(Event::Surveyed(Ok(seen)));
    node.run();
    assert_eq!((node.leased(), node.pods.pods().count()), (0, 0));
}

#[test]
fn word_of_an_interface_that_had_the_index_before_harms_no_pod() {
    let mut node = Node::new();
    let wiring = node.add(1);
    node.handle(Event::LinkGone(wiring.host.index));
    node.run();
    assert_eq!(node.pods.pods().count(), 1);
    assert_eq!(differences(&wiring, None, &node.kernel.picture(&wiring, 1)), []);
    // Nor while it is being made.
    let op = node.ask(Request::Attach(attach(2)), 2);
    node.handle(Event::LinkGone(wiring.host.index + 2));
    node.execute(1, Fault::None);
    node.run();
    let Reply::Attached(second) = &node.replies[&op] else { panic!() };
    assert_eq!(differences(second, None, &node.kernel.picture(second, 2)), []);
    assert_eq!(node.pods.pods().count(), 2);
}

#[test]
fn attach_waits_until_what_was_left_half_made_is_deleted() {
    let mut node = Node::new();
    node.ask(Request::Attach(attach(1)), 1);
    let Command::Attach(_, _, steps) = node.pending.remove(0) else { panic!() };
    node.kernel.attach(&steps[..1], 1, Fault::None).unwrap();
    let mut node = Node::starting(node.kernel);
    let op = node.ask(Request::Attach(attach(1)), 1);
    node.execute(0, Fault::None);
    assert!(node.pending.iter().all(|command| !matches!(command, Command::Attach(..))));
    assert_eq!(node.pods.readiness(), Err(NotReady::Starting));
    node.run();
    assert!(matches!(node.replies[&op], Reply::Attached(_)));
}

#[test]
fn in_doubt_the_book_follows_the_kernel() {
    let mut node = Node::new();
    node.add(1);
    node.add(2);
    node.kernel.drop_namespace(1);
    // A pod that this daemon does not know: restored by somebody, or lost by us.
    let lost = node.pods.slots.take_ready(&id(2)).unwrap();
    node.pods.slots.next(&id(2));
    node.pods.ipam.release(&id(2), node.now);
    node.handle(Event::Doubt);
    node.run();
    let known: Vec<_> = node.pods.pods().map(|(wiring, _)| wiring.clone()).collect();
    assert_eq!(known, [lost]);
    assert_eq!(node.leased(), 2);
    let before = node.kernel.clone();
    node.handle(Event::Doubt);
    node.run();
    assert_eq!(node.kernel, before, "without a difference nothing happens");
}

#[test]
fn in_doubt_what_is_under_way_is_left_alone() {
    let mut node = Node::new();
    let op = node.ask(Request::Attach(attach(1)), 1);
    node.handle(Event::Doubt);
    node.run();
    let Reply::Attached(wiring) = &node.replies[&op] else { panic!() };
    assert_eq!(differences(wiring, None, &node.kernel.picture(wiring, 1)), []);
    node.ask(Request::Detach(id(1)), 1);
    node.handle(Event::Doubt);
    node.run();
    assert_eq!((node.leased(), node.pods.pods().count()), (0, 0));
}

#[test]
fn journal_hears_of_every_lease_and_what_it_remembers_cools_down() {
    let mut node = Node::new();
    let wiring = node.add(1);
    assert_eq!(node.records, [Record::Leased(id(1), wiring.lease)]);
    node.ask_and_run(Request::Detach(id(1)), 1);
    assert_eq!(node.records[1], Record::Released(wiring.lease, node.now));

    let mut settings = settings();
    settings.ipam.cooldown = Duration::from_secs(30);
    let stays = Lease { ipv4: "10.0.0.2".parse().ok(), ipv6: None };
    let memory = Memory {
        // This one's pod vanished while no daemon ran.
        leases: vec![(id(7), stays)],
        idle: vec![("10.0.0.1".parse().unwrap(), node.now)],
    };
    node.pods = Pods::new(settings, memory);
    node.collect_commands();
    node.run();
    assert_eq!(node.add(3).lease.ipv4, "10.0.0.3".parse().ok());
    node.now += Duration::from_secs(30);
    assert_eq!(node.pods.ipam().pools(node.now).next().unwrap().cooling, 0);
}

#[test]
fn foreign_host_route_to_the_address_is_an_error_and_stays() {
    let mut node = Node::new();
    let foreign = ("10.0.0.1/32".parse().unwrap(), 1, None);
    node.kernel.host.routes.insert(foreign);
    let error = failure(node.ask_and_run(Request::Attach(attach(1)), 1));
    assert!(matches!(error, PodError::Refused { errno: Errno(EEXIST), .. }), "{error}");
    assert!(node.kernel.host.routes.contains(&foreign));
    assert_eq!(node.kernel.host.links.len(), 1);
}

#[derive(Clone, Debug)]
enum Deed {
    Attach {
        number: usize,
        requested: Option<u8>,
    },
    Detach {
        number: usize,
    },
    Check {
        number: usize,
    },
    Collect {
        valid: Vec<usize>,
    },
    /// Carry out one of the pending commands, with a fault.
    Execute {
        choice: usize,
        fault: Fault,
    },
    Wait,
    DropNamespace {
        number: usize,
    },
    /// Another program changes something, which the kernel tells.
    Damage {
        number: usize,
        damage: Damage,
    },
    Restart,
}

fn deed() -> impl Strategy<Value = Deed> {
    let number = || 0_usize..5;
    // Of a pod whose interface does not say so any more nobody knows after a restart, and a route that
    // leads elsewhere stays when the pod goes before it is put right.
    let damages = Damage::ALL.into_iter();
    let damages =
        damages.filter(|it| !matches!(it, Damage::Alias | Damage::Group | Damage::Elsewhere));
    let damages: Vec<_> = damages.collect();
    let fault = prop_oneof![
        8 => Just(Fault::None),
        1 => (0_usize..17).prop_map(Fault::Step),
        1 => (0_usize..17).prop_map(Fault::Socket),
    ];
    prop_oneof![
        6 => (number(), prop::option::weighted(0.2, 0_u8..8))
            .prop_map(|(number, requested)| Deed::Attach { number, requested }),
        4 => number().prop_map(|number| Deed::Detach { number }),
        1 => number().prop_map(|number| Deed::Check { number }),
        1 => prop::collection::vec(number(), 0..4).prop_map(|valid| Deed::Collect { valid }),
        14 => (any::<prop::sample::Index>(), fault)
            .prop_map(|(choice, fault)| Deed::Execute { choice: choice.index(16), fault }),
        1 => Just(Deed::Wait),
        1 => number().prop_map(|number| Deed::DropNamespace { number }),
        2 => (number(), prop::sample::select(damages))
            .prop_map(|(number, damage)| Deed::Damage { number, damage }),
        1 => Just(Deed::Restart),
    ]
}

/// Nothing that two pods share, nothing that leads to a pod that is not there.
fn assert_sound(node: &Node) {
    let mut routes = BTreeMap::new();
    for (prefix, index, _) in &node.kernel.host.routes {
        assert!(routes.insert(prefix, index).is_none(), "two routes to {prefix}");
    }
    let mut taken = BTreeMap::new();
    for (id, lease) in node.pods.ipam().leases() {
        for address in lease.iter() {
            let before = taken.insert(address, id.clone());
            assert_eq!(before, None, "{address} belongs to two pods");
        }
        assert!(node.pods.slots.contains(id), "a lease without a pod");
    }
    for (wiring, state) in node.pods.pods() {
        let lease = node.pods.ipam().get(&wiring.id);
        match state {
            PodState::Attaching | PodState::Ready => assert_eq!(lease, Some(wiring.lease)),
            PodState::Removing | PodState::Stuck => {}
        }
    }
    assert_eq!(node.leased(), taken.len() as u128);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_nothing_leaks_and_everybody_is_answered(
        deeds in prop::collection::vec(deed(), 0..120),
    ) {
        let mut node = Node::new();
        for deed in deeds {
            match deed {
                Deed::Attach { number, requested } => {
                    let attach = requested.map_or_else(
                        || attach(number),
                        |host| asking(&format!("10.0.0.{host}"), number),
                    );
                    node.ask(Request::Attach(attach), number);
                }
                Deed::Detach { number } => {
                    node.ask(Request::Detach(id(number)), number);
                }
                Deed::Check { number } => {
                    node.ask(Request::Check(id(number), Expected::default()), number);
                }
                Deed::Collect { valid } => {
                    let valid = valid.into_iter().map(id).collect();
                    node.ask(Request::Collect(Collect { network: "net".to_owned(), valid }), 0);
                }
                Deed::Execute { choice, fault } => {
                    if !node.pending.is_empty() {
                        node.execute(choice % node.pending.len(), fault);
                    }
                }
                Deed::Wait => {
                    node.now += Duration::from_secs(2);
                    node.handle(Event::Due);
                }
                Deed::DropNamespace { number } => node.kernel.drop_namespace(number),
                Deed::Damage { number, damage } => node.damage(number, damage),
                Deed::Restart => node = node.restarted(),
            }
            assert_sound(&node);
        }
        // From here on the kernel works. Every question gets its answer ...
        node.settle();
        prop_assert_eq!(node.replies.len(), node.netns.len());
        // ... an ADD that is answered now describes what is there ...
        for number in 0..5 {
            let wiring = node.add(number);
            prop_assert_eq!(differences(&wiring, None, &node.kernel.picture(&wiring, number)), []);
        }
        assert_sound(&node);
        let live = |link: &&kernel::Link| link.group == GROUP_LIVE;
        prop_assert_eq!(node.kernel.host.links.values().filter(live).count(), 5);
        // ... and when all pods are gone, all of it is gone.
        let collect = Collect { network: "net".to_owned(), valid: [].into() };
        prop_assert_eq!(node.ask_and_run(Request::Collect(collect), 0), Reply::Done);
        prop_assert_eq!(&node.kernel.host, &Kernel::new(0).host);
        prop_assert_eq!(&node.kernel.permits, &Kernel::new(0).permits);
        prop_assert_eq!(node.leased(), 0);
        prop_assert_eq!(node.pods.pods().count(), 0);
    }
}
