//! NAT outgoing, as a table of rules in the kernel.
//!
//! In: which sources get an address of the node towards which destinations. Out: the table
//! `inet slash32-nat`, kept so. It is asked once a connection; how many ranges there are costs nothing.
//!
//! A table of its own, beside that of the [guard](super::guard): a kernel that cannot translate is no
//! reason to let pods send what they like, and a pod that comes or goes changes nothing here.

use bgp::family::Family;
use nix::errno::Errno;
use routed_core::pod::{
    nat::{Interval, Translation, next},
    step::GROUP_LIVE,
};

use crate::kernel::nft::{
    Batch, GET_TABLE, Nft, NftError,
    expression::{Comparison, Expression as E, Header, Meta, Verdict},
    table::{FAMILY_IPV4, FAMILY_IPV6, Hook, Set, Table, octets},
};

/// The table and what shall be in it.
#[derive(Debug)]
pub struct Nat {
    nft: Nft,
    wanted: Vec<Translation>,
}

/// Why packets are not translated.
#[derive(Debug, thiserror::Error)]
pub enum NatError {
    /// The kernel has no such chains or expressions.
    #[error("nf_tables of this kernel lacks what NAT needs ({0})")]
    Missing(Errno),
    /// Anything else.
    #[error(transparent)]
    Nft(#[from] NftError),
}

impl Nat {
    /// Leaves what is there alone until told what shall be.
    ///
    /// # Errors
    ///
    /// [`NftError`] if nf_tables cannot be used.
    pub fn open() -> Result<Self, NftError> {
        Ok(Self { nft: Nft::open()?, wanted: Vec::new() })
    }

    /// The socket's port, which the kernel names as the source of our own changes.
    ///
    /// # Errors
    ///
    /// [`NftError`].
    pub fn port(&self) -> Result<u32, NftError> {
        self.nft.port()
    }

    /// Puts the table in place, in one step with what takes the place of; without translations there is
    /// none.
    ///
    /// # Errors
    ///
    /// [`NatError`]; the table is as it was.
    pub fn enforce(&mut self, wanted: Vec<Translation>) -> Result<(), NatError> {
        self.wanted = wanted;
        if self.wanted.is_empty() { Ok(self.lift()?) } else { self.restore() }
    }

    /// Puts the table back as it shall be.
    ///
    /// # Errors
    ///
    /// [`NatError`]; the table is as it was.
    pub fn restore(&mut self) -> Result<(), NatError> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        TABLE.renew(&mut batch);
        TABLE.chain(&mut batch, CHAIN, Some(POSTROUTING));
        // To a pod of this node, whatever address another plugin may have given it.
        let own = GROUP_LIVE.to_ne_bytes();
        let to_pods = [
            E::Meta(Meta::OutGroup, 0),
            E::Compare(Comparison::Equal, &own),
            E::Verdict(Verdict::Accept),
        ];
        TABLE.rule(&mut batch, CHAIN, &to_pods);
        for translation in &self.wanted {
            translate(&mut batch, translation);
        }
        self.nft.commit(batch).map_err(|error| match error {
            NftError::Refused {
                errno: errno @ (Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT),
                ..
            } => NatError::Missing(errno),
            error @ (NftError::Refused { .. } | NftError::Socket(_) | NftError::Silent) => {
                error.into()
            }
        })
    }

    /// Shall there be a table?
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Is the table there, whoever has made it?
    ///
    /// # Errors
    ///
    /// [`NftError`].
    pub fn is_there(&mut self) -> Result<bool, NftError> {
        self.nft.exists(GET_TABLE, |attributes| TABLE.named(attributes))
    }

    /// Removes the table, if there is one.
    ///
    /// # Errors
    ///
    /// [`NftError`]; the table is as it was.
    pub fn lift(&mut self) -> Result<(), NftError> {
        self.wanted.clear();
        if !self.is_there()? {
            return Ok(());
        }
        let mut batch = Batch::new();
        TABLE.remove(&mut batch);
        self.nft.commit(batch)
    }
}

/// The sets and the rule of one family.
fn translate(batch: &mut Batch, translation: &Translation) {
    let Translation { family, sources, direct, address } = translation;
    let Layout { nfproto, source, destination, length, own, others } = match family {
        Family::Ipv4Unicast => &IPV4,
        Family::Ipv6Unicast => &IPV6,
    };
    for (set, intervals) in [(own, sources), (others, direct)] {
        TABLE.set(batch, set);
        let intervals: Vec<_> =
            intervals.iter().map(|&(first, last): &Interval| (first, next(last))).collect();
        TABLE.intervals(batch, set, &intervals);
    }
    let mut rule = vec![
        E::Meta(Meta::Family, 0),
        E::Compare(Comparison::Equal, std::slice::from_ref(nfproto)),
        E::Payload(Header::Network, *source, *length, 0),
        E::Lookup(own.name, own.number),
        E::Payload(Header::Network, *destination, *length, 0),
        E::LookupNot(others.name, others.number),
        E::Counter,
    ];
    let address = address.map(octets);
    match &address {
        Some(address) => rule.extend([E::Load(address), E::SourceNat(*nfproto)]),
        None => rule.push(E::Masquerade),
    }
    TABLE.rule(batch, CHAIN, &rule);
}

/// Where addresses stand in a family's header, in octets, and the sets of that family.
struct Layout {
    nfproto: u8,
    source: u32,
    destination: u32,
    length: u32,
    own: Set,
    others: Set,
}

const IPV4: Layout = Layout {
    nfproto: FAMILY_IPV4,
    source: 12,
    destination: 16,
    length: 4,
    own: Set { name: "sources4", number: 1, kind: 7, length: 4, intervals: true },
    others: Set { name: "direct4", number: 2, kind: 7, length: 4, intervals: true },
};
const IPV6: Layout = Layout {
    nfproto: FAMILY_IPV6,
    source: 8,
    destination: 24,
    length: 16,
    own: Set { name: "sources6", number: 3, kind: 8, length: 16, intervals: true },
    others: Set { name: "direct6", number: 4, kind: 8, length: 16, intervals: true },
};

/// Name of our table.
pub const NAME: &str = "slash32-nat";
const TABLE: Table = Table(NAME);
const CHAIN: &str = "postrouting";
/// NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC.
const POSTROUTING: Hook = Hook { kind: "nat", number: 4, priority: 100 };

#[cfg(test)]
mod tests;
