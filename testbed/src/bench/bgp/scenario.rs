//! What the speakers are put through.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use anyhow::Result;
use clap::ValueEnum;

use super::Setting;
use super::contestant::{Contestant, Duty};
use super::report::{Measures, Metric};
use super::round::Round;
use crate::bench::load::Identity;
use crate::bench::wire::{self, Family, Routes};

mod flaps;
mod latency;
mod node;
mod tables;
mod timers;
mod variants;

use timers::Quiet;
use variants::Variant;

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Scenario {
    /// One sender with 1,000,000 routes, one receiver, one that joins late
    A,
    /// Ten senders with the same 100,000 prefixes, one receiver
    B,
    /// Fifty peers with 10,000 routes each, which are told to all others
    C,
    /// Two hundred peers with 16 routes each, which are told to all others
    D,
    /// Single routes with an empty table, a full one, and one that arrives
    L,
    /// Routes that come and go, with one receiver
    FA,
    /// Routes that come and go, with 199 receivers
    FD,
    /// Ours beside itself: IPv6, reflection, a long policy, add-path, several policies
    I,
    /// A node that writes 20,000 routes of two routers into its kernel
    N,
    /// KEEPALIVEs of 150 quiet sessions while C runs
    K,
}

/// What a line of a table is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entrant {
    pub(super) contestant: Contestant,
    /// How it is used, where that is what is compared.
    variant: Option<Variant>,
}

impl Scenario {
    /// What is measured, for the heading.
    pub(super) fn about(self, setting: &Setting<'_>) -> String {
        let routes = |count| setting.scaled(count);
        match self {
            Self::A => format!(
                "1 sender of {} routes (10 per attribute set), 1 receiver, then 1 that joins late",
                routes(1_000_000)
            ),
            Self::B => format!(
                "10 senders of the same {} prefixes (10 per attribute set), 1 receiver",
                routes(100_000)
            ),
            Self::C => format!(
                "50 peers, each sends {} routes (10 per attribute set) and receives the others'",
                routes(10_000)
            ),
            Self::D => format!(
                "200 peers, each sends {} routes (1 attribute set) and receives the others'",
                routes(16)
            ),
            Self::L => format!(
                "1 sender of single routes, 2 receivers; a table of {} routes from another",
                routes(1_000_000)
            ),
            Self::FA => "1,000 routes of 1 sender come and go, 1 receiver".into(),
            Self::FD => "1,000 routes of 1 sender come and go, 199 receivers".into(),
            Self::I => format!(
                "1 sender of {} routes (10 per attribute set), 1 receiver or 4",
                routes(1_000_000)
            ),
            Self::N => format!("2 routers with the same {} routes, 1 range out", routes(20_000)),
            Self::K => {
                format!("150 quiet sessions, hold time {} s, while C runs", timers::HOLD_TIME)
            }
        }
    }

    /// Those of the contestants that can be put through it; ours in several ways, if these are what is
    /// compared.
    pub(super) fn entrants(self, order: &[Contestant]) -> Vec<Entrant> {
        let able = |contestant: &&Contestant| match self {
            Self::N => matches!(contestant, Contestant::Routed | Contestant::Bird),
            // It has no timers.
            Self::K => **contestant != Contestant::Relay,
            Self::I => false,
            Self::A | Self::B | Self::C | Self::D | Self::L | Self::FA | Self::FD => true,
        };
        let mut entrants: Vec<_> = order
            .iter()
            .filter(able)
            .map(|who| Entrant { contestant: *who, variant: None })
            .collect();
        if self == Self::I {
            entrants.extend(
                Variant::ALL.map(|variant| Entrant {
                    contestant: Contestant::Routed,
                    variant: Some(variant),
                }),
            );
        }
        entrants
    }

