//! A made-up kernel: just enough of it to carry out steps, and to see what was left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::pod::{
    check::{AddressSeen, LinkSeen, NeighbourSeen, Picture, RouteSeen},
    nat::Translation,
    step::{Adjustment, End, GROUP_DOOMED, GROUP_LIVE, Stage, Step, datagrams},
    verb::{Errno, PodError},
    wiring::{LinkEnd, Mac, Wiring},
    *,
};
use bgp::{family::Family, prefix::Prefix};

pub(super) const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EIO: i32 = 5;

/// One network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Namespace {
    pub(super) links: BTreeMap<String, Link>,
    pub(super) addresses: BTreeSet<(u32, IpAddr)>,
    pub(super) routes: BTreeSet<(Prefix, u32, Option<IpAddr>)>,
    pub(super) neighbours: BTreeSet<(u32, IpAddr, Mac)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mac: Mac,
    pub(super) mtu: u32,
    pub(super) up: bool,
    pub(super) group: u32,
    pub(super) alias: Option<String>,
    /// Namespace (`None` is the host), name and index of the other end.
    pub(super) peer: (Option<usize>, String, u32),
}

/// What goes wrong with one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The kernel refuses the step of this number.
    Step(usize),
    /// The socket breaks; so many steps have been done.
    Socket(usize),
}

/// What another program does to a pod's things on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Deletes the routes.
    Routes,
    /// Deletes the neighbours.
    Neighbours,
    /// Sets the host's end down; routes and neighbours go with it.
    Down,
    Mtu,
    /// Neighbours go with it.
    Mac,
    Group,
    Alias,
    /// Leads routes of our protocol to the loopback interface.
    Elsewhere,
}

impl Damage {
    pub(super) const ALL: [Self; 8] = [
        Self::Routes,
        Self::Neighbours,
        Self::Down,
        Self::Mtu,
        Self::Mac,
        Self::Group,
        Self::Alias,
        Self::Elsewhere,
    ];
}

/// The host and some pods' namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) host: Namespace,
    pub(super) permits: BTreeSet<(u32, IpAddr)>,
    pub(super) translations: Vec<Translation>,
    pub(super) pods: Vec<Namespace>,
}

impl Kernel {
    pub(super) fn new(pods: usize) -> Self {
        let lo = Link {
            index: 1,
            mac: Mac([0; 6]),
            mtu: 65_536,
            up: false,
            group: 0,
            alias: None,
            peer: (None, "lo".to_owned(), 1),
        };
        let mut empty = Namespace::default();
        empty.links.insert("lo".to_owned(), lo);
        Self {
            host: empty.clone(),
            permits: BTreeSet::new(),
            translations: Vec::new(),
            pods: vec![empty; pods],
        }
    }

    pub(super) fn attach(
        &mut self,
        steps: &[Step],
        netns: usize,
        fault: Fault,
    ) -> Result<(), AttachFailure> {
        let mut done = 0;
        for datagram in datagrams(steps) {
            let mut refused = None;
            for step in datagram {
                if fault == Fault::Socket(done) {
                    let reached = done + 1;
                    return Err(AttachFailure { error: PodError::Netlink(Errno(EIO)), reached });
                }
                let outcome =
                    if fault == Fault::Step(done) { Err(EIO) } else { self.apply(step, netns) };
                done += 1;
                if let Err(errno) = outcome {
                    refused.get_or_insert((step, errno));
                }
            }
            if let Some((step, errno)) = refused {
                let error = match step {
                    Step::CreatePair { inside, .. } if self.has(netns, &inside.name) => {
                        PodError::IfnameTaken(inside.name.clone())
                    }
                    step => refusal(step, errno),
                };
                let reached = if step.stage() == Stage::Pair { 0 } else { done };
                return Err(AttachFailure { error, reached });
            }
        }
        Ok(())
    }

