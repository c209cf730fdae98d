//! What the kernel drops without a word: routes whose interface goes down, and those whose group goes.
//!
//! In: that an interface or a group is lost, or a group is there. Out: entries that know it, and doubt
//! where only a full picture tells.

use std::collections::BTreeMap;

use bgp::family::Family;

use super::{
    super::{
        entry::Entry,
        next_hop::NextHopId,
        route::{Hop, RouteKey, Target},
    },
    Reconciler, Want,
};

impl Reconciler {
    /// An interface went down or away: with it, and in silence, the kernel drops the IPv4 routes
    /// that have no hop through an interface that is still up.
    pub(in crate::fib) fn link_lost(&mut self, ifindex: u32, up: impl Fn(u32) -> bool) {
        let alive = |hop: &Hop| hop.ifindex != ifindex && up(hop.ifindex);
        let lost = |key: &RouteKey, target: &Target| {
            let hops = target.hops();
            key.prefix.family() == Family::Ipv4Unicast
                && !hops.is_empty()
                && !hops.iter().any(alive)
        };
        for key in &self.flights {
            // Done before or after the loss? The answer does not tell.
            let entry = self.entries.get_mut(key);
            if let Some(flight) = entry.and_then(|entry| entry.flight.as_mut()) {
                flight.disturbed |= flight.deed.target().is_some_and(|target| lost(key, target));
            }
        }
        if !self.users.contains_key(&ifindex) {
            return;
        }
        self.doubt = true;
        let had = |entry: &Entry, key| entry.have.as_ref().is_some_and(|have| lost(key, have));
        let keys: Vec<_> = self
            .entries
            .iter()
            .filter(|(key, entry)| had(entry, key))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.change(key, |entry| entry.have = None);
        }
    }

    /// A group is in the kernel: routes may name it.
    pub(in crate::fib) fn group_there(&mut self, id: NextHopId) {
        self.groups.insert(id);
        for key in self.blocked.remove(&id).unwrap_or_default() {
            self.enqueue(key);
        }
    }

    /// Groups are no longer in the kernel, which has dropped the routes that named them in silence; of
    /// each whether somebody has deleted it.
    pub(in crate::fib) fn groups_gone(&mut self, gone: &BTreeMap<NextHopId, bool>) {
        if gone.is_empty() {
            return;
        }
        self.groups.retain(|id| !gone.contains_key(id));
        let of = |target: &Target| target.group().and_then(|id| gone.get(&id));
        for key in &self.flights {
            // Done before or after the loss? The answer does not tell.
            let entry = self.entries.get_mut(key);
            if let Some(flight) = entry.and_then(|entry| entry.flight.as_mut()) {
                flight.disturbed |= flight.deed.target().and_then(of).is_some();
            }
        }
        let concerned = |entry: &Entry| {
            let have = entry.have.as_ref().and_then(of);
            let wants = matches!(&entry.want, Want::Target(target) if of(target).is_some());
            (wants || have.is_some()).then_some(have.copied())
        };
        let entries = self.entries.iter();
        let found: Vec<_> =
            entries.filter_map(|(key, entry)| Some((*key, concerned(entry)?))).collect();
        for (key, by_hand) in found {
            match by_hand {
                None => self.change(key, |_| ()),
                Some(true) => self.foreign_hand_found(key, None),
                Some(false) => self.change(key, |entry| entry.have = None),
            }
        }
    }
}
