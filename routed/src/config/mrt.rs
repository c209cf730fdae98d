//! `[mrt]`: what peers say, word by word, into files.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    DynamicPeers, Peer, Recording,
    problem::Problem,
    section::{At, Section, nearest},
    value,
};

/// What was read. Whether the peers exist shows only when those are read.
pub(super) struct Read {
    recording: Recording,
    peers: Vec<At<String>>,
}

/// The section; `None` if it is not there or has no file.
pub(super) fn read(root: &mut Section<'_, '_>) -> Option<Read> {
    root.has("mrt").then(|| root.section("mrt", read_section)).flatten()
}

fn read_section(section: &mut Section<'_, '_>) -> Option<Read> {
    let example = "file = \"/var/lib/slash32/updates.mrt\"";
    let file = section.required("file", example, value::absolute_path);
    let peers = section.list("peers", value::name);
    if peers.is_some() && section.is_empty_list("peers") {
        let remedy = "name some, or remove the key to record all";
        section.fault(section.place_of("peers"), Problem::EmptyValue(remedy));
    }
    let kinds = section.list("record", value::word(&KINDS, [0, 1, 2]));
    if kinds.is_some() && section.is_empty_list("record") {
        let remedy = "write [\"received\", \"sent\", \"states\"] or some of these";
        section.fault(section.place_of("record"), Problem::EmptyValue(remedy));
    }
    let records = |kind: usize| match &kinds {
        Some(kinds) => kinds.iter().any(|at| at.value == kind),
        None => true,
    };
    let (received, sent, states) = (records(0), records(1), records(2));
    let interval = section.or("rotate_interval", DEFAULT_INTERVAL, value::number(0..=604_800));
    let size = section.or("rotate_size", DEFAULT_SIZE, value::number(0..=65_536));
    let keep = section.or("keep", DEFAULT_KEEP, value::number(0..=u16::MAX));
    let names = peers.as_ref().map(|peers| peers.iter().map(|at| Arc::from(&*at.value)));
    let recording = Recording {
        file: file?.value,
        peers: names.map(Iterator::collect),
        received,
        sent,
        states,
        rotate_interval: (interval > 0).then(|| Duration::from_secs(interval.into())),
        rotate_size: (size > 0).then(|| u64::from(size) << 20),
        keep: (keep > 0).then(|| keep.into()),
    };
    Some(Read { recording, peers: peers.unwrap_or_default() })
}

/// The settings, once it is known which peers there are.
pub(super) fn checked(
    root: &mut Section<'_, '_>,
    read: Option<Read>,
    peers: &[Peer],
    dynamic: &[DynamicPeers],
) -> Option<Recording> {
    let Read { recording, peers: named } = read?;
    // A peer with a fault is not among them, and need not be told twice.
    if root.is_faultless() {
        let known: BTreeSet<&str> = peers.iter().map(|peer| &*peer.name).collect();
        let known: Vec<_> =
            known.into_iter().chain(dynamic.iter().map(|group| &*group.name)).collect();
        for At { value, place } in named {
            if !known.contains(&&*value) {
                let meant = nearest(&value, known.iter().copied()).map(str::to_owned);
                let known = known.iter().map(|name| (*name).to_owned()).collect();
                root.fault(place, Problem::UnknownPeer { name: value, known, meant });
            }
        }
    }
    Some(recording)
}

const KINDS: [&str; 3] = ["received", "sent", "states"];
/// Seconds.
const DEFAULT_INTERVAL: u32 = 3600;
/// MiB.
const DEFAULT_SIZE: u32 = 64;
/// Files: a day of hours.
const DEFAULT_KEEP: u16 = 24;
