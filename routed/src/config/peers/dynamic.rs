//! `[[dynamic_peers]]`: each table on its own, then the groups beside each other and the peers.
//!
//! A kernel that knows a TCP MD5 key for a prefix drops what comes from there unsigned, so whoever is
//! inside such a prefix has a key as well.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bgp::prefix::Prefix;

use super::{
    Context,
    peer::{self, Kind},
};
use crate::config::{
    DynamicPeers, Peer, PeerAddress,
    fault::Place,
    problem::{Caution, Problem},
    section::{At, Section},
    speaker::PolicyDefaults,
    value,
};

/// More than a rack has nodes; a larger group should be meant.
const DEFAULT_LIMIT: u16 = 100;
/// Seconds. Long enough for an operator to read why a session has ended.
const DEFAULT_LINGER: Duration = Duration::from_secs(60);

/// A table as far as it was understood.
pub(super) struct Read {
    pub(super) name: Option<At<String>>,
    prefix: Option<At<Prefix>>,
    /// `None` if it cannot stand; the faults are recorded.
    pub(super) group: Option<DynamicPeers>,
}

/// The table.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    context: &Context<'_>,
    defaults: &PolicyDefaults,
) -> Read {
    let name = section.optional("name", value::name);
    let prefix = section.required("prefix", "prefix = \"10.1.0.0/16\"", value::prefix);
    let limit = section.or("limit", DEFAULT_LIMIT, value::number(1..=u16::MAX));
    let linger = section.or("linger", DEFAULT_LINGER, value::seconds);
    if context.speaker.listen.is_empty() {
        section.fault(section.place(), Problem::PassiveWithoutListener);
    }
    if let Some(prefix) = &prefix {
        check_prefix(section, prefix, context);
    }
    let body = peer::body(section, context, defaults, Kind::Dynamic, None);
    let group = prefix.as_ref().zip(body).map(|(prefix, body)| {
        let given = name.as_ref().map(|name| name.value.clone());
        let name: Arc<str> = given.unwrap_or_else(|| prefix.value.to_string()).into();
        let template = body.peer(Arc::clone(&name), PeerAddress::Fixed(prefix.value.addr()));
        DynamicPeers::new(name, prefix.value, limit.into(), linger, template)
    });
    Read { name, prefix, group }
}

/// A pod is no peer, as far as that can be helped.
fn check_prefix(section: &mut Section<'_, '_>, prefix: &At<Prefix>, context: &Context<'_>) {
    for range in context.pods {
        if range.covers(prefix.value) {
            let (prefix, range, place) = (prefix.value, *range, prefix.place.clone());
            section.fault(place, Problem::PeersInPods { prefix, range });
        } else if prefix.value.covers(*range) {
            section.warn(prefix.place.clone(), Caution::PodsArePeers(*range));
        }
    }
}

/// Prefixes are different, and keys fit together.
pub(super) fn check(root: &mut Section<'_, '_>, groups: &[Read], peers: &[peer::Read]) {
    let mut first: BTreeMap<Prefix, &Place> = BTreeMap::new();
    for prefix in groups.iter().filter_map(|group| group.prefix.as_ref()) {
        if let Some(first) = first.get(&prefix.value) {
            let what = format!("the prefix {}", prefix.value);
            let problem = Problem::Repeated { what, first: (*first).clone() };
            root.fault(prefix.place.clone(), problem);
        } else {
            first.insert(prefix.value, &prefix.place);
        }
    }
    let all =
        || groups.iter().filter_map(|read| Some((read.prefix.as_ref()?, read.group.as_ref()?)));
    for (prefix, group) in all() {
        let wider = all()
            .filter(|(other, _)| other.value != prefix.value && other.value.covers(prefix.value));
        let signed = wider.map(|(other, wider)| (other.value, is_signed(wider.template())));
        check_key(root, &prefix.place, is_signed(group.template()), signed);
    }
    for read in peers {
        let (Some(address), Some(peer)) = (&read.address, &read.peer) else { continue };
        let Some(own) = address.value.fixed() else { continue };
        let around = all().filter(|(prefix, _)| prefix.value.contains(own));
        let signed = around.map(|(prefix, group)| (prefix.value, is_signed(group.template())));
        check_key(root, &address.place, is_signed(peer), signed);
    }
}

const fn is_signed(peer: &Peer) -> bool {
    peer.password.is_some()
}

/// What is inside a prefix whose peers sign has to sign as well.
fn check_key(
    root: &mut Section<'_, '_>,
    place: &Place,
    signed: bool,
    around: impl Iterator<Item = (Prefix, bool)>,
) {
    for (prefix, around) in around {
        if around && !signed {
            root.fault(place.clone(), Problem::UnsignedInSigned(prefix));
        }
    }
}
