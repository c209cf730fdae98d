//! A batch of changes that all members of a group share: worked out once, encoded once.
//!
//! Nobody is told its own path. So each part says whom it leaves out, and where a best path went
//! from one member to another these two are told apart from the rest.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Told;
use crate::{
    attrs::Attrs,
    family::Family,
    prefix::Prefix,
    rib::{
        Advertisement,
        attrs::{AttrId, AttrTable},
        dense::DestId,
        peer::PeerId,
    },
    wire::{Codec, Nlri, Update},
};

/// See the module.
#[derive(Debug, Default)]
pub struct SharedBatch {
    /// What the group was told before. Each destination has a claim on it.
    before: Vec<(DestId, Option<Told>)>,
    parts: Vec<Part>,
    /// To whom something else is told of these prefixes: new attributes, or that it is gone.
    apart: Vec<(PeerId, Prefix, Option<Arc<Attrs>>)>,
    /// For the codec that asked first; all of a group are mostly alike in this too.
    wire: OnceLock<(Codec, Wire)>,
}

/// Prefixes that are announced with the same attributes, or withdrawn.
#[derive(Debug)]
struct Part {
    /// Whom it does not concern.
    except: Option<PeerId>,
    attrs: Option<Arc<Attrs>>,
    prefixes: Vec<Nlri>,
}

/// Messages for one member, or for all.
#[derive(Clone, Debug, Default)]
struct Wire {
    octets: Bytes,
    /// Consecutive stretches: whom they leave out, where they end, how many messages they are.
    stretches: Vec<(Option<PeerId>, usize, usize)>,
}

impl SharedBatch {
    /// What the group was told before.
    pub(super) fn before(&self) -> impl Iterator<Item = (DestId, Option<&Told>)> {
        self.before.iter().map(|(id, told)| (*id, told.as_ref()))
    }

    /// The destinations on which it has a claim.
    pub(super) fn ids(&self) -> impl Iterator<Item = DestId> {
        self.before.iter().map(|(id, _)| *id)
    }

    /// Is there anything in it for this member?
    pub(super) fn concerns(&self, peer: PeerId) -> bool {
        self.parts.iter().any(|part| part.except != Some(peer))
            || self.apart.iter().any(|(to, ..)| *to == peer)
    }

    /// As a member is told it.
    #[must_use]
    pub fn advertisements(&self, to: PeerId) -> Vec<Advertisement> {
        let parts = self.parts.iter().filter(|part| part.except != Some(to));
        let shared = parts.map(|Part { attrs, prefixes, .. }| match attrs {
            Some(attrs) => {
                Advertisement::Reach { attrs: Arc::clone(attrs), prefixes: prefixes.clone() }
            }
            None => Advertisement::Withdraw(prefixes.clone()),
        });
        shared.chain(self.apart(to)).collect()
    }

    fn apart(&self, to: PeerId) -> impl Iterator<Item = Advertisement> {
        self.apart.iter().filter(move |(peer, ..)| *peer == to).map(|(_, prefix, attrs)| {
            let prefixes = vec![Nlri::from(*prefix)];
            match attrs {
                Some(attrs) => Advertisement::Reach { attrs: Arc::clone(attrs), prefixes },
                None => Advertisement::Withdraw(prefixes),
            }
        })
    }

    /// The UPDATEs for a member: stretches of whole messages with the number of messages in each.
    /// Encoded once for all whose codec is that of the first.
    #[must_use]
    pub fn encode(&self, to: PeerId, codec: &Codec) -> Vec<(Bytes, usize)> {
        let (of, wire) = self.wire.get_or_init(|| (*codec, self.encode_parts(codec)));
        let own;
        let wire = if of == codec {
            wire
        } else {
            own = self.encode_parts(codec);
            &own
        };
        let mut stretches = wire.without(to);
        let apart: Vec<_> = self.apart(to).collect();
        if !apart.is_empty() {
            let mut more = Wire::default();
            let mut octets = BytesMut::new();
            for advertisement in &apart {
                match advertisement {
                    Advertisement::Reach { attrs, prefixes } => {
                        more.put(None, Some(attrs), prefixes, codec, &mut octets);
                    }
                    Advertisement::Withdraw(prefixes) => {
                        more.put(None, None, prefixes, codec, &mut octets);
                    }
                    Advertisement::EndOfRib(_)
                    | Advertisement::RefreshBegin(_)
                    | Advertisement::RefreshEnd(_) => {}
                }
            }
            more.octets = octets.freeze();
            stretches.extend(more.without(to));
        }
        stretches
    }

