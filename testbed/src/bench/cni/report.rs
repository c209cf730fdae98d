//! What is told of a run: as a table, or as JSON whose names are kept.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::runtime::Phase;
use super::{Families, Machine};
use crate::bench::goal::{self, Goal};
use crate::bench::stats::{Samples, Summary};
use crate::bench::table::{Table, millis};

/// The whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) plugin: PluginFile,
    pub(super) daemon: Vec<DaemonUse>,
    pub(super) cells: Vec<Cell>,
    pub(super) goals: Vec<Goal>,
}

/// The plugin as a file.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct PluginFile {
    pub(super) octets: u64,
    /// Needs no loader and no library.
    pub(super) is_static: bool,
}

/// What the daemon needs with so many pods.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct DaemonUse {
    pub(super) pods: usize,
    /// Octets of memory.
    pub(super) resident: u64,
}

/// All contenders under the same conditions.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub(super) present: usize,
    pub(super) families: Families,
    pub(super) callers: usize,
    pub(super) slash32: Figures,
    pub(super) floor: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<Kernel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) removal: Option<Removal>,
}

impl Cell {
    pub(super) fn new(present: usize, families: Families, callers: usize) -> Self {
        Self {
            present,
            families,
            callers,
            slash32: Figures::default(),
            floor: Figures::default(),
            reference: None,
            kernel: None,
            removal: None,
        }
    }
}

/// A contender's figures.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) add: Timing,
    pub(super) check: Timing,
    pub(super) del: Timing,
    /// CPU time of an ADD, CHECK and DEL together, with the daemon's, in microseconds.
    #[serde(rename = "cpu_us_per_pod", serialize_with = "per_pod")]
    work: (Duration, usize),
}

impl Figures {
    pub(super) fn take(&mut self, add: Phase, check: Phase, del: Phase, work: Duration) {
        self.work.0 += work;
        self.work.1 += add.samples.summary().count;
        self.add.take(add);
        self.check.take(check);
        self.del.take(del);
    }
}

/// One verb's figures.
#[derive(Debug, Default)]
pub(super) struct Timing {
    samples: Samples,
    elapsed: Duration,
}

impl Timing {
    fn take(&mut self, phase: Phase) {
        self.samples.extend(phase.samples);
        self.elapsed += phase.elapsed;
    }

    pub(super) fn summary(&self) -> Summary {
        self.samples.summary()
    }

    /// Pods in a second.
    fn rate(&self) -> f64 {
        rate(self.summary().count, self.elapsed)
    }
}

impl Serialize for Timing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown {
            #[serde(flatten)]
            summary: Summary,
            per_second: f64,
        }
        Shown { summary: self.summary(), per_second: self.rate() }.serialize(serializer)
    }
}

/// The kernel's own figures.
#[derive(Debug, Default, Serialize)]
pub(super) struct Kernel {
    #[serde(serialize_with = "summary")]
    pub(super) add: Samples,
    #[serde(serialize_with = "summary")]
    pub(super) del: Samples,
}

/// The devices, which go after DEL has been answered.
#[derive(Debug, Default, Serialize)]
pub(super) struct Removal {
    pods: usize,
    /// From the first DEL until every device had gone, in seconds.
    #[serde(serialize_with = "seconds")]
    all: Duration,
    /// Of that, after the last answer; the longest of all rounds.
    #[serde(serialize_with = "seconds")]
    behind: Duration,
}

impl Removal {
    pub(super) fn take(&mut self, pods: usize, answered: Duration, gone: Duration) {
        self.pods += pods;
        self.all += gone;
        self.behind = self.behind.max(gone.saturating_sub(answered));
    }

    /// Pods in a second.
    pub(super) fn rate(&self) -> f64 {
        rate(self.pods, self.all)
    }
}

/// Its size, and whether it is static.
pub(super) fn plugin_file(path: &Path) -> Result<PluginFile> {
    let octets = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(PluginFile { octets: octets.len() as u64, is_static: !has_interpreter(&octets) })
}

