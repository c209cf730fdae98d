//! A made-up kernel with three interfaces, and the daemon's hands between it and the machine.
//!
//! It keeps to what Linux does where that matters: exclusive adding, replacing by key whoever's
//! route is hit, deleting by protocol, IPv4 routes that vanish in silence with their interface,
//! next-hop objects that do so with their carrier, and with them groups and their routes;
//! notifications that come late and do not come back to who made the change.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::*;
use crate::fib::{
    links::{Address, Link},
    next_hop::{NextHopId, Object, hops_of},
};

/// Protocol number of routes made by hand.
pub(super) const STATIC: u8 = 4;
/// Of those that come with an address.
const KERNEL: u8 = 2;
pub(super) const LINKS: [u32; 3] = [1, 2, 3];

pub(super) struct World {
    pub(super) fib: Fib,
    pub(super) config: FibConfig,
    pub(super) now: Instant,
    pub(super) routes: Vec<Route>,
    /// `None` in a kernel that knows no such things.
    pub(super) next_hops: Option<BTreeMap<NextHopId, NextHopObject>>,
    /// Next-hop operations carried out.
    pub(super) hop_writes: Vec<NextHopOperation>,
    links: BTreeMap<u32, Link>,
    /// On their way to the machine.
    notices: VecDeque<Event>,
    /// On their way to the kernel.
    pub(super) commands: VecDeque<Command>,
    answers: VecDeque<Event>,
    told: BTreeMap<IpAddr, Resolution>,
    refused: Option<Prefix>,
    /// Peers without a session.
    pub(super) lost: BTreeSet<PeerId>,
    /// The best paths as last told to the machine.
    pub(super) learned: BTreeMap<Prefix, Vec<IpAddr>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A kernel with three interfaces up, and a machine that has been told of them.
    pub(super) fn with(change: impl FnOnce(&mut FibConfig)) -> Self {
        let mut config = FibConfig {
            table: TABLE_MAIN,
            protocol: PROTO_FABRIC,
            metric: None,
            own_ranges: vec![prefix("10.244.1.0/24")],
            addresses_wander: false,
            learned_routes: true,
            next_hop_groups: true,
            resolve_via_default: false,
            grace: GRACE,
        };
        change(&mut config);
        #[expect(clippy::disallowed_methods, reason = "an origin is needed; all else is relative")]
        let now = Instant::now();
        let link =
            |index: u32| Link { index, name: format!("eth{index}"), up: true, carrier: true };
        let mut world = Self {
            fib: Fib::new(config.clone(), now),
            config,
            now,
            routes: LINKS.into_iter().flat_map(connected).collect(),
            next_hops: Some(BTreeMap::new()),
            hop_writes: Vec::new(),
            links: LINKS.into_iter().map(|index| (index, link(index))).collect(),
            notices: VecDeque::new(),
            commands: VecDeque::new(),
            answers: VecDeque::new(),
            told: BTreeMap::new(),
            refused: None,
            lost: BTreeSet::new(),
            learned: BTreeMap::new(),
        };
        world.handle(Event::Links(world.picture()));
        world
    }

    /// Kills the daemon with what it has under way, and starts it again. The RIB of the new one is
    /// told everything at once.
    pub(super) fn restart(&mut self) {
        self.commands.clear();
        self.answers.clear();
        self.notices.clear();
        self.fib = Fib::new(self.config.clone(), self.now);
        self.handle(Event::Links(self.picture()));
        self.handle(Event::Lost(self.lost.clone()));
        let learned = self.learned.iter().map(|(prefix, next_hops)| learned(*prefix, next_hops));
        self.handle(Event::Best(learned.collect()));
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.fib.handle(event, self.now);
    }

    pub(super) fn learn(&mut self, text: &str, next_hops: &[&str]) {
        let next_hops = next_hops.iter().map(|text| ip(text)).collect();
        self.learn_all(prefix(text), next_hops);
    }

