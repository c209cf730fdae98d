//! `[peers.bfd]`: whether and how the path to a peer is watched by BFD.

use std::{fmt, num::NonZeroU8, path::PathBuf, time::Duration};

use bgp::config::Ttl;
use routed_core::bfd::{Interval, Key, Settings};

use super::Context;
use crate::config::{
    password,
    problem::Problem,
    section::{At, Section},
    value,
};

/// BFD of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bfd {
    /// What the session itself is about.
    pub session: Settings,
    /// How far away the peer is.
    pub reach: Reach,
    /// No BGP session without a BFD session that is Up.
    pub strict: bool,
    /// A failure leads to a graceful restart of the BGP session, if one was agreed on and the
    /// peer's BFD shares the fate of its control plane: routes stay for the restart time.
    pub graceful: bool,
}

/// In a few words. A key is not shown, but another one shows.
impl fmt::Display for Bfd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, reach, strict, graceful } = self;
        let Settings { transmit, receive, detect_mult, passive, key } = session;
        let millis = |interval: &Interval| f64::from(interval.micros()) / 1_000.0;
        write!(f, "{}/{} ms x {detect_mult}", millis(transmit), millis(receive))?;
        match reach {
            Reach::SingleHop => {}
            Reach::Multihop { least_ttl } => {
                write!(f, ", multihop from hop limit {least_ttl} on")?;
            }
        }
        for (set, word) in [(passive, "passive"), (strict, "strict"), (graceful, "graceful")] {
            if *set {
                write!(f, ", {word}")?;
            }
        }
        key.as_ref().map_or(Ok(()), |key| write!(f, ", key {}", key.fingerprint()))
    }
}

/// How far away a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// On a link of this node (RFC 5881): packets come with the hop limit 255.
    SingleHop,
    /// Behind routers (RFC 5883): packets come with at least this hop limit.
    Multihop {
        /// 1–255.
        least_ttl: u8,
    },
}

/// Reads the table, if there is one.
pub(super) fn read(section: &mut Section<'_, '_>, context: &Context<'_>, ttl: Ttl) -> Option<Bfd> {
    let given = section.has("bfd");
    let bfd = section.section("bfd", |table| {
        let usual = Settings::default();
        let key = key(table, context);
        Bfd {
            session: Settings {
                transmit: table.or("transmit_interval", usual.transmit, interval),
                receive: table.or("receive_interval", usual.receive, interval),
                detect_mult: table.or("detect_multiplier", usual.detect_mult, |value| {
                    let mult = value::number(1..=255u8)(value)?;
                    Ok(NonZeroU8::new(mult).unwrap_or(usual.detect_mult))
                }),
                passive: table.or("passive", false, value::flag),
                key,
            },
            reach: reach(ttl),
            strict: table.or("strict", false, value::flag),
            graceful: table.or("graceful", false, value::flag),
        }
    });
    given.then_some(bfd)
}

/// Milliseconds.
fn interval(value: &toml::de::DeValue<'_>) -> Result<Interval, Problem> {
    let (least, most) = (10, 60_000u16);
    let millis = value::number(least..=most)(value)?;
    Interval::new(Duration::from_millis(millis.into())).map_err(|_| Problem::OutOfRange {
        got: millis.into(),
        min: least.into(),
        max: most.into(),
    })
}

fn key(table: &mut Section<'_, '_>, context: &Context<'_>) -> Option<Key> {
    let file = table.optional("key_file", |value| match value::text(value)? {
        "" => Err(Problem::EmptyValue("write the path of a file, or remove the key")),
        path => Ok(PathBuf::from(path)),
    });
    let id = table.optional("key_id", value::number(0..=255u8));
    let meticulous = table.or("meticulous", true, value::flag);
    let Some(file) = file else {
        if let Some(id) = id {
            table.fault(id.place, Problem::Missing("key_file = \"/etc/slash32/bfd.key\" with it"));
        }
        return None;
    };
    let id = id.map_or(1, |id| id.value);
    let secret = password::read(table, &file, context.folder)?;
    let At { place, .. } = file;
    match Key::new(id, secret.octets(), meticulous) {
        Ok(key) => Some(key),
        Err(bad) => {
            table.fault(place, Problem::BfdKey(bad));
            None
        }
    }
}

/// As far as the TCP connection may come from, so far its BFD. Only `ttl_security` asks for a hop limit:
/// not every router sends multihop BFD with the highest one (RFC 5883 §4.3 leaves that open).
const fn reach(ttl: Ttl) -> Reach {
    match ttl {
        Ttl::OnLink | Ttl::Any => Reach::SingleHop,
        Ttl::Multihop(hops) | Ttl::Security(hops) if hops.get() == 1 => Reach::SingleHop,
        Ttl::Multihop(_) => Reach::Multihop { least_ttl: 1 },
        // RFC 5082 §3: each router on the way takes one.
        Ttl::Security(hops) => Reach::Multihop { least_ttl: (255 - hops.get()).saturating_add(1) },
    }
}
