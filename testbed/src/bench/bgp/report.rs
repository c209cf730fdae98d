//! What was measured, as tables for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Serialize;

use crate::bench::stats::Figures;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Metric {
    /// First UPDATE written until the last receiver has every route; s.
    Converge,
    /// The same down to nothing; s.
    Withdraw,
    /// A new session, from connecting until it has every route; s.
    LateJoiner,
    /// Resident memory with the table full; MiB.
    Resident,
    /// Most of it until then; MiB.
    Peak,
    /// Processor time until idle again after `Converge`; s.
    Cpu,
    /// One UPDATE until the last receiver has it, half of the times and 99 of 100, with an empty
    /// table; µs.
    IdleP50,
    IdleP99,
    /// The same with a full table; µs.
    FullP50,
    FullP99,
    /// The same while a table arrives; µs.
    LoadingP50,
    LoadingP99,
    /// Changes of routes in a second that reach the last receiver.
    Flaps,
    /// First UPDATE written until the last route is in the kernel; s.
    InKernel,
    /// Processor time of a speaker with nothing to do; %.
    IdleCpu,
    /// How much later than a third of the hold time a KEEPALIVE came, 99 of 100 and the worst; ms.
    LateP99,
    LateMost,
}

/// What one run came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Measures(BTreeMap<Metric, f64>);

impl Measures {
    pub(super) fn set(&mut self, metric: Metric, value: f64) {
        self.0.insert(metric, value);
    }
}

/// All runs of one speaker in one scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Runs {
    values: BTreeMap<Metric, Figures>,
    /// Why runs, or the rest of them, were not measured.
    failures: Vec<String>,
}

impl Runs {
    pub(super) fn add(&mut self, measures: Measures, failure: Option<String>) {
        for (metric, value) in measures.0 {
            self.values.entry(metric).or_default().push(value);
        }
        self.failures.extend(failure);
    }

    fn median(&self, metric: Metric) -> Option<f64> {
        self.values.get(&metric)?.median()
    }

    /// Median, and between which values the runs lay.
    fn cell(&self, metric: Metric) -> String {
        self.values.get(&metric).map_or_else(|| "-".into(), |values| values.cell(number))
    }
}

/// One scenario with all that were put through it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Section {
    pub(super) scenario: String,
    pub(super) about: String,
    pub(super) speakers: BTreeMap<String, Runs>,
    /// The same in the order of the table.
    #[serde(skip)]
    pub(super) order: Vec<String>,
    /// Who is put in proportion to whom.
    #[serde(skip)]
    pub(super) pairs: Vec<(String, String)>,
}

impl Section {
    /// The table of medians, then each pair's ratios.
    pub(super) fn text(&self) -> String {
        let metrics = self.metrics();
        let head: Vec<String> = metrics.iter().map(ToString::to_string).collect();
        let rows = self.order.iter().map(|who| {
            let cells = metrics.iter().map(|metric| self.speakers[who].cell(*metric));
            (who.clone(), cells.collect())
        });
        let mut text = format!("\n## {}: {}\n\n", self.scenario, self.about);
        text += &table("median (lowest–highest)", &head, rows);
        if !self.pairs.is_empty() {
            let rows = self.pairs.iter().map(|(who, other)| {
                let ratio = |metric: &Metric| {
                    let ratio = self.ratio(who, other, *metric);
                    ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"))
                };
                (format!("{who} : {other}"), metrics.iter().map(ratio).collect())
            });
            text += "\n";
            text += &table("ratio of medians", &head, rows);
        }
        for who in &self.order {
            for failure in &self.speakers[who].failures {
                writeln!(text, "\n{who}: {failure}").expect("String takes all");
            }
        }
        text
    }

    /// The median of what one of them took, if that was measured.
    pub(super) fn median(&self, who: &str, metric: Metric) -> Option<f64> {
        self.speakers.get(who)?.median(metric)
    }

    pub(super) fn ratio(&self, who: &str, other: &str, metric: Metric) -> Option<f64> {
        let theirs = self.median(other, metric).filter(|theirs| *theirs > 0.0)?;
        Some(self.median(who, metric)? / theirs)
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<Metric> =
            self.speakers.values().flat_map(|runs| runs.values.keys().copied()).collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics
    }
}

/// A Markdown table.
fn table(
    corner: &str,
    head: &[String],
    rows: impl Iterator<Item = (String, Vec<String>)>,
) -> String {
    let mut lines = vec![
        [&[corner.to_owned()], head].concat(),
        std::iter::once("---".to_owned()).chain(head.iter().map(|_| "---:".to_owned())).collect(),
    ];
    lines.extend(rows.map(|(name, cells)| std::iter::once(name).chain(cells).collect()));
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..=head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let cell = if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            write!(text, "| {cell} ").expect("String takes all");
        }
        text += "|\n";
    }
    text
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value {
        ..0.1 => format!("{value:.4}"),
        ..10.0 => format!("{value:.3}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Converge => "converge s",
            Self::Withdraw => "withdraw s",
            Self::LateJoiner => "late joiner s",
            Self::Resident => "resident MiB",
            Self::Peak => "peak MiB",
            Self::Cpu => "CPU s",
            Self::IdleP50 => "idle p50 µs",
            Self::IdleP99 => "idle p99 µs",
            Self::FullP50 => "full p50 µs",
            Self::FullP99 => "full p99 µs",
            Self::LoadingP50 => "loading p50 µs",
            Self::LoadingP99 => "loading p99 µs",
            Self::Flaps => "changes/s",
            Self::InKernel => "in kernel s",
            Self::IdleCpu => "idle CPU %",
            Self::LateP99 => "late p99 ms",
            Self::LateMost => "late most ms",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_spread_ratios_and_failures_are_shown() {
        let mut section = Section {
            scenario: "A".into(),
            about: "a table".into(),
            speakers: BTreeMap::new(),
            order: vec!["routed".into(), "bird".into()],
            pairs: vec![("routed".into(), "bird".into())],
        };
        for (speaker, values) in [("routed", [1.0, 3.0, 2.0]), ("bird", [4.0, 4.0, 5.0])] {
            let runs = section.speakers.entry(speaker.into()).or_default();
            for value in values {
                let mut measures = Measures::default();
                measures.set(Metric::Converge, value);
                runs.add(measures, None);
            }
        }
        let failure = Some("withdraw: not done".into());
        section.speakers.get_mut("bird").unwrap().add(Measures::default(), failure);
        let text = section.text();
        assert!(text.contains("2.000 (1.000–3.000)"), "{text}");
        assert!(text.contains("| routed : bird    |       0.50 |"), "{text}");
        assert!(text.contains("bird: withdraw: not done"), "{text}");
    }
}
