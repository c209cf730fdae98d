//! A table of our own in `inet`: its sets, chains and rules as messages of a transaction.
//!
//! In: names and values. Out: messages in a [`Batch`]. Whose table it is and what belongs into it is
//! known by who uses this.

use std::net::IpAddr;

use super::{
    APPEND, Attributes, Batch, CREATE, DELETE_TABLE, LIST_ELEMENT, NEW_CHAIN, NEW_ELEMENT,
    NEW_RULE, NEW_SET, NEW_TABLE,
    expression::{self, DATA_VALUE, Expression},
};

/// A table, by name.
#[derive(Clone, Copy, Debug)]
pub struct Table(pub &'static str);

/// A set.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// Names it within a transaction.
    pub number: u32,
    /// The datatype as the `nft` program knows it, so that it can show the set: 6 bits for each
    /// part, which are 7 (IPv4), 8 (IPv6), 13 (port) and 20 (interface).
    pub kind: u32,
    /// Octets of a key.
    pub length: u32,
    /// Its elements are intervals.
    pub intervals: bool,
}

/// Where packets come into a chain.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// NF_INET_*.
    pub number: u32,
    /// The lowest is first.
    pub priority: i32,
}

impl Table {
    /// Puts an empty one in the place of whatever is there.
    pub fn renew(self, batch: &mut Batch) {
        self.remove(batch);
        batch.message(NEW_TABLE, CREATE, |attributes| self.named(attributes));
    }

    /// Removes it, whether it is there or not.
    pub fn remove(self, batch: &mut Batch) {
        // Made first if it is not there: deleting nothing would be refused.
        batch.message(NEW_TABLE, CREATE, |attributes| self.named(attributes));
        batch.message(DELETE_TABLE, 0, |attributes| self.named(attributes));
    }

    /// What names it, in whatever message.
    pub fn named(self, attributes: &mut Attributes<'_>) {
        attributes.text(1, self.0);
    }

    /// An empty set.
    pub fn set(self, batch: &mut Batch, set: &Set) {
        const INTERVAL: u32 = 4;
        batch.message(NEW_SET, CREATE, |attributes| {
            attributes.text(1, self.0).text(2, set.name);
            attributes.number(3, if set.intervals { INTERVAL } else { 0 });
            attributes.number(4, set.kind).number(5, set.length).number(10, set.number);
        });
    }

    /// A chain; with a hook if packets come in there.
    pub fn chain(self, batch: &mut Batch, name: &str, hook: Option<Hook>) {
        batch.message(NEW_CHAIN, CREATE, |attributes| {
            attributes.text(1, self.0).text(3, name);
            if let Some(Hook { kind, number, priority }) = hook {
                attributes.nested(4, |hook| {
                    hook.number(1, number).number(2, priority.cast_unsigned());
                });
                attributes.text(7, kind);
            }
        });
    }

    /// A rule, behind those that the chain has.
    pub fn rule(self, batch: &mut Batch, chain: &str, expressions: &[Expression<'_>]) {
        batch.message(NEW_RULE, APPEND, |attributes| {
            attributes.text(1, self.0).text(2, chain);
            expression::write(attributes, expressions);
        });
    }

    /// Elements come, or go; `kind` and `flags` say which.
    pub fn elements<K: AsRef<[u8]>>(
        self,
        batch: &mut Batch,
        (kind, flags): (u16, u16),
        set: &Set,
        keys: &[K],
    ) {
        // The length of a list has 16 bits.
        for keys in keys.chunks(KEYS_A_MESSAGE) {
            batch.message(kind, flags, |attributes| self.list(attributes, set, keys));
        }
    }

    /// Elements, by their keys.
    pub fn list<K: AsRef<[u8]>>(self, attributes: &mut Attributes<'_>, set: &Set, keys: &[K]) {
        attributes.text(1, self.0).text(2, set.name).nested(3, |list| {
            for key in keys {
                element(list, key.as_ref(), false);
            }
        });
    }

    /// Intervals, each by its first address and the first behind it, which there is none of at the end
    /// of all addresses.
    pub fn intervals(self, batch: &mut Batch, set: &Set, intervals: &[(IpAddr, Option<IpAddr>)]) {
        for intervals in intervals.chunks(KEYS_A_MESSAGE / 2) {
            batch.message(NEW_ELEMENT, CREATE, |attributes| {
                attributes.text(1, self.0).text(2, set.name).nested(3, |list| {
                    for (first, behind) in intervals {
                        element(list, &octets(*first), false);
                        if let Some(behind) = behind {
                            element(list, &octets(*behind), true);
                        }
                    }
                });
            });
        }
    }
}

fn element(list: &mut Attributes<'_>, key: &[u8], ends: bool) {
    const FLAGS: u16 = 3;
    const INTERVAL_END: u32 = 1;
    list.nested(LIST_ELEMENT, |element| {
        element.nested(1, |value| {
            value.octets(DATA_VALUE, key);
        });
        if ends {
            element.number(FLAGS, INTERVAL_END);
        }
    });
}

/// An address as it stands in packets.
#[must_use]
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// NFPROTO_IPV4.
pub const FAMILY_IPV4: u8 = 2;
/// NFPROTO_IPV6.
pub const FAMILY_IPV6: u8 = 10;
/// Of at most 32 octets each.
const KEYS_A_MESSAGE: usize = 1000;
