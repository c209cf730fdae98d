//! What the speakers are put through.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use anyhow::Result;
use clap::ValueEnum;

use super::Setting;
use super::contestant::{Contestant, Duty};
use super::load::Identity;
use super::report::{Measures, Metric};
use super::round::{Round, Table};
use super::wire::{Family, Routes};

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
        }
    }

    /// One run. What was measured before a failure counts.
    pub(super) fn run(
        self,
        setting: &Setting<'_>,
        contestant: Contestant,
    ) -> (Measures, Option<String>) {
        let duty = self.duty();
        let begun = Round::begin(setting, contestant, &duty, self.present());
        let mut round = match begun {
            Ok(round) => round,
            Err(error) => return (Measures::default(), Some(format!("{error:#}"))),
        };
        let outcome = match self {
            Self::A => one_to_one(setting, &mut round, &duty),
            Self::B => same_from_many(setting, &mut round, &duty),
            Self::C => all_to_all(&mut round, &duty, setting.scaled(10_000), 10),
            Self::D => all_to_all(&mut round, &duty, setting.scaled(16), u32::MAX),
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
            Self::A => 3,
            Self::B => 11,
            Self::C => 50,
            Self::D => 201,
        };
        Duty { peers: (0..peers).map(identity).collect(), ..Duty::default() }
    }

    /// Those who have one from the start.
    const fn present(self) -> usize {
        match self {
            Self::A => 2,
            Self::B => 11,
            Self::C => 50,
            Self::D => 200,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().expect("none is hidden").get_name())
    }
}

fn one_to_one(setting: &Setting<'_>, round: &mut Round, duty: &Duty) -> Result<()> {
    let count = setting.scaled(1_000_000);
    let all = count as usize;
    let routes = routes(duty, 0, 0..count, 10);
    round.load.owns(0, 0..count);
    let receiver = |all| move |at| (at == 1).then_some(all);
    round.send(Metric::Converge, &[(0, routes.announced().into())], receiver(all))?;
    round.note_usage()?;
    let joiner = round.late_joiner(duty, |_| all)?;
    round.load.leave(joiner)?;
    round.settle()?;
    round.send(Metric::Withdraw, &[(0, routes.withdrawn().into())], receiver(0))
}

fn same_from_many(setting: &Setting<'_>, round: &mut Round, duty: &Duty) -> Result<()> {
    let count = setting.scaled(100_000);
    let receiver = duty.peers.len() - 1;
    let senders = 0..receiver;
    // Each sends a route of its own last. Without these one could not see from outside that a sender
    // whose paths are not the best has been heard to the end.
    let tables = |octets: fn(&Routes) -> Vec<u8>| -> Vec<Table> {
        let table = |at: usize| {
            let own = count + u32::try_from(at).expect("ten senders");
            let shared = octets(&routes(duty, at, 0..count, 10));
            [shared, octets(&routes(duty, at, own..own + 1, 10))].concat()
        };
        senders.clone().map(|at| (at, table(at).into())).collect()
    };
    let (announced, withdrawn) = (tables(Routes::announced), tables(Routes::withdrawn));
    let all = count as usize + senders.len();
    let expect = |all| move |at| (at == receiver).then_some(all);
    round.send(Metric::Converge, &announced, expect(all))?;
    round.note_usage()?;
    round.send(Metric::Withdraw, &withdrawn, expect(0))
}

fn all_to_all(round: &mut Round, duty: &Duty, each: u32, per_set: u32) -> Result<()> {
    let present = round.load.sessions_mut().count();
    let (mut announced, mut withdrawn) = (Vec::<Table>::new(), Vec::<Table>::new());
    for at in 0..present {
        let first = u32::try_from(at).expect("some hundred peers") * each;
        let routes = routes(duty, at, first..first + each, per_set);
        round.load.owns(at, routes.numbers.clone());
        announced.push((at, routes.announced().into()));
        withdrawn.push((at, routes.withdrawn().into()));
    }
    let others = (present - 1) * each as usize;
    round.send(Metric::Converge, &announced, |_| Some(others))?;
    round.note_usage()?;
    if present < duty.peers.len() {
        let joiner = round.late_joiner(duty, |_| others + each as usize)?;
        round.load.leave(joiner)?;
        round.settle()?;
    }
    let expected = |at| (at < present).then_some(0);
    round.send(Metric::Withdraw, &withdrawn, expected)
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
    }
}

/// The peer of this number: an AS and an address of its own.
pub(super) fn identity(number: u16) -> Identity {
    let [_, low] = (1 + number % 250).to_be_bytes();
    let [_, high] = (1 + number / 250).to_be_bytes();
    Identity {
        asn: 4_200_000_001 + u32::from(number),
        address: Ipv4Addr::new(10, 99, high, low),
        add_path: false,
    }
}
