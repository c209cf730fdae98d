//! The keys of `[[peers]]` that most peers need not have: what the session offers beyond the
//! plain exchange of routes, and how the RIB departs from what is usual.

use std::num::NonZeroU8;

use bgp::{
    aspath::Asn,
    config::{
        AddPath, GracefulRestart, LocalAs, PeerAs, PrivateAs, RestartTime, RibPeerConfig,
        SessionConfig, StaleTime,
    },
    family::{FamilySet, PerFamily},
    role::Role,
};

use crate::config::{
    problem::{Caution, Problem},
    section::{At, Section},
    value,
};

/// Reads what concerns the session. `internal`: whether it stays inside our AS, if that is known.
pub(super) fn session(
    section: &mut Section<'_, '_>,
    internal: Option<bool>,
    session: &mut SessionConfig,
) {
    session.extended_messages = section.or("extended_messages", true, value::flag);
    let role = section.optional("role", value::word(&ROLE_NAMES, ROLES));
    external_only(section, internal, role.as_ref());
    session.role = role.map(|role| role.value);
    session.strict_role = section.or("strict_role", false, value::flag);
    if session.strict_role && session.role.is_none() {
        section.fault(section.place_of("strict_role"), Problem::Missing("role = \"customer\""));
    }
    session.graceful_restart = graceful_restart(section);
    let receive = section.or("add_path_receive", false, value::flag);
    session.add_path_receive = if receive { session.families } else { FamilySet::NONE };
    session.add_path_send =
        if section.has("add_path_send") { session.families } else { FamilySet::NONE };
}

/// A session to read into where there is none, since something else of it cannot stand.
pub(super) fn anybody() -> SessionConfig {
    SessionConfig::new(Asn(0), std::net::Ipv4Addr::UNSPECIFIED, PeerAs::External)
}

/// Reads what concerns the RIB.
pub(super) fn rib(section: &mut Section<'_, '_>, internal: Option<bool>, rib: &mut RibPeerConfig) {
    rib.add_path = section.or("add_path_send", AddPath::All, add_path);
    rib.allow_own_as = section.or("allow_own_as", 0, value::number(0..=10));
    let as_override = section.optional("as_override", value::flag).filter(|at| at.value);
    external_only(section, internal, as_override.as_ref());
    rib.as_override = as_override.is_some();
    let choices = [PrivateAs::Keep, PrivateAs::Remove, PrivateAs::Replace];
    let private =
        section.optional("private_as", value::word(&["keep", "remove", "replace"], choices));
    external_only(section, internal, private.as_ref());
    rib.private_as = private.map_or(PrivateAs::Keep, |private| private.value);
    rib.drain = section.or("drain", false, value::flag);
    rib.send_blackhole = section.or("send_blackhole", false, value::flag);
}

/// `local_asn` with its two switches: our AS on this session, if it is not the usual one.
pub(super) fn local_asn(
    section: &mut Section<'_, '_>,
    ours: Option<Asn>,
    (theirs, internal): (Option<&PeerAs>, Option<bool>),
) -> (Option<Asn>, LocalAs) {
    let asn = section.optional("local_asn", value::asn);
    external_only(section, internal, asn.as_ref());
    if let Some(At { value, place }) = &asn
        && Some(*value) == ours
    {
        let remedy = "it is bgp.asn already; remove the key";
        section.fault(place.clone(), Problem::EmptyValue(remedy));
    }
    if let Some(At { value, place }) = &asn {
        let same = match theirs {
            Some(PeerAs::Exact(theirs)) => theirs == value,
            Some(PeerAs::OneOf(list)) => list.contains(value),
            Some(PeerAs::External | PeerAs::Internal) | None => false,
        };
        if same && internal == Some(false) {
            section.fault(place.clone(), Problem::LocalAsnIsPeers(*value));
        }
    }
    let no_prepend = section.or("local_asn_no_prepend", false, value::flag);
    let replace_as = section.or("local_asn_replace", false, value::flag);
    for (key, on) in [("local_asn_no_prepend", no_prepend), ("local_asn_replace", replace_as)] {
        if on && !section.has("local_asn") {
            section.fault(section.place_of(key), Problem::Missing("local_asn = 64999 with it"));
        }
    }
    (asn.map(|asn| asn.value), LocalAs { no_prepend, replace_as })
}

fn external_only<T>(section: &mut Section<'_, '_>, internal: Option<bool>, given: Option<&At<T>>) {
    if let (Some(given), Some(true)) = (given, internal) {
        section.fault(given.place.clone(), Problem::EbgpOnly);
    }
}

/// On unless switched off.
fn graceful_restart(section: &mut Section<'_, '_>) -> Option<GracefulRestart> {
    let usual = GracefulRestart::default();
    let wanted = section.or("graceful_restart", true, value::flag);
    let restart_time = section.or("restart_time", usual.restart_time, |value| {
        let seconds = value::number(0..=4095)(value)?;
        Ok(RestartTime::new(seconds).unwrap_or(usual.restart_time))
    });
    let stale_path_time = section.or("stale_path_time", usual.stale_path_time, value::seconds);
    let stale_time = |value: &toml::de::DeValue<'_>| {
        let seconds = value::number(0..=LONGEST_STALE)(value)?;
        Ok(StaleTime::new(seconds).unwrap_or(StaleTime::OFF))
    };
    let long_lived_time = section.section("long_lived_stale_time", |table| PerFamily {
        ipv4: table.or("ipv4", StaleTime::OFF, stale_time),
        ipv6: table.or("ipv6", StaleTime::OFF, stale_time),
    });
    if !wanted {
        for key in ["restart_time", "stale_path_time", "long_lived_stale_time"] {
            if section.has(key) {
                section.warn(section.place_of(key), Caution::NoGracefulRestart);
            }
        }
    }
    wanted.then_some(GracefulRestart { restart_time, stale_path_time, long_lived_time, ..usual })
}

/// "all", "used", or a number of paths.
fn add_path(value: &toml::de::DeValue<'_>) -> Result<AddPath, Problem> {
    if value.as_str().is_some() {
        return value::word(&["all", "used"], [AddPath::All, AddPath::Used])(value);
    }
    let paths = value::number(1..=u8::MAX)(value)?;
    Ok(NonZeroU8::new(paths).map_or(AddPath::All, AddPath::Best))
}

const ROLE_NAMES: [&str; 5] = ["provider", "rs", "rs-client", "customer", "peer"];
const ROLES: [Role; 5] =
    [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer];
/// Seconds that fit the capability's 24 bits (RFC 9494 §3.1).
const LONGEST_STALE: u32 = 0x00FF_FFFF;
