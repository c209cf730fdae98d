//! A node below two top-of-rack routers: one range out, a table in, and the kernel's routes written.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::routes;
use crate::bench::bgp::Setting;
use crate::bench::bgp::contestant::Duty;
use crate::bench::bgp::report::Metric;
use crate::bench::bgp::round::Round;
use crate::bench::load::Session;

pub(super) fn measure(setting: &Setting<'_>, round: &mut Round, duty: &Duty) -> Result<()> {
    let count = setting.scaled(20_000);
    // Route 0 is the node's own.
    let own_is_known = |sessions: &[Session]| sessions.iter().all(|tor| tor.told.knows(0));
    round.until(Instant::now(), own_is_known)?;
    let table = |tor| (tor, routes(duty, tor, 1..count + 1, 10).announced().into());
    let tables: Vec<_> = (0..2).map(table).collect();
    let all = round.speaker.kernel_routes()? + count;
    let begun = Instant::now();
    for (tor, octets) in &tables {
        round.load.send(*tor, octets)?;
    }
    loop {
        let missing = all.saturating_sub(round.speaker.kernel_routes()?);
        if missing == 0 {
            break;
        }
        ensure!(
            begun.elapsed() < setting.patience,
            "{missing} of {count} routes are not in the kernel after {} s",
            setting.patience.as_secs()
        );
        round.load.idle(LOOK)?;
    }
    round.measures.set(Metric::InKernel, begun.elapsed().as_secs_f64());
    round.note_usage()?;
    let before = round.speaker.usage()?.cpu;
    round.load.idle(REST)?;
    let used = round.speaker.usage()?.cpu - before;
    round.measures.set(Metric::IdleCpu, 100.0 * used.as_secs_f64() / REST.as_secs_f64());
    Ok(())
}

/// Between two looks at the kernel.
const LOOK: Duration = Duration::from_millis(2);
/// How long it is watched doing nothing.
const REST: Duration = Duration::from_secs(10);
