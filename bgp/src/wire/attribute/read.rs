//! Reading path attributes, each flaw classed as RFC 7606 asks.
//!
//! In: the attribute field of an UPDATE. Out: [`Collected`], with what was contained on the way,
//! or the NOTIFICATION for what cannot be. Which attributes must be there is not known here,
//! since it depends on the prefixes of the message.

use std::{mem::take, net::Ipv4Addr};

use bytes::Bytes;

use super::{
    AttrCode, OPTIONAL_BIT, Overrun, PARTIAL_BIT, RawAttr, TRANSITIVE_BIT,
    path::{self, Width},
};
use crate::{
    aspath::{AsPath, Asn},
    attrs::{Aggregator, Attrs, NextHop, Origin, PartialSet, UnknownAttr},
    community::{Community, ExtCommunity, LargeCommunity},
    wire::{Codec, ErrorCode, Fault, Notification, Treatment, octets::Reader},
};

mod multiprotocol;
mod value;

pub(in crate::wire) use multiprotocol::{MpReach, MpUnreach};

/// What one attribute's flaw asks for.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    /// Drop the attribute.
    Discard(&'static str),
    /// Withdraw the message's routes, or close with this error if it has none.
    Withdraw(ErrorCode, &'static str),
    /// Close with this error.
    Reset(ErrorCode),
}

/// Everything that the attributes of a message say.
#[derive(Debug, Default)]
pub(in crate::wire) struct Collected {
    origin: Option<Origin>,
    as_path: Option<AsPath>,
    next_hop: Option<Ipv4Addr>,
    med: Option<u32>,
    local_pref: Option<u32>,
    atomic_aggregate: bool,
    aggregator: Option<Aggregator>,
    communities: Vec<Community>,
    ext_communities: Vec<ExtCommunity>,
    large_communities: Vec<LargeCommunity>,
    originator_id: Option<Ipv4Addr>,
    cluster_list: Vec<Ipv4Addr>,
    otc: Option<Asn>,
    as4_path: Option<AsPath>,
    as4_aggregator: Option<Aggregator>,
    unknown: Vec<UnknownAttr>,
    partial: PartialSet,
    /// MP_REACH_NLRI.
    pub(in crate::wire) reach: Option<MpReach>,
    /// MP_UNREACH_NLRI.
    pub(in crate::wire) unreach: Option<MpUnreach>,
    /// What was contained, in the order of the message.
    pub(in crate::wire) faults: Vec<Fault>,
    /// Set if the routes of the message are to be withdrawn: what to close with instead if it
    /// turns out to have none (RFC 7606 §5.2).
    pub(in crate::wire) withdraw: Option<Notification>,
    seen: CodeSet,
    repeated: CodeSet,
}

impl Collected {
    /// Reads the whole field into an empty value, which is too large to be handed around.
    pub(in crate::wire) fn read(
        &mut self,
        field: &[u8],
        codec: &Codec,
    ) -> Result<(), Notification> {
        let mut field = Reader::new(field);
        while !field.is_empty() {
            match RawAttr::take(&mut field) {
                Ok(raw) => self.add(&raw, codec)?,
                Err(overrun) => return self.overrun(&overrun),
            }
        }
        Ok(())
    }

    /// Notes that attributes without which prefixes mean nothing are missing (RFC 7606 §3 d).
    /// NEXT_HOP is one only for the prefixes of the NLRI field.
    pub(in crate::wire) fn require(&mut self, next_hop: bool) -> Result<(), Notification> {
        let next_hop = next_hop.then_some(AttrCode::NEXT_HOP);
        for code in [AttrCode::ORIGIN, AttrCode::AS_PATH].into_iter().chain(next_hop) {
            if !self.seen.contains(code) {
                let flaw = Flaw::Withdraw(ErrorCode::MISSING_WELL_KNOWN, "missing");
                self.contain(code, &[], flaw)?;
            }
        }
        Ok(())
    }

    /// True if MP_UNREACH_NLRI is the only attribute.
    pub(in crate::wire) fn only_unreach(&self) -> bool {
        self.seen.0.iter().map(|word| word.count_ones()).sum::<u32>() == 1 && self.unreach.is_some()
    }

    /// NEXT_HOP.
    pub(in crate::wire) fn next_hop(&self) -> Option<NextHop> {
        self.next_hop.map(|addr| NextHop::new(addr.into()))
    }

    /// The attributes of the message's routes; `None` if ORIGIN or AS_PATH is missing.
    pub(in crate::wire) fn take_attrs(&mut self, next_hop: NextHop) -> Option<Attrs> {
        self.merge_four_octet();
        Some(Attrs {
            weight: 0,
            origin: self.origin?,
            as_path: self.as_path.take()?,
            next_hop,
            med: self.med,
            local_pref: self.local_pref,
            atomic_aggregate: self.atomic_aggregate,
            aggregator: self.aggregator,
            communities: take(&mut self.communities),
            ext_communities: take(&mut self.ext_communities),
            large_communities: take(&mut self.large_communities),
            originator_id: self.originator_id,
            cluster_list: take(&mut self.cluster_list),
            otc: self.otc,
            unknown: take(&mut self.unknown),
            partial: self.partial,
        })
    }

    /// Puts AS4_PATH and AS4_AGGREGATOR of a 2-octet speaker in their place (RFC 6793 §4.2.3).
    fn merge_four_octet(&mut self) {
        match (self.aggregator, self.as4_aggregator) {
            // Someone who knows no four-octet numbers has aggregated since: both are outdated.
            (Some(aggregator), Some(_)) if aggregator.asn != Asn::TRANS => return,
            (Some(_), Some(as4_aggregator)) => self.aggregator = Some(as4_aggregator),
            (None, Some(_)) | (_, None) => {}
        }
        if let Some(as4_path) = &self.as4_path {
            self.as_path = self.as_path.take().map(|path| path::merged(path, as4_path));
        }
    }

    /// One attribute, whose extent is certain.
    fn add(&mut self, raw: &RawAttr<'_>, codec: &Codec) -> Result<(), Notification> {
        let RawAttr { flags, code, value, octets } = *raw;
        let flaw = if self.seen.insert(code) {
            self.parse(flags, code, value, codec).err()
        } else if is_multiprotocol(code) {
            Some(Flaw::Reset(ErrorCode::MALFORMED_ATTRIBUTE_LIST))
        } else {
            // Told once, or a message full of repeats would fill the log.
            let first_repeat = self.repeated.insert(code);
            first_repeat.then_some(Flaw::Discard("repeated; the first one counts"))
        };
        flaw.map_or(Ok(()), |flaw| self.contain(code, octets, flaw))
    }

    fn overrun(&mut self, overrun: &Overrun<'_>) -> Result<(), Notification> {
        let Overrun { code, octets } = *overrun;
        let flaw = if is_multiprotocol(code) {
            // The prefixes inside cannot be found, so nothing could be withdrawn (RFC 7606 §3 j).
            INCORRECT
        } else {
            Flaw::Withdraw(ErrorCode::ATTRIBUTE_LENGTH, "overruns the attribute field")
        };
        self.contain(code, octets, flaw)
    }

    fn contain(
        &mut self,
        attribute: AttrCode,
        octets: &[u8],
        flaw: Flaw,
    ) -> Result<(), Notification> {
        // Copied, or it would hold the whole message in memory.
        let octets = Bytes::copy_from_slice(octets);
        let (treatment, reason) = match flaw {
            Flaw::Discard(reason) => (Treatment::DiscardAttribute, reason),
            Flaw::Withdraw(error, reason) => {
                self.withdraw.get_or_insert_with(|| Notification::new(error, octets.clone()));
                (Treatment::TreatAsWithdraw, reason)
            }
            Flaw::Reset(error) => return Err(Notification::new(error, octets)),
        };
        self.faults.push(Fault { treatment, attribute, reason, octets });
        Ok(())
    }

    /// Reads one attribute that has not been seen before: the table of RFC 7606 §7.
    fn parse(
        &mut self,
        flags: u8,
        code: AttrCode,
        value: &[u8],
        codec: &Codec,
    ) -> Result<(), Flaw> {
        refuse_by_sender(code, codec)?;
        let Some(expected) = code.flags() else { return self.parse_unknown(flags, code, value) };
        if flags & (OPTIONAL_BIT | TRANSITIVE_BIT) != expected {
            return Err(conflicting_flags(code));
        }
        let width = Width::of(codec.four_octet_as);
        match code {
            AttrCode::ORIGIN => self.origin = Some(value::origin(value)?),
            AttrCode::AS_PATH => self.as_path = Some(value::as_path(value, width)?),
            AttrCode::NEXT_HOP => self.next_hop = Some(value::address(value)?),
            AttrCode::MULTI_EXIT_DISC => self.med = Some(value::number(value)?),
            AttrCode::LOCAL_PREF => self.local_pref = Some(value::number(value)?),
            AttrCode::ATOMIC_AGGREGATE if value.is_empty() => self.atomic_aggregate = true,
            AttrCode::ATOMIC_AGGREGATE => return Err(Flaw::Discard("length is not 0")),
            AttrCode::AGGREGATOR => self.aggregator = Some(value::aggregator(value, width)?),
            AttrCode::COMMUNITIES => self.communities = value::sorted(value, value::community)?,
            AttrCode::ORIGINATOR_ID => self.originator_id = Some(value::address(value)?),
            AttrCode::CLUSTER_LIST => self.cluster_list = value::entries(value, Ipv4Addr::from)?,
            AttrCode::MP_REACH_NLRI => {
                self.reach = Some(MpReach::read(value, codec).ok_or(INCORRECT)?);
            }
            AttrCode::MP_UNREACH_NLRI => {
                self.unreach = Some(MpUnreach::read(value, codec).ok_or(INCORRECT)?);
            }
            AttrCode::EXT_COMMUNITIES => {
                self.ext_communities = value::sorted(value, ExtCommunity)?;
            }
            AttrCode::AS4_PATH => self.as4_path = Some(value::as4_path(value)?),
            AttrCode::AS4_AGGREGATOR => {
                self.as4_aggregator = Some(value::aggregator(value, Width::Four)?);
            }
            AttrCode::IPV6_EXT_COMMUNITIES => {
                value::entries(value, |_: [u8; 20]| ())?;
                self.keep(code, value);
            }
            AttrCode::LARGE_COMMUNITY => {
                self.large_communities = value::sorted(value, value::large_community)?;
            }
            AttrCode::OTC => self.otc = Some(Asn(value::number(value)?)),
            AttrCode(_) => return self.parse_unknown(flags, code, value),
        }
        if flags & PARTIAL_BIT != 0 {
            self.partial.insert(code.partial());
        }
        Ok(())
    }

    /// An attribute that this speaker does not know (RFC 4271 §5, §9).
    ///
    /// RFC 7606 leaves an unrecognized well-known attribute a session reset (RFC 4271 §6.3,
    /// 3/2): its §3 eases only what it lists, and nobody but the direct peer can have sent one.
    fn parse_unknown(&mut self, flags: u8, code: AttrCode, value: &[u8]) -> Result<(), Flaw> {
        if flags & OPTIONAL_BIT == 0 {
            return Err(Flaw::Reset(ErrorCode::UNRECOGNIZED_WELL_KNOWN));
        }
        if flags & TRANSITIVE_BIT != 0 {
            self.keep(code, value);
        }
        Ok(())
    }

    /// Keeps a value to be passed on. Copied, or it would hold the whole message in memory.
    fn keep(&mut self, code: AttrCode, value: &[u8]) {
        let place = self.unknown.partition_point(|other| other.code < code.0);
        let value = Bytes::copy_from_slice(value);
        self.unknown.insert(place, UnknownAttr { code: code.0, value });
    }
}

const fn is_multiprotocol(code: AttrCode) -> bool {
    matches!(code, AttrCode::MP_REACH_NLRI | AttrCode::MP_UNREACH_NLRI)
}

/// Attributes that this peer must not send, whatever they hold (RFC 7606 §7.5, §7.9, §7.10;
/// RFC 6793 §6).
fn refuse_by_sender(code: AttrCode, codec: &Codec) -> Result<(), Flaw> {
    match code {
        AttrCode::LOCAL_PREF | AttrCode::ORIGINATOR_ID | AttrCode::CLUSTER_LIST
            if codec.external =>
        {
            Err(Flaw::Discard("not allowed from an external peer"))
        }
        AttrCode::AS4_PATH | AttrCode::AS4_AGGREGATOR if codec.four_octet_as => {
            Err(Flaw::Discard("not allowed from a peer that speaks 4-octet AS numbers"))
        }
        AttrCode(_) => Ok(()),
    }
}

/// RFC 7606 §3 c; for the multiprotocol attributes §5.3 says that they are then incorrect.
const fn conflicting_flags(code: AttrCode) -> Flaw {
    if is_multiprotocol(code) {
        return INCORRECT;
    }
    let reason = "Optional or Transitive bit conflicts with the attribute";
    Flaw::Withdraw(ErrorCode::ATTRIBUTE_FLAGS, reason)
}

/// A set of type codes.
#[derive(Debug, Default)]
struct CodeSet([u64; 4]);

impl CodeSet {
    /// False if it was in already.
    fn insert(&mut self, code: AttrCode) -> bool {
        let new = !self.contains(code);
        self.0[usize::from(code.0 >> 6)] |= 1 << (code.0 & 63);
        new
    }

    fn contains(&self, code: AttrCode) -> bool {
        self.0[usize::from(code.0 >> 6)] & 1 << (code.0 & 63) != 0
    }
}

/// A multiprotocol attribute whose prefixes cannot be relied on (RFC 7606 §5.3, RFC 4760 §7).
const INCORRECT: Flaw = Flaw::Reset(ErrorCode::OPTIONAL_ATTRIBUTE);
