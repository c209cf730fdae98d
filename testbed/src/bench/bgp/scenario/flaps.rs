//! Routes that come and go: 1,000 prefixes announced and withdrawn in turn, one in an UPDATE; each half
//! of a turn waits for all receivers.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::routes;
use crate::bench::bgp::contestant::Duty;
use crate::bench::bgp::report::Metric;
use crate::bench::bgp::round::Round;
use crate::bench::load::Session;
use crate::bench::wire::Routes;

const PREFIXES: u32 = 1000;
/// Whole turns are made until then.
const TIME: Duration = Duration::from_secs(3);
const SENDER: usize = 0;

pub(super) fn measure(round: &mut Round, duty: &Duty) -> Result<()> {
    let routes = Routes { per_update: 1, ..routes(duty, SENDER, 0..PREFIXES, u32::MAX) };
    let halves: [(Rc<[u8]>, usize); 2] =
        [(routes.announced().into(), PREFIXES as usize), (routes.withdrawn().into(), 0)];
    let begun = Instant::now();
    let mut changes = 0_u32;
    while begun.elapsed() < TIME {
        for (octets, expected) in &halves {
            round.load.send(SENDER, octets)?;
            let told = |session: &Session| session.told.count() == *expected;
            round.until(Instant::now(), |sessions| sessions[SENDER + 1..].iter().all(told))?;
            changes += PREFIXES;
        }
    }
    round.measures.set(Metric::Flaps, f64::from(changes) / begun.elapsed().as_secs_f64());
    Ok(())
}
