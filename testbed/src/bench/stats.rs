//! Samples of a duration, and what is told of them.

use std::time::Duration;

use serde::Serialize;

/// How long the same thing took each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

/// What is told of samples, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// How many there were.
    pub(crate) count: usize,
    /// Half of them took no longer.
    pub(crate) p50_us: f64,
    /// 90 % took no longer.
    pub(crate) p90_us: f64,
    /// 99 % took no longer.
    pub(crate) p99_us: f64,
    /// None took longer.
    pub(crate) max_us: f64,
}

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// All zero if there are none.
    pub(crate) fn summary(&self) -> Summary {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |percent| percentile(&sorted, percent).as_secs_f64() * 1e6;
        Summary {
            count: sorted.len(),
            p50_us: at(50),
            p90_us: at(90),
            p99_us: at(99),
            max_us: at(100),
        }
    }
}

/// The same figure of several runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The middle one, or between the two in the middle; none of none.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        Some(f64::midpoint(values[last / 2], values[values.len() / 2]))
    }

    /// The largest; none of none.
    pub(crate) fn worst(&self) -> Option<f64> {
        self.0.iter().copied().reduce(f64::max)
    }

    /// Median, and between which values the runs lay, as `number` writes them.
    pub(crate) fn cell(&self, number: impl Fn(f64) -> String) -> String {
        let Some(median) = self.median() else { return "-".into() };
        let lowest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.0.len() == 1 {
            return number(median);
        }
        format!("{} ({}–{})", number(median), number(lowest), number(highest))
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// The smallest sample that so many percent do not exceed (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(samples: impl IntoIterator<Item = u64>) -> Summary {
        samples.into_iter().map(Duration::from_micros).collect::<Samples>().summary()
    }

    #[test]
    fn percentiles_are_samples_by_nearest_rank_whatever_the_order() {
        let Summary { count, p50_us, p90_us, p99_us, max_us } = micros((1..=200).rev());
        assert_eq!(count, 200);
        assert_eq!([p50_us, p90_us, p99_us, max_us].map(f64::round), [100.0, 180.0, 198.0, 200.0]);
    }

    #[test]
    fn few_samples_have_percentiles_too_and_none_are_zero() {
        let one = micros([7]);
        assert_eq!([one.p50_us, one.p99_us, one.max_us].map(f64::round), [7.0; 3]);
        assert_eq!(micros([]), Summary::default());
    }
}