    pub(super) fn cut(&mut self, steps: &[Step], fault: Fault) -> Result<(), PodError> {
        let mut outcome = Ok(());
        for (number, step) in steps.iter().enumerate() {
            assert!(
                matches!(step.stage(), Stage::Host | Stage::Guard),
                "{step} is not on the host's side"
            );
            if fault == Fault::Socket(number) {
                return Err(PodError::Netlink(Errno(EIO)));
            }
            if fault == Fault::Step(number) {
                outcome = Err(refusal(step, EIO));
            } else {
                self.apply(step, usize::MAX).unwrap();
            }
        }
        outcome
    }

    /// Carries out what puts things right.
    pub(super) fn mend(&mut self, steps: &[Step], fault: Fault) -> Result<(), PodError> {
        let mut outcome = Ok(());
        for (number, step) in steps.iter().enumerate() {
            assert!(matches!(step.stage(), Stage::Host | Stage::Settings), "{step}");
            if fault == Fault::Socket(number) {
                return Err(PodError::Netlink(Errno(EIO)));
            }
            let done =
                if fault == Fault::Step(number) { Err(EIO) } else { self.apply(step, usize::MAX) };
            if let (Ok(()), Err(errno)) = (&outcome, done) {
                outcome = Err(refusal(step, errno));
            }
        }
        outcome
    }

    /// Another program changes something of the pod on the host.
    pub(super) fn damage(&mut self, wiring: &Wiring, damage: Damage) {
        let index = wiring.host.index;
        let prefixes: Vec<_> = wiring.lease.iter().map(Prefix::host).collect();
        let Some(link) = self.host.links.values_mut().find(|link| link.index == index) else {
            return;
        };
        match damage {
            Damage::Routes => self.host.routes.retain(|(to, ..)| !prefixes.contains(to)),
            Damage::Neighbours => self.host.neighbours.retain(|(on, ..)| *on != index),
            Damage::Down => {
                link.up = false;
                self.host.routes.retain(|(_, on, _)| *on != index);
                self.host.neighbours.retain(|(on, ..)| *on != index);
            }
            Damage::Mtu => link.mtu = 1400,
            Damage::Mac => {
                link.mac = Mac([2, 0, 0, 0, 0, 9]);
                self.host.neighbours.retain(|(on, ..)| *on != index);
            }
            Damage::Group => link.group = 0,
            Damage::Alias => link.alias = None,
            Damage::Elsewhere => {
                self.host.routes.retain(|(to, ..)| !prefixes.contains(to));
                self.host.routes.extend(prefixes.iter().map(|to| (*to, 1, None)));
            }
        }
    }

    /// Deletes every pair in the doomed group.
    pub(super) fn sweep(&mut self) {
        let doomed = |link: &&Link| link.group == GROUP_DOOMED;
        let doomed: Vec<_> = self.host.links.values().filter(doomed).cloned().collect();
        for link in doomed {
            self.delete(None, link.index);
            if let (Some(netns), _, index) = link.peer {
                self.delete(Some(netns), index);
            }
        }
    }

    /// The pod's namespace goes away, and its end of the pair with it.
    pub(super) fn drop_namespace(&mut self, netns: usize) {
        let peers: Vec<_> = self.pods[netns].links.values().map(|link| link.peer.clone()).collect();
        for (_, name, index) in peers {
            if self.host.links.get(&name).is_some_and(|link| link.peer.0 == Some(netns)) {
                self.delete(None, index);
            }
        }
        self.pods[netns] = Self::new(1).host;
    }

    fn has(&self, netns: usize, name: &str) -> bool {
        self.pods[netns].links.contains_key(name)
    }

    pub(super) fn survey(&self) -> Vec<LinkSeen> {
        self.host.links.iter().map(seen).collect()
    }

