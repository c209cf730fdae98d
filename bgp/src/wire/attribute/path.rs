//! AS_PATH and AS4_PATH: segments in 2-octet and 4-octet form (RFC 4271 §4.3, RFC 6793 §4).
//!
//! In: an attribute's value, or a path and the width to write. Out: the path, or what is wrong
//! with it, or octets; and the one path that AS_PATH and AS4_PATH together mean.

use bytes::{BufMut, BytesMut};

use crate::{
    aspath::{AsPath, Asn, Segment, SegmentKind},
    wire::octets::Reader,
};

/// Octets of an AS number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Two,
    Four,
}

impl Width {
    pub(super) const fn of(four_octet_as: bool) -> Self {
        if four_octet_as { Self::Four } else { Self::Two }
    }

    pub(super) fn read(self, octets: &mut Reader<'_>) -> Option<Asn> {
        match self {
            Self::Two => octets.u16().map(|asn| Asn(asn.into())),
            Self::Four => octets.u32().map(Asn),
        }
    }

    pub(super) fn put(self, asn: Asn, out: &mut BytesMut) {
        match self {
            Self::Two => out.put_u16(asn.as_two_octets().unwrap_or(AS_TRANS)),
            Self::Four => out.put_u32(asn.0),
        }
    }
}

/// What is wrong with a path, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadPath {
    /// The octets are no list of segments, or an AS is 0.
    Malformed(&'static str),
    /// A set, which nobody may announce any more (RFC 9774 §3).
    Set(&'static str),
}

impl BadPath {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Malformed(reason) | Self::Set(reason) => reason,
        }
    }
}

/// Reads an AS_PATH. Only sequences are accepted: sets are deprecated (RFC 9774 §3), and this
/// speaker is in no confederation, to whose members alone the others may be sent
/// (RFC 5065 §5).
pub(super) fn as_path(value: &[u8], width: Width) -> Result<AsPath, BadPath> {
    let segments = segments(value, width)?;
    if segments.iter().any(|segment| segment.kind == SegmentKind::ConfedSequence) {
        return Err(BadPath::Malformed("confederation segment from outside a confederation"));
    }
    Ok(joined(segments))
}

/// Reads an AS4_PATH. Confederation sequences are left out (RFC 6793 §6).
pub(super) fn as4_path(value: &[u8]) -> Result<AsPath, BadPath> {
    let mut segments = segments(value, Width::Four)?;
    if segments.is_empty() {
        return Err(BadPath::Malformed("no segment"));
    }
    segments.retain(|segment| segment.kind == SegmentKind::Sequence);
    Ok(joined(segments))
}

/// Every segment, sets refused.
fn segments(value: &[u8], width: Width) -> Result<Vec<Segment>, BadPath> {
    let mut value = Reader::new(value);
    // Nearly every path is one sequence, and is kept for long: no room to spare.
    let mut segments = Vec::with_capacity(1);
    while !value.is_empty() {
        let (Some(kind), Some(count)) = (value.u8(), value.u8()) else {
            return Err(BadPath::Malformed("segment header cut short"));
        };
        let kind = match kind {
            1 => return Err(BadPath::Set("AS_SET is deprecated (RFC 9774)")),
            2 => SegmentKind::Sequence,
            3 => SegmentKind::ConfedSequence,
            4 => return Err(BadPath::Set("AS_CONFED_SET is deprecated (RFC 9774)")),
            _ => return Err(BadPath::Malformed("unknown segment type")),
        };
        if count == 0 {
            return Err(BadPath::Malformed("segment without AS numbers"));
        }
        let mut asns = Vec::with_capacity(count.into());
        for _ in 0..count {
            let asn = width.read(&mut value);
            asns.push(asn.ok_or(BadPath::Malformed("segment overruns the attribute"))?);
        }
        if asns.contains(&Asn(0)) {
            return Err(BadPath::Malformed("AS 0 in the path (RFC 7607)"));
        }
        segments.push(Segment { kind, asns });
    }
    Ok(segments)
}

/// The path with adjacent sequences made one, so that equal paths compare equal however their
/// sender has cut them.
fn joined(segments: Vec<Segment>) -> AsPath {
    if segments.len() <= 1 {
        return AsPath { segments };
    }
    let mut path = AsPath::empty();
    for mut segment in segments {
        match path.segments.last_mut() {
            Some(last) if last.kind == segment.kind => last.asns.append(&mut segment.asns),
            Some(_) | None => path.segments.push(segment),
        }
    }
    path
}

/// The path that a 2-octet speaker means by both attributes: AS4_PATH, preceded by the ASes that
/// have come before it since (RFC 6793 §4.2.3). Both hold sequences only.
pub(super) fn merged(path: AsPath, as4_path: &AsPath) -> AsPath {
    match path.hops().checked_sub(as4_path.hops()) {
        Some(newer) => {
            AsPath::sequence(path.asns().take(newer).chain(as4_path.asns()).map(|asn| asn.0))
        }
        None => path,
    }
}

/// Writes a path; sequences of more than 255 are split.
pub(super) fn put(path: &AsPath, width: Width, out: &mut BytesMut) {
    for segment in &path.segments {
        let kind = match segment.kind {
            SegmentKind::Set => 1,
            SegmentKind::Sequence => 2,
            SegmentKind::ConfedSequence => 3,
            SegmentKind::ConfedSet => 4,
        };
        for asns in segment.asns.chunks(usize::from(u8::MAX)) {
            out.put_u8(kind);
            out.put_u8(u8::try_from(asns.len()).expect("chunks of at most 255"));
            for asn in asns {
                width.put(*asn, out);
            }
        }
    }
}

/// The AS4_PATH that must go with this path to a 2-octet speaker; `None` if every AS fits in
/// two octets (RFC 6793 §4.2.2).
pub(super) fn needed_as4_path(path: &AsPath) -> Option<AsPath> {
    if path.asns().all(|asn| asn.as_two_octets().is_some()) {
        return None;
    }
    let mut as4_path = path.clone();
    as4_path
        .segments
        .retain(|segment| matches!(segment.kind, SegmentKind::Sequence | SegmentKind::Set));
    Some(as4_path)
}

/// [`Asn::TRANS`] in two octets.
const AS_TRANS: u16 = 23_456;