    pub(super) fn learn_all(&mut self, prefix: Prefix, next_hops: Vec<IpAddr>) {
        let change = learned(prefix, &next_hops);
        self.learned.insert(prefix, next_hops);
        self.handle(Event::Best(vec![change]));
    }

    /// The node's own ranges are these from now on.
    pub(super) fn own(&mut self, ranges: &[&str]) {
        self.config.own_ranges = ranges.iter().map(|text| prefix(text)).collect();
        self.handle(Event::OwnRanges(self.config.own_ranges.clone()));
    }

    pub(super) fn ask(&mut self, next_hops: &[&str]) {
        let next_hops = next_hops.iter().map(|text| NextHop::new(ip(text))).collect();
        self.handle(Event::NextHops(next_hops));
    }

    /// What the RIB was last told about a next hop.
    pub(super) fn answer(&self, next_hop: &str) -> Option<Resolution> {
        self.told.get(&ip(next_hop)).cloned()
    }

    pub(super) fn state(&self, text: &str) -> Option<RouteState> {
        self.fib.routes().find(|route| route.key == key(text)).map(|route| route.state)
    }

    /// Our route in the kernel, with the hops of its group.
    pub(super) fn ours(&self, text: &str) -> Option<Target> {
        Some(match self.raw(text)? {
            Target::Group(id) => Target::Forward(self.hops(id)),
            target => target,
        })
    }

    /// Our route in the kernel.
    pub(super) fn raw(&self, text: &str) -> Option<Target> {
        let ours = |route: &&Route| route.key == key(text) && route.protocol == PROTO_FABRIC;
        self.routes.iter().find(ours).map(|route| route.target.clone())
    }

    fn hops(&self, id: NextHopId) -> Hops {
        let all = self.next_hops.as_ref().unwrap();
        let object = |id| all.get(&id).map(|it| &it.object);
        hops_of(object(id).unwrap(), object)
    }

    /// Next-hop objects with this protocol number.
    pub(super) fn objects(&self, protocol: u8) -> BTreeMap<NextHopId, Object> {
        let all = self.next_hops.iter().flatten().filter(|(_, it)| it.protocol == protocol);
        all.map(|(id, it)| (*id, it.object.clone())).collect()
    }

    /// Somebody makes a next-hop object, or changes one.
    pub(super) fn make_next_hop(&mut self, object: NextHopObject) {
        self.next_hops.as_mut().unwrap().insert(object.id, object.clone());
        self.notices.push_back(Event::NextHop(NextHopChange::Present, object));
    }

    /// Somebody deletes a next-hop object.
    pub(super) fn delete_next_hop(&mut self, id: NextHopId) {
        let notices = self.remove_next_hops(|object| object.id == id);
        self.notices.extend(notices);
    }

    /// Removes next-hop objects, from groups as well, with the groups that are empty then, and the
    /// routes that name one of these. Returns what the kernel would say of it.
    fn remove_next_hops(&mut self, doomed: impl Fn(&NextHopObject) -> bool) -> Vec<Event> {
        let Some(all) = &mut self.next_hops else { return Vec::new() };
        let mut notices = Vec::new();
        let mut gone: Vec<_> = all.values().filter(|it| doomed(it)).cloned().collect();
        let ids: Vec<_> = gone.iter().map(|it| it.id).collect();
        for it in all.values_mut() {
            let Object::Group(members) = &it.object else { continue };
            let Some(left) = members.without(|id| ids.contains(&id)) else { continue };
            if left.as_slice().is_empty() {
                gone.push(it.clone());
            } else {
                it.object = Object::Group(left);
                notices.push(Event::NextHop(NextHopChange::Present, it.clone()));
            }
        }
        for it in gone {
            all.remove(&it.id);
            self.routes.retain(|route| route.target.group() != Some(it.id));
            notices.push(Event::NextHop(NextHopChange::Gone, it));
        }
        notices
    }

