//! Reading an UPDATE, and what becomes of its prefixes when something is wrong (RFC 7606).
//!
//! In: the body of one message. Out: what the peer says, or the NOTIFICATION for what cannot be
//! contained.

use std::{iter::repeat_n, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Reach, Update};
use crate::{
    attrs::NextHop,
    family::Family,
    wire::{
        AttrCode, Codec, ErrorCode, Fault, Nlri, Notification, Treatment,
        attribute::read::{Collected, MpReach, MpUnreach},
        nlri,
        octets::Reader,
    },
};

/// Prefixes that share a next hop.
struct Announced {
    family: Family,
    next_hop: NextHop,
    prefixes: Vec<Nlri>,
}

impl Update {
    /// Reads the body.
    ///
    /// # Errors
    ///
    /// What RFC 7606 leaves as a session reset.
    pub(in crate::wire) fn decode(body: &[u8], codec: &Codec) -> Result<Self, Notification> {
        let mut body = Reader::new(body);
        let withdrawn_field = field(&mut body)?;
        let attribute_field = field(&mut body)?;
        let nlri_field = body.rest();
        let empty =
            withdrawn_field.is_empty() && attribute_field.is_empty() && nlri_field.is_empty();
        let withdrawn = ipv4_prefixes(withdrawn_field, codec)?;
        let nlri = ipv4_prefixes(nlri_field, codec)?;
        if attribute_field.is_empty() && nlri.is_empty() && !empty {
            // What only withdraws needs nothing of what follows.
            let mut update = Self { withdrawn, ..Self::default() };
            update.keep_negotiated(codec);
            return Ok(update);
        }
        let mut collected = Collected::default();
        collected.read(attribute_field, codec)?;

        let mp_has_nlri = collected.reach.as_ref().is_some_and(MpReach::has_nlri);
        if !nlri.is_empty() || mp_has_nlri {
            collected.require(!nlri.is_empty())?;
        } else if let Some(reset) = collected.withdraw.take() {
            return Err(reset);
        }
        let mut update = if empty {
            Self { end_of_rib: Some(Family::Ipv4Unicast), ..Self::default() }
        } else {
            Self::assemble(withdrawn, nlri, &mut collected)
        };
        update.keep_negotiated(codec);
        update.ignore_senseless();
        Ok(update)
    }

    /// Puts the prefixes where they belong: announced, or withdrawn if a flaw asks for it.
    fn assemble(withdrawn: Vec<Nlri>, nlri: Vec<Nlri>, collected: &mut Collected) -> Self {
        let mut update = Self { withdrawn, ..Self::default() };
        let only_unreach =
            collected.only_unreach() && update.withdrawn.is_empty() && nlri.is_empty();
        match collected.unreach.take() {
            Some(MpUnreach::Ours { family, prefixes }) => {
                update.end_of_rib = (only_unreach && prefixes.is_empty()).then_some(family);
                update.withdrawn.extend(prefixes);
            }
            Some(MpUnreach::Foreign) | None => {}
        }
        update.faults = std::mem::take(&mut collected.faults);
        let must_withdraw = collected.withdraw.is_some();
        let mut announced = SmallVec::<[Announced; 2]>::new();
        match collected.reach.take() {
            Some(MpReach::Ours { prefixes, .. }) if must_withdraw => {
                update.withdrawn.extend(prefixes);
            }
            Some(MpReach::Ours { family, next_hop, prefixes }) if !prefixes.is_empty() => {
                announced.push(Announced { family, next_hop, prefixes });
            }
            Some(MpReach::Ours { .. } | MpReach::Foreign { .. }) | None => {}
        }
        match collected.next_hop() {
            Some(next_hop) if !must_withdraw && !nlri.is_empty() => {
                announced.push(Announced { family: Family::Ipv4Unicast, next_hop, prefixes: nlri });
            }
            Some(_) | None => update.withdrawn.extend(nlri),
        }
        update.reach = reaches(announced, collected);
        update
    }

    /// Prefixes to which nothing can be routed are not announced but as good as withdrawn
    /// (RFC 4271 §6.3).
    fn ignore_senseless(&mut self) {
        let Self { reach, withdrawn, faults, .. } = self;
        for Reach { prefixes, .. } in &mut *reach {
            if prefixes.iter().all(|nlri| nlri.prefix.is_unicast()) {
                continue;
            }
            withdrawn.extend(prefixes.extract_if(.., |nlri| !nlri.prefix.is_unicast()));
            faults.push(Fault {
                treatment: Treatment::TreatAsWithdraw,
                attribute: AttrCode::NONE,
                reason: "a prefix is multicast, loopback, link-local or unspecified",
                octets: Bytes::new(),
            });
        }
        reach.retain(|reach| !reach.prefixes.is_empty());
    }

    /// Forgets what is about families that were not negotiated.
    fn keep_negotiated(&mut self, codec: &Codec) {
        let ours = |family: Family| codec.families.contains(family);
        self.withdrawn.retain(|nlri| ours(nlri.family()));
        self.reach.retain(|reach| ours(reach.family));
        self.end_of_rib = self.end_of_rib.filter(|family| ours(*family));
    }
}

/// Gives each announcement the attributes with its own next hop.
fn reaches(announced: SmallVec<[Announced; 2]>, collected: &mut Collected) -> Vec<Reach> {
    let Some(first) = announced.first() else { return Vec::new() };
    let Some(attrs) = collected.take_attrs(first.next_hop) else { return Vec::new() };
    let count = announced.len();
    let mut reaches = Vec::with_capacity(count);
    for (one, mut attrs) in announced.into_iter().zip(repeat_n(attrs, count)) {
        let Announced { family, next_hop, prefixes } = one;
        attrs.next_hop = next_hop;
        reaches.push(Reach { family, attrs: Arc::new(attrs), prefixes });
    }
    reaches
}

/// A field with its length in front (RFC 7606 §3 b).
fn field<'m>(body: &mut Reader<'m>) -> Result<&'m [u8], Notification> {
    body.u16()
        .and_then(|len| body.take(len.into()))
        .ok_or_else(|| Notification::new(ErrorCode::MALFORMED_ATTRIBUTE_LIST, Bytes::new()))
}

/// A field whose prefixes cannot be told apart cannot be withdrawn either (RFC 7606 §3 j).
fn ipv4_prefixes(field: &[u8], codec: &Codec) -> Result<Vec<Nlri>, Notification> {
    let family = Family::Ipv4Unicast;
    nlri::read(family, codec.add_path_receive.contains(family), field)
        .map_err(|nlri::BadField| Notification::new(ErrorCode::INVALID_NETWORK_FIELD, Bytes::new()))
}
