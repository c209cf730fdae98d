//! `[bgp]`: what holds for every session, and what peers take over unless they say otherwise.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bgp::{aspath::Asn, config::HoldTime, policy::Policy, rib::Aggregate};

use super::{
    Speaker, aggregates,
    policies::{self, Direction, Policies},
    problem::{Caution, Problem},
    section::{At, Section},
    sockets::clash,
    value,
};

/// On every address of both families.
const DEFAULT_LISTEN: [&str; 2] = ["0.0.0.0:179", "[::]:179"];
/// More next hops than a rack has uplinks.
const DEFAULT_MULTIPATH: u8 = 16;
/// Seconds. Far below the 120 s of RFC 4271 §10, whose world was one of dear sessions: here a
/// ToR that comes back should be used within seconds.
const DEFAULT_CONNECT_RETRY: Duration = Duration::from_secs(5);

/// Longer than peers need that come up with the node, and half of the restart time for which they
/// keep our routes by default.
const DEFAULT_SELECTION_DEFERRAL: Duration = Duration::from_secs(60);

/// What was read. The identity is `None` if it is missing or was refused.
pub(super) struct Read {
    pub(super) asn: Option<Asn>,
    pub(super) router_id: Option<Ipv4Addr>,
    pub(super) cluster_id: Option<Ipv4Addr>,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) multipath: u8,
    pub(super) drain: bool,
    pub(super) aggregates: Vec<At<Aggregate>>,
    pub(super) selection_deferral_time: Duration,
    pub(super) defaults: Defaults,
}

/// What a peer takes over.
pub(super) struct Defaults {
    pub(super) hold_time: HoldTime,
    pub(super) keepalive_time: Option<Duration>,
    pub(super) connect_retry: Duration,
    pub(super) import: Option<Vec<At<String>>>,
    pub(super) export: Option<Vec<At<String>>>,
}

impl Read {
    /// The settings, if the identity is there.
    pub(super) fn speaker(&self) -> Option<Speaker> {
        let router_id = self.router_id?;
        Some(Speaker {
            asn: self.asn?,
            router_id,
            cluster_id: self.cluster_id.unwrap_or(router_id),
            listen: self.listen.clone(),
            multipath: self.multipath.into(),
            drain: self.drain,
            aggregates: self.aggregates.iter().map(|at| at.value).collect(),
            selection_deferral_time: self.selection_deferral_time,
        })
    }
}

/// The policies of peers that name none, once policies are known.
pub(super) struct PolicyDefaults {
    pub(super) import: Option<Arc<Policy>>,
    pub(super) export: Option<Arc<Policy>>,
}

impl PolicyDefaults {
    /// Finds what `[bgp]` names.
    pub(super) fn resolve(
        root: &mut Section<'_, '_>,
        defaults: &Defaults,
        policies: &Policies,
    ) -> Self {
        let mut find = |names: &Option<Vec<At<String>>>, direction| {
            names.as_ref().and_then(|names| policies.resolve(root, names, direction))
        };
        Self {
            import: find(&defaults.import, Direction::Import),
            export: find(&defaults.export, Direction::Export),
        }
    }
}

/// The section.
pub(super) fn read(section: &mut Section<'_, '_>) -> Read {
    let asn = section.required("asn", "asn = 4200000011", value::asn);
    let router_id = section.required("router_id", "router_id = \"10.0.0.11\"", value::router_id);
    let cluster_id = section.optional("cluster_id", value::router_id);
    let multipath = section.or("multipath", DEFAULT_MULTIPATH, value::number(1..=64));
    let selection_deferral_time =
        section.or("selection_deferral_time", DEFAULT_SELECTION_DEFERRAL, value::seconds);
    Read {
        asn: asn.map(|at| at.value),
        router_id: router_id.map(|at| at.value),
        cluster_id: cluster_id.map(|at| at.value),
        listen: listen(section),
        multipath,
        drain: section.or("drain", false, value::flag),
        aggregates: aggregates::read(section),
        selection_deferral_time,
        defaults: defaults(section),
    }
}

fn listen(section: &mut Section<'_, '_>) -> Vec<SocketAddr> {
    let Some(list) = section.list("listen", value::socket_address) else {
        return DEFAULT_LISTEN.iter().filter_map(|text| text.parse().ok()).collect();
    };
    for (i, this) in list.iter().enumerate() {
        if let Some(other) = list[..i].iter().find(|other| clash(this.value, other.value)) {
            let problem = Problem::Overlap { this: this.value, other: other.value };
            section.fault(this.place.clone(), problem);
        }
    }
    list.into_iter().map(|at| at.value).collect()
}

fn defaults(section: &mut Section<'_, '_>) -> Defaults {
    let timers = Timers::read(section);
    let hold_time = timers.hold_time.unwrap_or_default();
    timers.warn(section, hold_time);
    Defaults {
        hold_time,
        keepalive_time: timers.keepalive_time,
        connect_retry: timers.connect_retry.unwrap_or(DEFAULT_CONNECT_RETRY),
        import: policies::read_names(section, Direction::Import),
        export: policies::read_names(section, Direction::Export),
    }
}

/// The timers that stand both in `[bgp]` and in `[[peers]]`.
pub(super) struct Timers {
    pub(super) hold_time: Option<HoldTime>,
    pub(super) keepalive_time: Option<Duration>,
    pub(super) connect_retry: Option<Duration>,
}

impl Timers {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        let hold_time = section.optional("hold_time", value::hold_time);
        let keepalive_time = section.optional("keepalive_time", value::seconds);
        let connect_retry = section.optional("connect_retry", value::seconds);
        Self {
            hold_time: hold_time.map(|at| at.value),
            keepalive_time: keepalive_time.map(|at| at.value),
            connect_retry: connect_retry.map(|at| at.value),
        }
    }

    /// `hold` is the hold time in force, be it given here or taken over.
    pub(super) fn warn(&self, section: &mut Section<'_, '_>, hold: HoldTime) {
        if self.hold_time == Some(HoldTime::OFF) {
            section.warn(section.place_of("hold_time"), Caution::HoldTimeOff);
        }
        if let (Some(keepalive), Some(hold)) = (self.keepalive_time, hold.duration())
            && keepalive > hold / 3
        {
            let caution = Caution::LongKeepalive { keepalive, hold };
            section.warn(section.place_of("keepalive_time"), caution);
        }
    }
}