    /// One run. What was measured before a failure counts.
    pub(super) fn run(self, setting: &Setting<'_>, entrant: Entrant) -> (Measures, Option<String>) {
        let duty = entrant.variant.map_or_else(|| self.duty(), Variant::duty);
        let present = self.present().min(duty.peers.len());
        let mut round = match Round::begin(setting, entrant.contestant, &duty, present) {
            Ok(round) => round,
            Err(error) => return (Measures::default(), Some(format!("{error:#}"))),
        };
        let outcome = match (self, entrant.variant) {
            (_, Some(variant)) => variant.measure(setting, &mut round, &duty),
            (Self::A | Self::I, None) => tables::one_to_one(setting, &mut round, &duty),
            (Self::B, None) => tables::same_from_many(setting, &mut round, &duty),
            (Self::C, None) => tables::all_to_all(&mut round, &duty, setting.scaled(10_000), 10),
            (Self::D, None) => tables::all_to_all(&mut round, &duty, setting.scaled(16), u32::MAX),
            (Self::L, None) => latency::measure(setting, &mut round, &duty),
            (Self::FA | Self::FD, None) => flaps::measure(&mut round, &duty),
            (Self::N, None) => node::measure(setting, &mut round, &duty),
            (Self::K, None) => keepalives(setting, &mut round, &duty),
        };
        let failure = outcome.err().map(|error| match round.speaker.obituary() {
            Some(obituary) => format!("{error:#}: {obituary}"),
            None => format!("{error:#}"),
        });
        (round.measures, failure)
    }

    /// Everybody who will have a session.
    pub(super) fn duty(self) -> Duty {
        let peers = match self {
            Self::FA | Self::I | Self::N => 2,
            Self::A => 3,
            Self::L => 4,
            Self::B => 11,
            Self::C => 50,
            Self::FD | Self::K => 200,
            Self::D => 201,
        };
        let mut peers: Vec<_> = (0..peers).map(identity).collect();
        if self == Self::K {
            for peer in &mut peers[self.present()..] {
                (peer.hold_time, peer.is_quiet) = (timers::HOLD_TIME, true);
            }
        }
        Duty { peers, is_node: self == Self::N, ..Duty::default() }
    }

    /// Those who have one from the start.
    const fn present(self) -> usize {
        match self {
            Self::A | Self::FA | Self::N => 2,
            Self::L => 4,
            Self::I => 5,
            Self::B => 11,
            Self::C | Self::K => 50,
            Self::D | Self::FD => 200,
        }
    }
}

impl Entrant {
    /// With whom this one of ours is put in proportion, among these.
    pub(super) fn pairs(self, all: &[Self]) -> Vec<(String, String)> {
        let others: Vec<String> = match self {
            Self { variant: Some(variant), .. } => {
                variant.plain().map(|plain| plain.to_string()).into_iter().collect()
            }
            Self { contestant: Contestant::Routed, variant: None } => {
                let others = all.iter().filter(|who| who.contestant != Contestant::Routed);
                others.map(ToString::to_string).collect()
            }
            Self { .. } => Vec::new(),
        };
        others.into_iter().map(|other| (self.to_string(), other)).collect()
    }
}

impl fmt::Display for Entrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variant {
            Some(variant) => variant.fmt(f),
            None => self.contestant.fmt(f),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().expect("none is hidden").get_name())
    }
}

/// Everything of C but its late joiner, watched by sessions that have nothing to do with it.
fn keepalives(setting: &Setting<'_>, round: &mut Round, duty: &Duty) -> Result<()> {
    let busy = round.load.sessions_mut().count();
    let quiet = Quiet::begin(duty.peers[busy..].to_vec())?;
    let busy = Duty { peers: duty.peers[..busy].to_vec(), ..Duty::default() };
    let outcome = tables::all_to_all(round, &busy, setting.scaled(10_000), 10);
    let late = quiet.end()?.summary();
    outcome?;
    round.measures.set(Metric::LateP99, late.p99_us / 1000.0);
    round.measures.set(Metric::LateMost, late.max_us / 1000.0);
    Ok(())
}

fn routes(duty: &Duty, sender: usize, numbers: Range<u32>, per_set: u32) -> Routes {
    let Identity { asn, address, .. } = duty.peers[sender];
    Routes {
        numbers,
        family: Family::Ipv4,
        per_set,
        per_update: u32::MAX,
        asn,
        next_hop: IpAddr::V4(address),
        internal: false,
        add_path: false,
    }
}

/// The peer of this number: an AS and an address of its own.
pub(super) fn identity(number: u16) -> Identity {
    let [_, low] = (1 + number % 250).to_be_bytes();
    let [_, high] = (1 + number / 250).to_be_bytes();
    Identity {
        asn: 4_200_000_001 + u32::from(number),
        address: Ipv4Addr::new(10, 99, high, low),
        hold_time: wire::HOLD_TIME,
        add_path: false,
        is_quiet: false,
        is_deaf: false,
    }
}
