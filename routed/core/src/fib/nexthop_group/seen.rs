//! What the kernel shows and reports of next-hop objects.

use std::collections::{BTreeMap, BTreeSet};

use super::{NextHopGroups, Support, slot::Slot};
use crate::fib::next_hop::{NextHopChange, NextHopId, NextHopObject, Object};

impl NextHopGroups {
    /// A full picture is asked for.
    pub(in crate::fib) fn dumping(&mut self) {
        self.newer = Some(BTreeSet::new());
    }

    /// Here it is; `None` if the kernel has no such objects. What changed meanwhile is known better.
    pub(in crate::fib) fn adopt(&mut self, picture: Option<Vec<NextHopObject>>) {
        let newer = self.newer.take().unwrap_or_default();
        let first = self.support == Support::Unknown;
        self.support = if picture.is_some() { Support::Yes } else { Support::No };
        let picture = picture.into_iter().flatten().filter(|it| !newer.contains(&it.id));
        let (ours, others): (Vec<_>, Vec<_>) = picture.partition(|it| it.protocol == self.protocol);
        self.others.retain(|id, _| newer.contains(id));
        self.others.extend(others.into_iter().map(|other| (other.id, other.object)));
        let mut ours: BTreeMap<_, _> = ours.into_iter().map(|it| (it.id, it.object)).collect();
        let known = self.slots.keys().copied().filter(|id| !newer.contains(id));
        for id in known.collect::<Vec<_>>() {
            self.found(id, ours.remove(&id), !first);
        }
        for (id, object) in ours {
            self.found(id, Some(object), false);
        }
    }

    /// Somebody else, or the kernel, changed an object. Returns whether routes of others may lead
    /// elsewhere now.
    pub(in crate::fib) fn changed(&mut self, change: NextHopChange, it: NextHopObject) -> bool {
        let NextHopObject { id, protocol, object } = it;
        if let Some(newer) = &mut self.newer {
            newer.insert(id);
        }
        let was_theirs = self.others.remove(&id).is_some();
        let ours = protocol == self.protocol;
        let have = (change == NextHopChange::Present).then_some(object);
        if !ours && let Some(object) = have.clone() {
            self.others.insert(id, object);
        }
        if let Some(flight) = self.slots.get_mut(&id).and_then(|slot| slot.flight.as_mut()) {
            flight.disturbed = true;
        }
        if ours || self.slots.contains_key(&id) {
            // With a group that goes, the kernel drops routes, of which it says nothing; and what we
            // have written since may be answered already.
            self.doubt = true;
            self.found(id, have.filter(|_| ours), true);
        }
        was_theirs || !ours
    }

    /// An interface went down or away, or lost its carrier: with it, and in silence, the kernel has
    /// dropped the hops through it, from groups as well, and groups that have no other.
    pub(in crate::fib) fn link_lost(&mut self, ifindex: u32) {
        let through =
            |object: &Object| matches!(object, Object::Hop(hop) if hop.ifindex == ifindex);
        let lost: BTreeSet<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.objects().any(through))
            .map(|(id, _)| *id)
            .collect();
        let theirs = self.others.len();
        self.others.retain(|_, object| !through(object));
        self.doubt |= theirs != self.others.len() || !lost.is_empty();
        let holds = |object: &Object| match object {
            Object::Group(members) => members.without(|id| lost.contains(&id)).is_some(),
            Object::Hop(_) | Object::Other => false,
        };
        let concerned =
            |(id, slot): &(&NextHopId, &Slot)| lost.contains(id) || slot.objects().any(holds);
        for id in self.slots.iter().filter(concerned).map(|(id, _)| *id).collect::<Vec<_>>() {
            let slot = &self.slots[&id];
            let have = match &slot.have {
                Some(Object::Group(members)) => {
                    members.without(|id| lost.contains(&id)).map_or(slot.have.clone(), |left| {
                        (!left.as_slice().is_empty()).then_some(Object::Group(left))
                    })
                }
                Some(Object::Hop(_) | Object::Other) | None => None,
            };
            // Done before or after the loss? The answer does not tell.
            if let Some(flight) = self.slots.get_mut(&id).and_then(|slot| slot.flight.as_mut()) {
                flight.disturbed = true;
            }
            self.have(id, have, false);
        }
    }

    /// An object is found to be this, whoever made it so and whenever.
    fn found(&mut self, id: NextHopId, have: Option<Object>, by_hand: bool) {
        let before = self.slots.get(&id).and_then(|slot| slot.have.clone());
        if before == have {
            return;
        }
        let wanted = |slot: &Slot| slot.wants(before.as_ref());
        if by_hand && self.slots.get(&id).is_some_and(wanted) {
            self.counters.repaired += 1;
        }
        self.change(id, |slot| slot.trouble = None);
        self.have(id, have, by_hand);
    }
}