    fn lose_next_hops(&mut self, index: u32) {
        self.remove_next_hops(|it| matches!(it.object, Object::Hop(hop) if hop.ifindex == index));
    }

    /// Everybody's routes with a key.
    pub(super) fn all(&self, key: RouteKey) -> Vec<Route> {
        self.routes.iter().filter(|route| route.key == key).cloned().collect()
    }

    /// A route that is there without the machine having been told.
    pub(super) fn put(&mut self, route: Route) {
        self.routes.push(route);
    }

    /// From now on the kernel refuses to write this prefix.
    pub(super) fn refuse(&mut self, text: Option<&str>) {
        self.refused = text.map(prefix);
    }

    pub(super) fn create_by_hand(&mut self, route: Route) {
        self.routes.push(route.clone());
        self.notices.push_back(Event::Route(RouteChange::Created, route));
    }

    pub(super) fn replace_by_hand(&mut self, route: Route) {
        self.routes.retain(|other| other.key != route.key);
        self.routes.push(route.clone());
        self.notices.push_back(Event::Route(RouteChange::Replaced, route));
    }

    pub(super) fn delete_by_hand(&mut self, text: &str) {
        let ours = |route: &Route| route.key == key(text) && route.protocol == PROTO_FABRIC;
        self.remove_where(ours);
    }

    pub(super) fn remove_foreign(&mut self, route: &Route) {
        self.remove_where(|other| other == route);
    }

    pub(super) fn carrier(&mut self, index: u32, carrier: bool) {
        self.links.get_mut(&index).unwrap().carrier = carrier;
        if !carrier {
            self.lose_next_hops(index);
        }
        self.notify_link(index);
    }

    pub(super) fn admin(&mut self, index: u32, up: bool) {
        if self.links[&index].up == up {
            return;
        }
        self.links.get_mut(&index).unwrap().up = up;
        if up {
            self.notify_link(index);
            for route in connected(index) {
                self.create_by_hand(route);
            }
            return;
        }
        self.lose_next_hops(index);
        let alive = |hop: &Hop| self.links[&hop.ifindex].up;
        let dead = |route: &Route| {
            let hops = route.target.hops();
            !hops.is_empty() && !hops.iter().any(alive)
        };
        let (gone, left): (Vec<_>, Vec<_>) = self.routes.drain(..).partition(dead);
        self.routes = left;
        for route in gone.into_iter().filter(|route| route.key.prefix.addr().is_ipv6()) {
            self.notices.push_back(Event::Route(RouteChange::Gone, route));
        }
        self.notify_link(index);
    }

    /// The machine misses everything that it has not been told yet.
    pub(super) fn overrun(&mut self) {
        self.notices.clear();
        self.notices.push_back(Event::Links(self.picture()));
        self.notices.push_back(Event::Overrun);
    }

    /// Tells the machine the next thing that the kernel reported.
    pub(super) fn notify(&mut self) -> bool {
        let notice = self.notices.pop_front();
        notice.map(|event| self.handle(event)).is_some()
    }

    pub(super) fn notify_all(&mut self) {
        while self.notify() {}
    }

    /// Takes the machine's next command.
    pub(super) fn poll(&mut self) -> bool {
        let Some(command) = self.fib.poll_command(self.now) else { return false };
        if let Command::Write(operations) = &command {
            for operation in operations.iter() {
                self.check(operation);
            }
        }
        match command {
            Command::Answer(next_hop, resolution) => {
                self.told.insert(next_hop.addr, resolution);
            }
            Command::Dump | Command::Write(_) | Command::WriteNextHops(_) => {
                self.commands.push_back(command);
            }
        }
        true
    }

    /// The kernel does the next thing it was asked for.
    pub(super) fn execute(&mut self) -> bool {
        let command = self.commands.pop_front();
        command.map(|command| self.carry_out(command)).is_some()
    }

