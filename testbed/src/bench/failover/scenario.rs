//! What goes wrong, step by step, and with what traffic that is watched.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use super::fabric::{Fabric, POD};
use super::tally::Tally;
use super::traffic::Log;

/// Something that goes wrong and is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// A node's routing software is restarted as planned
    Restart,
    /// It is killed and started again
    Kill,
    /// It is killed five times in a row, each time as soon as it runs
    CrashLoop,
    /// It is away for three seconds, as for an upgrade
    Upgrade,
    /// A ToR is dead while its links stay up
    TorDeath,
    /// A ToR's software hangs; its kernel forwards
    TorFrozen,
    /// A cable between a node and a ToR is cut
    Carrier,
    /// A node hears nothing from a ToR, which hears the node
    OneWay,
    /// A ToR is drained, then switched off
    DrainTor,
    /// A node is drained; its pods stay
    DrainNode,
}

/// What is measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    Restart,
    Kill,
    CrashLoop,
    Upgrade,
    TorDeath,
    TorReturn,
    TorFrozen,
    TorThawed,
    Carrier,
    CarrierBack,
    OneWay,
    OneWayBack,
    DrainTor,
    UndrainTor,
    DrainNode,
    UndrainNode,
}

/// What became of the traffic in one step.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Outcome {
    /// From the pod on the node where it happens: to the other pod, and to the world.
    pub(super) out: Tally,
    /// To that pod.
    pub(super) into: Tally,
}

impl Scenario {
    pub(super) const fn steps(self) -> &'static [Step] {
        match self {
            Self::Restart => &[Step::Restart],
            Self::Kill => &[Step::Kill],
            Self::CrashLoop => &[Step::CrashLoop],
            Self::Upgrade => &[Step::Upgrade],
            Self::TorDeath => &[Step::TorDeath, Step::TorReturn],
            Self::TorFrozen => &[Step::TorFrozen, Step::TorThawed],
            Self::Carrier => &[Step::Carrier, Step::CarrierBack],
            Self::OneWay => &[Step::OneWay, Step::OneWayBack],
            Self::DrainTor => &[Step::DrainTor, Step::UndrainTor],
            Self::DrainNode => &[Step::DrainNode, Step::UndrainNode],
        }
    }

    /// Nobody but BFD notices in time. A daemon that is away takes its BFD with it, which tells its
    /// neighbours that it is dead; so planned work and restarts are measured without.
    pub(super) const fn needs_bfd(self) -> bool {
        match self {
            Self::Restart
            | Self::Kill
            | Self::CrashLoop
            | Self::Upgrade
            | Self::DrainTor
            | Self::DrainNode => false,
            Self::TorDeath | Self::TorFrozen | Self::Carrier | Self::OneWay => true,
        }
    }
}

impl Step {
    /// Does it under traffic.
    pub(super) fn measure(self, fabric: &Fabric) -> Result<Outcome> {
        let traffic = Traffic::start(fabric)?;
        sleep(Duration::from_millis(500));
        self.happen(fabric)?;
        traffic.end()
    }

    fn happen(self, fabric: &Fabric) -> Result<()> {
        let lab = &fabric.lab;
        let fault = |words: &[&str]| lab.fault(words).map(drop);
        match self {
            Self::Restart => {
                fabric.stop_for_a_while(NODE)?;
                lab.start(NODE)?;
            }
            Self::Kill => {
                fault(&["kill", NODE])?;
                lab.start(NODE)?;
            }
            Self::CrashLoop => {
                for _ in 0..5 {
                    fault(&["kill", NODE])?;
                    lab.start(NODE)?;
                    sleep(Duration::from_millis(300));
                }
            }
            Self::Upgrade => {
                fabric.stop_for_a_while(NODE)?;
                sleep(Duration::from_secs(3));
                lab.start(NODE)?;
            }
            Self::TorDeath => {
                fault(&["swallow", TOR])?;
                fault(&["kill", TOR])?;
                return watch();
            }
            Self::TorFrozen => {
                fault(&["freeze", TOR])?;
                return watch();
            }
            Self::Carrier => {
                lab.link_set(TOR, NODE, false)?;
                return watch();
            }
            Self::OneWay => {
                fault(&["oneway", TOR, NODE])?;
                return watch();
            }
            Self::DrainTor => {
                fabric.drain(TOR, true)?;
                sleep(DRAIN);
                fault(&["stop", TOR])?;
                fault(&["swallow", TOR])?;
                return watch();
            }
            Self::DrainNode => {
                fabric.drain(NODE, true)?;
                return watch();
            }
            Self::UndrainNode => fabric.drain(NODE, false)?,
            Self::UndrainTor => {
                lab.clear_faults()?;
                fabric.drain(TOR, false)?;
            }
            Self::TorReturn | Self::TorThawed | Self::CarrierBack | Self::OneWayBack => {
                lab.clear_faults()?;
            }
        }
        fabric.settle()?;
        sleep(Duration::from_secs(1));
        Ok(())
    }
}

