//! The guard: what pods may send, as a table of rules in the kernel.
//!
//! In: which interface may send from which addresses, and which ports of the node are closed to
//! pods. Out: the table `inet slash32`, kept so. Two set look-ups a packet at most, however many
//! pods there are.
//!
//! Every packet that comes in through an interface of the pods' link group must have a source
//! address that is permitted there; router and neighbour discovery is dropped, which nobody here
//! needs (neighbours are permanent), and so is everything from interfaces that are being deleted.
//! Remembers what it was told, so that it can put the table back when somebody has touched it.

use std::{collections::BTreeSet, net::IpAddr};

use nix::errno::Errno;
use routed_core::{
    ipam::Lease,
    pod::step::{GROUP_DOOMED, GROUP_LIVE},
};

use crate::kernel::nft::{
    Batch, CREATE, DELETE_ELEMENT, GET_ELEMENT, GET_TABLE, NEW_ELEMENT, Nft, NftError,
    expression::{Comparison, Expression, Header, Meta, Verdict},
    table::{FAMILY_IPV4, FAMILY_IPV6, Hook, Set, Table, octets},
};

/// Which interface may send from which address.
pub type Permit = (u32, IpAddr);

/// The table and what shall be in it.
#[derive(Debug)]
pub struct Guard {
    nft: Nft,
    permits: BTreeSet<Permit>,
    /// Still in the table, of interfaces that are gone.
    stale: Vec<Permit>,
    closed_ports: BTreeSet<u16>,
    /// The table is ours to keep.
    on: bool,
}

