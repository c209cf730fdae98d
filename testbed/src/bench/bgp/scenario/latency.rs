//! One UPDATE for a new prefix, until the last receiver has it: with an empty table, with a full one,
//! and while one arrives. The next follows a millisecond later.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::routes;
use crate::bench::bgp::Setting;
use crate::bench::bgp::contestant::Duty;
use crate::bench::bgp::report::Metric;
use crate::bench::bgp::round::Round;
use crate::bench::load::Session;
use crate::bench::stats::Samples;

/// Who sends the table, and who single routes.
const LOADER: usize = 0;
const PROBER: usize = 1;
/// The others receive.
const RECEIVERS: std::ops::RangeFrom<usize> = 2..;
/// So many in a phase.
const PROBES: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(1);

pub(super) fn measure(setting: &Setting<'_>, round: &mut Round, duty: &Duty) -> Result<()> {
    let count = setting.scaled(1_000_000);
    let table = routes(duty, LOADER, 0..count, 10);
    let all = count as usize;
    let of_receivers = |all| move |at| RECEIVERS.contains(&at).then_some(all);

    let mut probes = Probes::new(duty, count);
    let idle = probes.send(round, |_| false)?;
    note(round, [Metric::IdleP50, Metric::IdleP99], &idle);
    round.send(Metric::Converge, &[(LOADER, table.announced().into())], of_receivers(all))?;
    round.settle()?;
    let full = probes.send(round, |_| false)?;
    note(round, [Metric::FullP50, Metric::FullP99], &full);
    round.send(Metric::Withdraw, &[(LOADER, table.withdrawn().into())], of_receivers(0))?;
    round.settle()?;

    round.load.send(LOADER, &table.announced().into())?;
    let arrived = |sessions: &[Session]| {
        sessions[RECEIVERS].iter().all(|session| session.told.count() >= all)
    };
    let loading = probes.send(round, arrived)?;
    note(round, [Metric::LoadingP50, Metric::LoadingP99], &loading);
    Ok(())
}

fn note(round: &mut Round, [half, most]: [Metric; 2], samples: &Samples) {
    let summary = samples.summary();
    round.measures.set(half, summary.p50_us);
    round.measures.set(most, summary.p99_us);
}

/// Single routes, behind those of the table.
struct Probes {
    announced: Vec<(u32, Rc<[u8]>)>,
    withdrawn: Rc<[u8]>,
}

impl Probes {
    fn new(duty: &Duty, first: u32) -> Self {
        let numbers = first..first + PROBES;
        let one = |number| (number, routes(duty, PROBER, number..number + 1, 1).announced().into());
        let withdrawn = routes(duty, PROBER, numbers.clone(), 1).withdrawn().into();
        Self { announced: numbers.map(one).collect(), withdrawn }
    }

    /// Sends them one by one, as many as there are or until `done`, and withdraws them.
    fn send(&mut self, round: &mut Round, done: impl Fn(&[Session]) -> bool) -> Result<Samples> {
        let mut samples = Samples::default();
        for (number, octets) in &self.announced {
            let begun = Instant::now();
            round.load.send(PROBER, octets)?;
            samples.push(round.until(begun, |sessions| all_know(sessions, *number))?);
            round.load.idle(PAUSE)?;
            if round.load.is(&done) {
                break;
            }
        }
        round.load.send(PROBER, &self.withdrawn)?;
        let numbers = || self.announced.iter().map(|(number, _)| *number);
        let gone = |sessions: &[Session]| {
            let mut receivers = sessions[RECEIVERS].iter();
            receivers.all(|session| !numbers().any(|number| session.told.knows(number)))
        };
        round.until(Instant::now(), gone).context("withdrawing the single routes")?;
        Ok(samples)
    }
}

fn all_know(sessions: &[Session], number: u32) -> bool {
    sessions[RECEIVERS].iter().all(|session| session.told.knows(number))
}