/// Long enough for the slowest to notice and to act.
fn watch() -> Result<()> {
    sleep(Duration::from_secs(3));
    Ok(())
}

/// The ends of the measured traffic.
struct Traffic {
    pods: [Running; 2],
    to_world: Running,
    world: Running,
}

impl Traffic {
    fn start(fabric: &Fabric) -> Result<Self> {
        let place = |number: u8| format!("node{number}/{POD}");
        let [first, second] = fabric.pods.map(|pod| pod.to_string());
        let world: Vec<String> = fabric.world.iter().map(ToString::to_string).collect();
        let world = world.join(",");
        let run = |place: &str, arguments: &[&str]| Running::start(fabric, place, arguments);
        let mut traffic = Self {
            world: run("spine1", &["--port", "9001"])?,
            pods: [run(&place(1), &["--to", &second])?, run(&place(2), &["--to", &first])?],
            to_world: run(&place(1), &["--port", "9001", "--rate", "4000", "--to", &world])?,
        };
        traffic.all(|end| end.expect("hears"))?;
        traffic.all(Running::tell)?;
        Ok(traffic)
    }

    fn end(mut self) -> Result<Outcome> {
        self.all(Running::tell)?;
        self.all(|end| end.expect("stopped"))?;
        self.all(|end| {
            drop(end.child.stdin.take());
            Ok(())
        })?;
        let Self { pods: [first, second], to_world, world } = self;
        let (first, second) = (first.log()?, second.log()?);
        let (to_world, world) = (to_world.log()?, world.log()?);
        let out = Tally::of(&first.sent, &second.received);
        Ok(Outcome {
            out: out.and(Tally::of(&to_world.sent, &world.received)),
            into: Tally::of(&second.sent, &first.received),
        })
    }

    fn all(&mut self, work: impl Fn(&mut Running) -> Result<()>) -> Result<()> {
        let [first, second] = &mut self.pods;
        [first, second, &mut self.to_world, &mut self.world].into_iter().try_for_each(work)
    }
}

/// One end, see [`super::traffic`]. Ends with its stdin.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(fabric: &Fabric, place: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = fabric.lab.command(place, &["testbed", "bench", "traffic"]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start testbed")?;
        let stdout = child.stdout.take().context("spawned with a pipe")?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    /// What comes next.
    fn tell(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("it has been closed")?;
        stdin.write_all(b".").context(DEAD)
    }

    /// Waits for its next word.
    fn expect(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(line.trim() == word, "{DEAD}");
        Ok(())
    }

    fn log(mut self) -> Result<Log> {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text)?;
        self.child.wait()?;
        let log: Log = serde_json::from_str(&text).context(DEAD)?;
        // Such losses would be blamed on whoever is measured.
        ensure!(
            log.overflow == 0,
            "{} packets came to a receiver that was too slow; the machine is too busy to measure on",
            log.overflow
        );
        Ok(log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // What it has counted may be more than a pipe holds: unread it would never end.
        let _ = io::copy(&mut self.stdout, &mut io::sink());
        let _ = self.child.wait();
    }
}

const DEAD: &str = "an end of the traffic has died";
/// Where it happens.
const NODE: &str = "node1";
const TOR: &str = "tor1";
/// How long a drained router's neighbours have before it goes.
const DRAIN: Duration = Duration::from_secs(2);
