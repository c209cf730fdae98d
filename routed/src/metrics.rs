//! Metrics: what a Prometheus server scrapes.
//!
//! In: events that only happen once (CNI operations), and at a scrape the state that others own.
//! Out: the text exposition. What has a state is read at the scrape and never counted along, so
//! that a metric cannot drift from the truth and no peer that is gone leaves a series behind.
//!
//! Labels are bounded: names of the configuration, families, and enums. Never a prefix, a pod or
//! anything that a peer chooses.

mod process;
mod state;

use std::time::Duration;

use bgp::family::Family;
use plugin::{
    cni::code,
    rpc::{Request, Response},
};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder, core::Collector,
    proto::MetricFamily,
};

use crate::sources::Sources;

/// The registry of what is counted as it happens. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    cni: HistogramVec,
    forwarding: IntCounterVec,
}

/// What a runtime asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// ADD.
    Add,
    /// DEL.
    Del,
    /// CHECK.
    Check,
    /// GC.
    Gc,
    /// STATUS.
    Status,
}

impl Verb {
    const ALL: [Self; 5] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status];

    const fn label(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Del => "del",
            Self::Check => "check",
            Self::Gc => "gc",
            Self::Status => "status",
        }
    }
}

impl From<&Request> for Verb {
    fn from(request: &Request) -> Self {
        match request {
            Request::Add(_) => Self::Add,
            Request::Del(_) => Self::Del,
            Request::Check(_) => Self::Check,
            Request::Gc(_) => Self::Gc,
            Request::Status => Self::Status,
        }
    }
}

impl Metrics {
    /// Everything at zero. The series of successes are there from the start, so that the first
    /// operation already shows in a rate.
    #[must_use]
    pub fn new() -> Self {
        let options = HistogramOpts::new(
            "slash32_cni_operation_duration_seconds",
            "Time from a request of the CNI plugin to its answer.",
        );
        let options = options.buckets(CNI_BUCKETS.to_vec());
        let cni = HistogramVec::new(options, &["verb", "result"]).expect("the name is valid");
        for verb in Verb::ALL {
            cni.with_label_values(&[verb.label(), "ok"]);
        }
        let options = Opts::new(
            "slash32_forwarding_repairs_total",
            "How often somebody else had switched forwarding off, and it was put right.",
        );
        let forwarding = IntCounterVec::new(options, &["family"]).expect("the name is valid");
        for family in Family::ALL {
            forwarding.with_label_values(&[family.to_string()]);
        }
        let registry = Registry::new();
        register(&registry, cni.clone());
        register(&registry, forwarding.clone());
        Self { registry, cni, forwarding }
    }

    /// Somebody had switched forwarding of the family off, and it is on again.
    pub fn forwarding_mended(&self, family: Family) {
        self.forwarding.with_label_values(&[family.to_string()]).inc();
    }

    /// A request of the CNI plugin was answered, so long after it came.
    pub fn cni_done(&self, verb: Verb, response: &Response, elapsed: Duration) {
        let labels = [verb.label(), result_label(response)];
        self.cni.with_label_values(&labels).observe(elapsed.as_secs_f64());
    }

    /// The exposition of this moment. Owners that do not answer are left out, and
    /// `slash32_scrape_ok` says so.
    pub async fn render(&self, sources: &Sources) -> String {
        let mut families = self.registry.gather();
        families.extend(state::gather(sources).await);
        families.extend(process::gather());
        encode(&families)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn encode(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    if let Err(error) = TextEncoder::new().encode_utf8(families, &mut text) {
        tracing::error!(%error, "metrics cannot be written; please report this");
    }
    text
}

/// Adds a metric of ours to a registry of ours.
fn register(registry: &Registry, metric: impl Collector + 'static) {
    registry.register(Box::new(metric)).expect("each name is registered once, with valid labels");
}

/// The codes of the CNI spec and ours by name; those of later releases together.
const fn result_label(response: &Response) -> &'static str {
    let error = match response {
        Response::Added(_) | Response::Done => return "ok",
        Response::Error(error) => error,
    };
    match error.code {
        code::UNKNOWN_CONTAINER => "unknown_container",
        code::INVALID_ENVIRONMENT => "invalid_environment",
        code::INVALID_CONFIG => "invalid_config",
        code::TRY_AGAIN => "try_again",
        code::NOT_AVAILABLE => "not_available",
        code::LIMITED_CONNECTIVITY => "limited_connectivity",
        code::POOL_EXHAUSTED => "pool_exhausted",
        code::ADDRESS_REFUSED => "address_refused",
        code::KERNEL_REFUSED => "kernel_refused",
        code::CHECK_FAILED => "check_failed",
        code::ALREADY_ATTACHED => "already_attached",
        _ => "other",
    }
}

/// Seconds: from what a veth costs (a millisecond) to where a runtime gives up.
const CNI_BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 5.0, 30.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cni_operations_are_counted_by_verb_and_result() {
        let metrics = Metrics::new();
        metrics.cni_done(Verb::Add, &Response::Done, Duration::from_millis(3));
        let error = plugin::cni::Error {
            code: code::POOL_EXHAUSTED,
            msg: String::new(),
            details: String::new(),
        };
        metrics.cni_done(Verb::Add, &Response::Error(error), Duration::from_millis(1));
        let text = encode(&metrics.registry.gather());
        for line in [
            "slash32_cni_operation_duration_seconds_count{result=\"ok\",verb=\"add\"} 1",
            "slash32_cni_operation_duration_seconds_bucket{result=\"ok\",verb=\"add\",le=\"0.002\"} 0",
            "slash32_cni_operation_duration_seconds_bucket{result=\"ok\",verb=\"add\",le=\"0.004\"} 1",
            "slash32_cni_operation_duration_seconds_count{result=\"pool_exhausted\",verb=\"add\"} 1",
            "slash32_cni_operation_duration_seconds_count{result=\"ok\",verb=\"status\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\nis not in\n{text}");
        }
    }
}