    pub(super) fn picture(&self, wiring: &Wiring, netns: usize) -> Picture {
        let inside = &self.pods[netns];
        let own = inside.links.get(&wiring.inside.name).map_or(0, |link| link.index);
        Picture {
            permitted: Some(
                wiring
                    .lease
                    .iter()
                    .filter(|address| self.permits.contains(&(wiring.host.index, *address)))
                    .collect(),
            ),
            inside: inside.links.iter().map(seen).collect(),
            addresses: inside
                .addresses
                .iter()
                .filter(|(index, _)| *index == own)
                .map(|(_, address)| AddressSeen {
                    address: *address,
                    len: Prefix::host(*address).len(),
                    tentative: false,
                    duplicate: false,
                })
                .collect(),
            routes: inside.routes.iter().filter(|(_, index, _)| *index == own).map(route).collect(),
            neighbours: neighbours(inside, own),
            ..self.picture_on_host(wiring)
        }
    }

    pub(super) fn picture_on_host(&self, wiring: &Wiring) -> Picture {
        let host = |address| {
            let prefix = Prefix::host(address);
            self.host.routes.iter().find(|(to, ..)| *to == prefix).map(route)
        };
        Picture {
            host: self.host.links.iter().find(|(_, l)| l.index == wiring.host.index).map(seen),
            host_routes: wiring.lease.iter().filter_map(host).collect(),
            host_neighbours: neighbours(&self.host, wiring.host.index),
            forwarding: Family::ALL.map(|family| (family, true)).into(),
            ..Picture::default()
        }
    }

    fn apply(&mut self, step: &Step, netns: usize) -> Result<(), i32> {
        match step {
            Step::CreatePair { host, inside, mtu } => {
                let taken = |space: &Namespace, end: &LinkEnd| {
                    space.links.contains_key(&end.name)
                        || space.links.values().any(|link| link.index == end.index)
                };
                if taken(&self.host, host) || taken(&self.pods[netns], inside) {
                    return Err(EEXIST);
                }
                let link = |end: &LinkEnd, group, peer| Link {
                    index: end.index,
                    mac: end.mac,
                    mtu: *mtu,
                    up: false,
                    group,
                    alias: None,
                    peer,
                };
                let to_pod = (Some(netns), inside.name.clone(), inside.index);
                let to_host = (None, host.name.clone(), host.index);
                self.host.links.insert(host.name.clone(), link(host, GROUP_LIVE, to_pod));
                self.pods[netns].links.insert(inside.name.clone(), link(inside, 0, to_host));
            }
            Step::Label { name, alias } => {
                self.host.links.get_mut(name).ok_or(ENODEV)?.alias = Some(alias.clone());
            }
            Step::Neighbour { on, address, mac } => {
                let (space, index) = match on {
                    End::Host(index) => (&mut self.host, index),
                    End::Inside(index) => (&mut self.pods[netns], index),
                };
                up(space, *index)?;
                space.neighbours.insert((*index, *address, *mac));
            }
            Step::HostRoute { index, address, .. } => {
                add_route(&mut self.host, Prefix::host(*address), *index, None)?;
            }
            Step::Permit { permits, .. } => self.permits.extend(permits),
            Step::Forbid { index, addresses } => {
                self.permits.retain(|(on, from)| on != index && !addresses.contains(from));
            }
            Step::LoopbackUp => self.pods[netns].links.get_mut("lo").unwrap().up = true,
            Step::LinkUp { on } => {
                let (space, index) = match on {
                    End::Host(index) => (&mut self.host, index),
                    End::Inside(index) => (&mut self.pods[netns], index),
                };
                let mut links = space.links.values_mut();
                links.find(|link| link.index == *index).ok_or(ENODEV)?.up = true;
            }
            Step::Address { index, address, .. } => {
                self.pods[netns].addresses.insert((*index, *address));
            }
            Step::GatewayRoute { index, gateway } => {
                // Beside that of another interface.
                up(&self.pods[netns], *index)?;
                self.pods[netns].routes.insert((Prefix::host(*gateway), *index, None));
            }
            Step::Route { index, destination, gateway } => {
                add_route(&mut self.pods[netns], *destination, *index, Some(*gateway))?;
            }
            Step::DefaultRoute { index, gateway } => {
                let everything = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
                let everything = everything.parse().unwrap();
                add_route(&mut self.pods[netns], everything, *index, Some(*gateway))?;
            }
            Step::AwaitCarrier { index } => up(&self.pods[netns], *index)?,
            Step::AwaitAddress { address } => {
                let mut addresses = self.pods[netns].addresses.iter();
                addresses.find(|(_, own)| own == address).ok_or(ENODEV)?;
            }
            Step::RemoveHostRoute { index, address, .. } => {
                self.host.routes.remove(&(Prefix::host(*address), *index, None));
            }
            Step::Adjust { index, to } => {
                let found = self.host.links.iter().find(|(_, link)| link.index == *index);
                let name = found.ok_or(ENODEV)?.0.clone();
                if let Adjustment::Name(to) = to {
                    let link = self.host.links.remove(&name).ok_or(ENODEV)?;
                    self.host.links.insert(to.clone(), link);
                    return Ok(());
                }
                let link = self.host.links.get_mut(&name).ok_or(ENODEV)?;
                match to {
                    Adjustment::Name(_) => {}
                    Adjustment::Group => link.group = GROUP_LIVE,
                    Adjustment::Mtu(mtu) => link.mtu = *mtu,
                    Adjustment::Mac(mac) => {
                        link.mac = *mac;
                        self.host.neighbours.retain(|(on, ..)| on != index);
                    }
                }
            }
            Step::MoveHostRoute { index, address, .. } => {
                let prefix = Prefix::host(*address);
                self.host.routes.retain(|(to, ..)| *to != prefix);
                add_route(&mut self.host, prefix, *index, None)?;
            }
            Step::Set { .. } => {}
            Step::Doom { name } => {
                if let Some(link) = self.host.links.get_mut(name) {
                    link.group = GROUP_DOOMED;
                }
            }
        }
        Ok(())
    }