    fn encode_parts(&self, codec: &Codec) -> Wire {
        let mut wire = Wire::default();
        let mut octets = BytesMut::new();
        for Part { except, attrs, prefixes } in &self.parts {
            wire.put(*except, attrs.as_ref(), prefixes, codec, &mut octets);
        }
        wire.octets = octets.freeze();
        wire
    }
}

impl Wire {
    fn put(
        &mut self,
        except: Option<PeerId>,
        attrs: Option<&Arc<Attrs>>,
        prefixes: &[Nlri],
        codec: &Codec,
        octets: &mut BytesMut,
    ) {
        // An error is one of the caller's: the group is told nothing that its codec cannot write.
        let reach = attrs.map(|attrs| Update::write_reach(attrs, prefixes, codec, octets).ok());
        let messages =
            reach.flatten().unwrap_or_else(|| Update::write_withdraw(prefixes, codec, octets));
        match self.stretches.last_mut() {
            Some((other, end, count)) if *other == except => {
                (*end, *count) = (octets.len(), *count + messages);
            }
            Some(_) | None => self.stretches.push((except, octets.len(), messages)),
        }
    }

    /// All but what leaves out this member, in as few pieces as can be.
    fn without(&self, to: PeerId) -> Vec<(Bytes, usize)> {
        let mut pieces = Vec::new();
        let (mut start, mut begin, mut messages) = (0, 0, 0);
        for (except, end, count) in &self.stretches {
            if *except == Some(to) {
                if start > begin {
                    pieces.push((self.octets.slice(begin..start), messages));
                }
                (begin, messages) = (*end, 0);
            } else {
                messages += count;
            }
            start = *end;
        }
        if start > begin {
            pieces.push((self.octets.slice(begin..start), messages));
        }
        pieces
    }
}

/// A batch being made.
#[derive(Default)]
pub(super) struct Builder {
    batch: SharedBatch,
    /// Those of the batch, still without their attributes.
    parts: Vec<(Key, Vec<Nlri>)>,
    /// The same as in the batch.
    apart: Vec<(PeerId, Prefix, Option<AttrId>)>,
    /// Where in `parts` those of the same attributes stand.
    index: HashMap<Key, usize, RandomState>,
    /// The last one: neighbours mostly have the same.
    last: Option<(Key, usize)>,
}

type Key = (Option<AttrId>, Option<PeerId>, Family);

impl Builder {
    /// Destinations so far.
    pub(super) const fn len(&self) -> usize {
        self.batch.before.len()
    }

    /// At this destination the group is told something else than before.
    pub(super) fn add(&mut self, id: DestId, prefix: Prefix, old: Option<Told>, new: Option<Told>) {
        match (old, new) {
            (Some(old), Some(new)) if old.from != new.from => {
                // Whose path it is now is told nothing more; whose it was hears of it.
                if let Some(now) = new.from() {
                    self.apart.push((now, prefix, None));
                }
                if old.attrs != new.attrs {
                    self.put(new.from(), Some(new.attrs), prefix);
                } else if let Some(was) = old.from() {
                    self.apart.push((was, prefix, Some(new.attrs)));
                }
            }
            (_, Some(new)) => self.put(new.from(), Some(new.attrs), prefix),
            (Some(old), None) => self.put(old.from(), None, prefix),
            (None, None) => {}
        }
        self.batch.before.push((id, old));
    }

    /// The batch, unless it is empty.
    pub(super) fn finish(mut self, table: &AttrTable) -> Option<SharedBatch> {
        if self.batch.before.is_empty() {
            return None;
        }
        let parts = self.parts.into_iter().map(|((attrs, except, _), prefixes)| Part {
            except,
            attrs: attrs.map(|id| table.get(id)),
            prefixes,
        });
        self.batch.parts = parts.collect();
        let apart = self.apart.into_iter();
        let apart = apart.map(|(to, prefix, attrs)| (to, prefix, attrs.map(|id| table.get(id))));
        self.batch.apart = apart.collect();
        // Those of one member side by side: the others are then told few long stretches.
        self.batch.parts.sort_by_key(|part| (part.attrs.is_some(), part.except));
        self.batch.before.shrink_to_fit();
        Some(self.batch)
    }

    fn put(&mut self, except: Option<PeerId>, attrs: Option<AttrId>, prefix: Prefix) {
        let parts = &mut self.parts;
        let key = (attrs, except, prefix.family());
        let at = match self.last {
            Some((last, at)) if last == key => at,
            _ => *self.index.entry(key).or_insert_with(|| {
                parts.push((key, Vec::new()));
                parts.len() - 1
            }),
        };
        self.last = Some((key, at));
        parts[at].1.push(prefix.into());
    }
}