/// Is there a program header PT_INTERP in this 64-bit ELF file?
fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| Some(usize::from(u16::from_ne_bytes(*elf.get(at..)?.first_chunk()?)));
    let word = |at: usize| Some(u32::from_ne_bytes(*elf.get(at..)?.first_chunk()?));
    let headers = || {
        let at = usize::try_from(u64::from_ne_bytes(*elf.get(32..)?.first_chunk()?)).ok()?;
        let (size, count) = (half(54)?, half(56)?);
        (0..count).map(|number| word(at + number * size)).collect::<Option<Vec<_>>>()
    };
    headers().is_none_or(|kinds| kinds.contains(&PT_INTERP))
}

fn rate(count: usize, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

fn per_pod<S: serde::Serializer>(
    (work, pods): &(Duration, usize),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(micros_per_pod(*work, *pods))
}

fn micros_per_pod(work: Duration, pods: usize) -> f64 {
    work.as_secs_f64() * 1e6 / pods.max(1) as f64
}

fn summary<S: serde::Serializer>(samples: &Samples, serializer: S) -> Result<S::Ok, S::Error> {
    samples.summary().serialize(serializer)
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        writeln!(f, "milliseconds as the runtime sees them, and pods in a second\n")?;
        for cell in &self.cells {
            let Cell { present, families, callers, removal, .. } = cell;
            let families = match families {
                Families::Ipv4 => "IPv4",
                Families::Dual => "IPv4 and IPv6",
            };
            writeln!(f, "{present} pods present, {families}, callers at once: {callers}")?;
            writeln!(f, "{}", table(cell))?;
            if let Some(removal) = removal {
                writeln!(
                    f,
                    "slash32's devices: {:.0} pods/s removed, at most {:.0} ms behind the answers\n",
                    removal.rate(),
                    removal.behind.as_secs_f64() * 1e3
                )?;
            }
        }
        for DaemonUse { pods, resident } in &self.daemon {
            writeln!(f, "daemon with {pods} pods: {} resident", mebioctets(*resident))?;
        }
        let PluginFile { octets, is_static } = self.plugin;
        let linked = if is_static { "static" } else { "dynamically linked" };
        writeln!(f, "plugin: {}, {linked}\n", mebioctets(octets))?;
        write!(f, "{}", goal::table(&self.goals))
    }
}

fn table(cell: &Cell) -> Table {
    let heads = ["", "ADD p50", "p90", "p99", "/s", "CHECK p50", "p90", "p99", "/s"];
    let more = ["DEL p50", "p90", "p99", "/s", "CPU"];
    let heads: Vec<_> = heads.into_iter().chain(more).collect();
    let mut table = Table::new(1, &heads);
    let contenders = [
        ("slash32", Some(&cell.slash32)),
        ("ptp", cell.reference.as_ref()),
        ("floor", Some(&cell.floor)),
    ];
    for (name, figures) in contenders {
        let Some(Figures { add, check, del, work }) = figures else { continue };
        let timings = [add, check, del].into_iter().flat_map(|timing| {
            let Summary { p50_us, p90_us, p99_us, .. } = timing.summary();
            let rate = format!("{:.0}", timing.rate());
            [p50_us, p90_us, p99_us].map(millis).into_iter().chain([rate])
        });
        let cpu = millis(micros_per_pod(work.0, work.1));
        table.row([name.to_owned()].into_iter().chain(timings).chain([cpu]));
    }
    if let Some(Kernel { add, del }) = &cell.kernel {
        let times = |samples: &Samples| {
            let Summary { p50_us, p90_us, p99_us, .. } = samples.summary();
            [p50_us, p90_us, p99_us].map(millis)
        };
        let none = || std::iter::repeat_n(String::new(), 5);
        let cells = times(add).into_iter().chain(none()).chain(times(del));
        table.row(["kernel".to_owned()].into_iter().chain(cells));
    }
    table
}

fn mebioctets(octets: u64) -> String {
    format!("{:.2} MiB", octets as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_has_an_interpreter_and_what_is_no_program_counts_as_having_one() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(has_interpreter(&own));
        assert!(has_interpreter(b"#!/bin/sh"));
        let mut none = own;
        // No program headers at all.
        none[56..58].fill(0);
        assert!(!has_interpreter(&none));
    }

    #[test]
    fn rates_are_of_all_rounds_together() {
        let mut removal = Removal::default();
        removal.take(100, Duration::from_millis(300), Duration::from_millis(400));
        removal.take(100, Duration::from_millis(550), Duration::from_millis(600));
        assert_eq!(removal.rate().round().to_string(), "200");
        assert_eq!(removal.behind, Duration::from_millis(100));
    }
}