    fn delete(&mut self, netns: Option<usize>, index: u32) {
        let space = netns.map_or(&mut self.host, |netns| &mut self.pods[netns]);
        space.links.retain(|_, link| link.index != index);
        space.addresses.retain(|(on, _)| *on != index);
        space.routes.retain(|(_, on, _)| *on != index);
        space.neighbours.retain(|(on, ..)| *on != index);
    }
}

fn up(space: &Namespace, index: u32) -> Result<(), i32> {
    space.links.values().find(|link| link.index == index && link.up).map(|_| ()).ok_or(ENODEV)
}

fn add_route(
    space: &mut Namespace,
    prefix: Prefix,
    index: u32,
    via: Option<IpAddr>,
) -> Result<(), i32> {
    up(space, index)?;
    if space.routes.iter().any(|(to, ..)| *to == prefix) {
        return Err(EEXIST);
    }
    space.routes.insert((prefix, index, via));
    Ok(())
}

fn refusal(step: &Step, errno: i32) -> PodError {
    PodError::Refused { step: Box::new(step.clone()), errno: Errno(errno), text: None }
}

fn seen((name, link): (&String, &Link)) -> LinkSeen {
    LinkSeen {
        name: name.clone(),
        index: link.index,
        group: link.group,
        veth: name != "lo",
        peer: Some(link.peer.2),
        up: link.up,
        mtu: link.mtu,
        mac: Some(link.mac),
        alias: link.alias.clone(),
        believes_advertisements: false,
        makes_addresses: false,
    }
}

fn route((prefix, index, gateway): &(Prefix, u32, Option<IpAddr>)) -> RouteSeen {
    RouteSeen { prefix: *prefix, index: Some(*index), gateway: *gateway, protocol: 132 }
}

fn neighbours(space: &Namespace, index: u32) -> Vec<NeighbourSeen> {
    let own = space.neighbours.iter().filter(|(on, ..)| *on == index);
    own.map(|(_, address, mac)| NeighbourSeen {
        address: *address,
        mac: Some(*mac),
        permanent: true,
    })
    .collect()
}
