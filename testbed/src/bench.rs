//! Benchmarks: how fast Slash32 is beside others, in one run on one machine.
//!
//! Each runs in namespaces of its own, checks what it measures, and prints a table or JSON.
//! Figures of one machine say little; the ratios between those who ran side by side are the result.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

mod arena;
pub(crate) mod bgp;
pub(crate) mod cluster;
pub(crate) mod cni;
pub(crate) mod failover;
pub(crate) mod goal;
mod load;
pub(crate) mod stats;
pub(crate) mod table;
mod wire;

/// On what it ran.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// Processors that this process may use.
    pub(crate) cpus: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Runnable processes of the last minute, before the run: other work makes figures worse.
    pub(crate) load: f64,
    /// Octets of memory.
    pub(crate) memory: u64,
}

impl Machine {
    /// This one, now.
    pub(crate) fn here() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let load = file("/proc/loadavg");
        let memory = file("/proc/meminfo");
        let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default(),
            memory: memory.unwrap_or_default() << 10,
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpus, kernel, load, memory } = self;
        write!(f, "{cpus} CPUs, {} GiB, Linux {kernel}, load before {load:.2}", memory >> 30)
    }
}

/// The file for all figures, if there is to be one.
fn create(file: Option<&Path>) -> Result<Option<fs::File>> {
    let create = |file: &Path| {
        fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))
    };
    file.map(create).transpose()
}