impl Guard {
    /// With no table yet. Leaves what is there alone until told what shall be.
    ///
    /// # Errors
    ///
    /// [`NftError`] if nf_tables cannot be used.
    pub fn open() -> Result<Self, NftError> {
        let (permits, closed_ports) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { nft: Nft::open()?, permits, stale: Vec::new(), closed_ports, on: false })
    }

    /// The socket's port, which the kernel names as the source of our own changes.
    ///
    /// # Errors
    ///
    /// [`NftError`].
    pub fn port(&self) -> Result<u32, NftError> {
        self.nft.port()
    }

    /// Puts the table in place, in one step with what takes the place of.
    ///
    /// # Errors
    ///
    /// [`NftError`]; the table is as it was.
    pub fn enforce(
        &mut self,
        permits: impl IntoIterator<Item = Permit>,
        closed_ports: impl IntoIterator<Item = u16>,
    ) -> Result<(), NftError> {
        self.permits = permits.into_iter().collect();
        self.closed_ports = closed_ports.into_iter().collect();
        self.on = true;
        self.restore()
    }

    /// Removes the table, if there is one.
    ///
    /// # Errors
    ///
    /// [`NftError`]; the table is as it was.
    pub fn lift(&mut self) -> Result<(), NftError> {
        self.on = false;
        self.permits.clear();
        self.stale.clear();
        let mut batch = Batch::new();
        TABLE.remove(&mut batch);
        self.nft.commit(batch)
    }

    /// Puts the table back as it shall be.
    ///
    /// # Errors
    ///
    /// [`NftError`]; the table is as it was.
    pub fn restore(&mut self) -> Result<(), NftError> {
        if !self.on {
            return Ok(());
        }
        let mut batch = Batch::new();
        TABLE.renew(&mut batch);
        skeleton(&mut batch);
        let permits: Vec<_> = self.permits.iter().copied().collect();
        elements(&mut batch, NEW_ELEMENT, CREATE, &permits);
        let ports: Vec<_> = self.closed_ports.iter().map(|port| port.to_be_bytes()).collect();
        TABLE.elements(&mut batch, (NEW_ELEMENT, CREATE), &PORTS, &ports);
        self.nft.commit(batch)?;
        self.stale.clear();
        Ok(())
    }

    /// Lets interfaces send from these addresses, and tidies up on the way.
    ///
    /// # Errors
    ///
    /// [`NftError`]; the table is as it was.
    pub fn permit(&mut self, permits: &[Permit]) -> Result<(), NftError> {
        if !self.on {
            return Ok(());
        }
        self.permits.extend(permits);
        let mut batch = Batch::new();
        // First: an index comes back, and what was permitted there before may be permitted again.
        elements(&mut batch, DELETE_ELEMENT, 0, &self.stale);
        elements(&mut batch, NEW_ELEMENT, CREATE, permits);
        self.commit(batch)
    }

    /// The interface is gone: what it may send from is to go with the next change, or when there is time
    /// to [`tidy`](Self::tidy). Is there anything to tidy up?
    pub fn release(&mut self, index: u32) -> bool {
        let gone: Vec<_> = self.permits.range(low(index)..=high(index)).copied().collect();
        for permit in &gone {
            self.permits.remove(permit);
        }
        if self.on {
            self.stale.extend(gone);
        }
        !self.stale.is_empty()
    }

    /// Removes what is left in the table of interfaces that are gone.
    ///
    /// # Errors
    ///
    /// [`NftError`]; the table is as it was.
    pub fn tidy(&mut self) -> Result<(), NftError> {
        if self.stale.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        elements(&mut batch, DELETE_ELEMENT, 0, &self.stale);
        self.commit(batch)
    }

    /// Commits what takes along all that is stale.
    fn commit(&mut self, batch: Batch) -> Result<(), NftError> {
        self.nft.commit(batch).or_else(|error| self.mend(error))?;
        self.stale.clear();
        Ok(())
    }

    /// Takes back whatever the interface may send from, and whoever may send from the addresses.
    ///
    /// # Errors
    ///
    /// [`NftError`]; the table is as it was.
    pub fn forbid(&mut self, index: u32, addresses: &[IpAddr]) -> Result<(), NftError> {
        let of = |permit: &&Permit| permit.0 == index || addresses.contains(&permit.1);
        // Those of the pod's other interfaces are few, but finding them takes a walk; the pod's own
        // are found at once.
        let own: Vec<_> = self.permits.range(low(index)..=high(index)).copied().collect();
        let others = own.len() > addresses.len() || own.is_empty();
        let gone: Vec<_> =
            if others { self.permits.iter().filter(of).copied().collect() } else { own };
        for permit in &gone {
            self.permits.remove(permit);
        }
        if !self.on || gone.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        elements(&mut batch, DELETE_ELEMENT, 0, &gone);
        self.nft.commit(batch).or_else(|error| self.mend(error))
    }

    /// Does the kernel permit this? `None` if the guard is off.
    ///
    /// # Errors
    ///
    /// [`NftError`].
    pub fn permits(&mut self, permit: Permit) -> Result<Option<bool>, NftError> {
        if !self.on {
            return Ok(None);
        }
        let (set, key) = key(permit);
        let found =
            self.nft.exists(GET_ELEMENT, |attributes| TABLE.list(attributes, set, &[key]))?;
        Ok(Some(found))
    }

    /// Is the table there, whoever has made it?
    ///
    /// # Errors
    ///
    /// [`NftError`].
    pub fn is_there(&mut self) -> Result<bool, NftError> {
        self.nft.exists(GET_TABLE, |attributes| TABLE.named(attributes))
    }

    /// Shall there be a table?
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Which of the addresses the table permits; `None` if there is no table. For tools that look
    /// without a daemon.
    ///
    /// # Errors
    ///
    /// [`NftError`].
    pub fn seen(&mut self, index: u32, lease: Lease) -> Result<Option<Vec<IpAddr>>, NftError> {
        if !self.is_there()? {
            return Ok(None);
        }
        let mut permitted = Vec::new();
        for address in lease.iter() {
            let (set, key) = key((index, address));
            if self.nft.exists(GET_ELEMENT, |attributes| TABLE.list(attributes, set, &[key]))? {
                permitted.push(address);
            }
        }
        Ok(Some(permitted))
    }

    /// Something that should be there is not: somebody has touched the table.
    fn mend(&mut self, error: NftError) -> Result<(), NftError> {
        match error {
            NftError::Refused { errno: Errno::ENOENT, .. } => self.restore(),
            error @ (NftError::Refused { .. } | NftError::Socket(_) | NftError::Silent) => {
                Err(error)
            }
        }
    }
}

