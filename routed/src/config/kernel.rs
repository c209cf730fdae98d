//! `[kernel]`: what goes into the kernel's routing tables, and how it is marked as ours.

use routed_core::fib::route::{PROTO_FABRIC, PROTO_PODS, TABLE_MAIN};

use super::{Kernel, Mode, problem::Problem, section::Section, value};

/// The section.
pub(super) fn read(section: &mut Section<'_, '_>, mode: Mode) -> Kernel {
    let learned = section.optional("learned_routes", value::flag);
    let learned_routes = match (mode, learned) {
        (Mode::Node, learned) => learned.is_none_or(|learned| learned.value),
        (Mode::Speaker, Some(learned)) if learned.value => {
            section.fault(learned.place, Problem::SpeakerOnly);
            false
        }
        (Mode::Speaker, Some(_) | None) => false,
    };
    let protocol = section.or("protocol", PROTO_FABRIC, |value| {
        let number = value::number(1..=u8::MAX)(value)?;
        owner(number).map_or(Ok(number), |owner| Err(Problem::ProtocolTaken(number, owner)))
    });
    let table =
        section.or("table", TABLE_MAIN, |value| match value::number(1..=u32::MAX)(value)? {
            255 => Err(Problem::LocalTable),
            table => Ok(table),
        });
    let metric = section.optional("metric", value::number(0..=u32::MAX)).map(|at| at.value);
    let next_hop_groups = section.or("next_hop_groups", true, value::flag);
    Kernel { learned_routes, table, protocol, metric, next_hop_groups }
}

/// Who marks its routes with this number: `linux/rtnetlink.h`, RTPROT_*. The daemon removes
/// stale routes that bear its number, so that sharing one would remove somebody else's.
const fn owner(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        1 => "ICMP redirects",
        2 => "the kernel",
        3 => "the boot scripts",
        4 => "the administrator (static)",
        8 => "gated",
        9 => "router advertisements",
        11 => "zebra (FRR)",
        12 => "BIRD",
        13 => "DECnet",
        14 => "XORP",
        16 => "the DHCP client",
        17 => "mrouted",
        18 => "keepalived",
        42 => "Babel",
        99 => "Open/R",
        PROTO_PODS => "this daemon's pods",
        186..=189 | 192 => "FRR",
        _ => return None,
    })
}