    /// The machine hears the next answer.
    pub(super) fn answer_next(&mut self) -> bool {
        let answer = self.answers.pop_front();
        answer.map(|event| self.handle(event)).is_some()
    }

    pub(super) fn answer_all(&mut self) {
        while self.answer_next() {}
    }

    /// Lets everything happen that happens by itself within this time.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while self.notify() || self.answer_next() || self.poll() || self.execute() {}
            let Some(at) = self.fib.poll_timeout().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.handle(Event::Timeout);
        }
        self.now = end;
        self.handle(Event::Timeout);
    }

    /// Peers are through; all is quiet for long enough.
    pub(super) fn settle_down(&mut self) {
        self.handle(Event::Complete);
        self.run(Duration::from_secs(3));
    }

    pub(super) fn carry_out(&mut self, command: Command) {
        let answer = match command {
            Command::Dump => Event::Dumped {
                routes: self.routes.clone(),
                next_hops: self.next_hops.as_ref().map(|all| all.values().cloned().collect()),
            },
            Command::WriteNextHops(operations) => {
                let outcomes = operations.iter().map(|operation| self.write_next_hop(operation));
                let failures = outcomes
                    .enumerate()
                    .filter_map(|(position, outcome)| Some((position, outcome.err()?)))
                    .collect();
                self.hop_writes.extend(operations.iter().cloned());
                Event::NextHopsWritten { operations, failures }
            }
            Command::Write(operations) => {
                let outcomes = operations.iter().map(|operation| self.write(operation));
                let failures = outcomes
                    .enumerate()
                    .filter_map(|(position, outcome)| Some((position, outcome.err()?)))
                    .collect();
                Event::Written { operations, failures }
            }
            Command::Answer(..) => return,
        };
        self.answers.push_back(answer);
    }

    pub(super) fn links_up(&self) -> impl Fn(u32) -> bool + use<> {
        let links = self.links.clone();
        move |index| links[&index].up && links[&index].carrier
    }

    fn write(&mut self, operation: &Operation) -> Result<(), WriteError> {
        let at = operation.key();
        match operation {
            Operation::Add(_, target) => {
                if self.routes.iter().any(|route| route.key == at) {
                    return Err(WriteError::Exists);
                }
                self.admit(at, target)?;
                self.routes.push(ours(at, target));
            }
            Operation::Replace(_, target) => {
                self.admit(at, target)?;
                let theirs = |route: &Route| route.key == at && route.protocol != PROTO_FABRIC;
                assert!(!self.routes.iter().any(theirs), "overwrites somebody else's {at}");
                self.routes.retain(|route| route.key != at);
                self.routes.push(ours(at, target));
            }
            Operation::DeleteCopy(_, target) => {
                let copy = ours(at, target);
                let found = self.routes.iter().position(|route| *route == copy);
                self.routes.remove(found.ok_or(WriteError::Missing)?);
            }
            Operation::Delete(_) => {
                let before = self.routes.len();
                self.routes.retain(|route| route.key != at || route.protocol != PROTO_FABRIC);
                if self.routes.len() == before {
                    return Err(WriteError::Missing);
                }
            }
        }
        Ok(())
    }

    fn write_next_hop(&mut self, operation: &NextHopOperation) -> Result<(), WriteError> {
        const REFUSED: WriteError = WriteError::Refused { errno: 22, text: None };
        let id = operation.id();
        let up = self.links_up();
        let named = self.routes.iter().any(|route| route.target.group() == Some(id));
        let all = self.next_hops.as_mut().expect("nothing is written that the kernel lacks");
        let Some(object) = operation.object() else {
            assert!(self.fib.is_settled(), "{id} deleted before the first full picture");
            assert!(!named, "the kernel would drop the routes of {id}");
            for it in all.values() {
                let Object::Group(members) = &it.object else { continue };
                assert_eq!(members.without(|member| member == id), None, "of {it:?}");
            }
            return all.remove(&id).map(|_| ()).ok_or(WriteError::Missing);
        };
        match (operation, all.get(&id)) {
            (NextHopOperation::Create(..), Some(_)) => return Err(WriteError::Exists),
            (_, Some(it)) => assert_eq!(it.protocol, PROTO_FABRIC, "overwrites {id}"),
            (_, None) => {}
        }
        let fits = match object {
            Object::Hop(hop) => up(hop.ifindex),
            Object::Group(members) => members.as_slice().iter().all(|(member, _)| {
                all.get(member).is_some_and(|it| matches!(it.object, Object::Hop(_)))
            }),
            Object::Other => false,
        };
        if !fits {
            return Err(REFUSED);
        }
        all.insert(id, NextHopObject { id, protocol: PROTO_FABRIC, object: object.clone() });
        Ok(())
    }

    /// The kernel refuses routes through interfaces that are down, and by groups that are not there.
    fn admit(&self, key: RouteKey, target: &Target) -> Result<(), WriteError> {
        let missing = |id: NextHopId| !self.next_hops.as_ref().unwrap().contains_key(&id);
        let down = target.hops().iter().any(|hop| !self.links[&hop.ifindex].up)
            || target.group().is_some_and(missing);
        if down || self.refused == Some(key.prefix) {
            return Err(WriteError::Refused { errno: 101, text: None });
        }
        Ok(())
    }

    /// No operation may take away a route that is wanted, nor any before the machine may know.
    fn check(&self, operation: &Operation) {
        let at = operation.key();
        match operation {
            Operation::Add(..) | Operation::Replace(..) | Operation::DeleteCopy(..) => {}
            Operation::Delete(_) => {
                assert!(self.fib.is_settled(), "{at} deleted before the first full picture");
                let wanted = self.learned.get(&at.prefix).is_some_and(|it| !it.is_empty())
                    && at.table == TABLE_MAIN
                    && !self.config.own_ranges.iter().any(|own| own.covers(at.prefix));
                assert!(!wanted, "{at} is wanted");
                assert!(!self.config.own_ranges.contains(&at.prefix), "{at} is a blackhole");
            }
        }
    }

    fn remove_where(&mut self, doomed: impl Fn(&Route) -> bool) {
        let (gone, left): (Vec<_>, Vec<_>) = self.routes.drain(..).partition(doomed);
        self.routes = left;
        for route in gone {
            self.notices.push_back(Event::Route(RouteChange::Gone, route));
        }
    }

    fn notify_link(&mut self, index: u32) {
        let event = LinkEvent::Present(self.links[&index].clone());
        self.notices.push_back(Event::Link(event));
    }

    fn picture(&self) -> Links {
        let present = self.links.values().cloned().map(LinkEvent::Present);
        let addresses = LINKS.into_iter().flat_map(|index| {
            networks(index).map(|(local, on_link)| {
                LinkEvent::AddressPresent(index, Address { local, on_link })
            })
        });
        present.chain(addresses).collect()
    }
}

fn ours(key: RouteKey, target: &Target) -> Route {
    Route { key, protocol: PROTO_FABRIC, target: target.clone() }
}

fn networks(index: u32) -> [(IpAddr, Prefix); 2] {
    [
        (ip(&format!("10.0.{index}.2")), prefix(&format!("10.0.{index}.0/24"))),
        (ip(&format!("fd00:{index}::2")), prefix(&format!("fd00:{index}::/64"))),
    ]
}

/// The routes that come with an interface's addresses.
fn connected(index: u32) -> impl Iterator<Item = Route> {
    networks(index).into_iter().map(move |(_, on_link)| Route {
        key: RouteKey::new(TABLE_MAIN, on_link, on_link.addr().is_ipv6().then_some(256)),
        protocol: KERNEL,
        target: Target::Forward([Hop::new(None, index)].into_iter().collect()),
    })
}