const fn low(index: u32) -> Permit {
    (index, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

const fn high(index: u32) -> Permit {
    (index, IpAddr::V6(std::net::Ipv6Addr::from_bits(u128::MAX)))
}

const SOURCES_IPV4: Set =
    Set { name: "sources4", number: 1, kind: 20 << 6 | 7, length: 8, intervals: false };
const SOURCES_IPV6: Set =
    Set { name: "sources6", number: 2, kind: 20 << 6 | 8, length: 20, intervals: false };
const PORTS: Set = Set { name: "closed-ports", number: 3, kind: 13, length: 2, intervals: false };

/// Sets, chains and rules.
fn skeleton(batch: &mut Batch) {
    for set in [&SOURCES_IPV4, &SOURCES_IPV6, &PORTS] {
        TABLE.set(batch, set);
    }
    TABLE.chain(batch, FROM_PODS, None);
    TABLE.chain(batch, "prerouting", Some(PREROUTING));
    TABLE.chain(batch, "input", Some(INPUT));
    rules(batch);
}

fn rules(batch: &mut Batch) {
    use Expression as E;
    let (live, doomed) = (GROUP_LIVE.to_ne_bytes(), GROUP_DOOMED.to_ne_bytes());
    let group = |of| [E::Meta(Meta::InGroup, 0), E::Compare(Comparison::Equal, of)];
    let [load, is_live] = group(&live);
    TABLE.rule(batch, "prerouting", &[load, is_live, E::Verdict(Verdict::Goto(FROM_PODS))]);
    let [load, is_doomed] = group(&doomed);
    TABLE.rule(batch, "prerouting", &[load, is_doomed, E::Counter, E::Verdict(Verdict::Drop)]);
    // Router and neighbour discovery: ICMPv6 types 133 to 137 (RFC 4861 §4).
    TABLE.rule(
        batch,
        FROM_PODS,
        &[
            E::Meta(Meta::Family, 0),
            E::Compare(Comparison::Equal, &[FAMILY_IPV6]),
            E::Meta(Meta::Protocol, 0),
            E::Compare(Comparison::Equal, &[ICMPV6]),
            E::Payload(Header::Transport, 0, 1, 0),
            E::Compare(Comparison::AtLeast, &[133]),
            E::Compare(Comparison::AtMost, &[137]),
            E::Counter,
            E::Verdict(Verdict::Drop),
        ],
    );
    for (family, offset, length, set) in
        [(FAMILY_IPV4, 12, 4, &SOURCES_IPV4), (FAMILY_IPV6, 8, 16, &SOURCES_IPV6)]
    {
        TABLE.rule(
            batch,
            FROM_PODS,
            &[
                E::Meta(Meta::Family, 0),
                E::Compare(Comparison::Equal, &[family]),
                E::Meta(Meta::InInterface, 0),
                E::Payload(Header::Network, offset, length, 1),
                E::Lookup(set.name, set.number),
                E::Verdict(Verdict::Accept),
            ],
        );
    }
    TABLE.rule(batch, FROM_PODS, &[E::Counter, E::Verdict(Verdict::Drop)]);
    let [load, is_live] = group(&live);
    TABLE.rule(
        batch,
        "input",
        &[
            load,
            is_live,
            E::Meta(Meta::Protocol, 0),
            E::Compare(Comparison::Equal, &[TCP]),
            E::Payload(Header::Transport, 2, 2, 0),
            E::Lookup(PORTS.name, PORTS.number),
            E::Counter,
            E::Reset,
        ],
    );
}

/// The set and the key of a permit.
fn key((index, address): Permit) -> (&'static Set, Vec<u8>) {
    let set = if address.is_ipv4() { &SOURCES_IPV4 } else { &SOURCES_IPV6 };
    (set, [&index.to_ne_bytes()[..], &octets(address)].concat())
}

fn elements(batch: &mut Batch, kind: u16, flags: u16, permits: &[Permit]) {
    for set in [&SOURCES_IPV4, &SOURCES_IPV6] {
        let of_set = |permit: &Permit| {
            let (own, key) = key(*permit);
            (own.number == set.number).then_some(key)
        };
        let keys: Vec<_> = permits.iter().filter_map(of_set).collect();
        TABLE.elements(batch, (kind, flags), set, &keys);
    }
}

/// Name of our table.
pub const NAME: &str = "slash32";
const TABLE: Table = Table(NAME);
const FROM_PODS: &str = "from-pods";
/// NF_INET_PRE_ROUTING, NF_IP_PRI_RAW: before connections are tracked.
const PREROUTING: Hook = Hook { kind: "filter", number: 0, priority: -300 };
/// NF_INET_LOCAL_IN, NF_IP_PRI_FILTER.
const INPUT: Hook = Hook { kind: "filter", number: 1, priority: 0 };
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

#[cfg(test)]
mod tests;
