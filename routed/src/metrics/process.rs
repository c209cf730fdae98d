//! The daemon's own use of the machine, under the names that every dashboard knows.
//!
//! In: /proc/self. Out: `process_*`. What cannot be read is left out.

use std::fs;

use prometheus::{Counter, Gauge, Registry, proto::MetricFamily};

use super::register;

/// `process_*` at this moment.
pub(super) fn gather() -> Vec<MetricFamily> {
    let registry = Registry::new();
    let gauge = |name: &str, help: &str, value: Option<f64>| {
        let Some(value) = value else { return };
        let gauge = Gauge::new(name, help).expect("the name is valid");
        gauge.set(value);
        register(&registry, gauge);
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let octets = |key| status_value(&status, key).map(|kib| kib * 1024.0);
    gauge("process_resident_memory_bytes", "Resident memory.", octets("VmRSS:"));
    gauge("process_virtual_memory_bytes", "Virtual memory.", octets("VmSize:"));
    gauge("process_threads", "Threads.", status_value(&status, "Threads:"));
    gauge("process_open_fds", "Open file descriptors.", open_files());
    gauge("process_max_fds", "Most file descriptors that may be open.", max_files(&limits));
    gauge(
        "process_start_time_seconds",
        "Start of the process, seconds since the epoch.",
        stat_field(&stat, START_TIME).zip(boot_time()).map(|(ticks, boot)| boot + ticks / TICKS),
    );
    if let Some((user, system)) = stat_field(&stat, USER_TIME).zip(stat_field(&stat, SYSTEM_TIME)) {
        let help = "Processor time used, user and system.";
        let seconds = Counter::new("process_cpu_seconds_total", help).expect("the name is valid");
        seconds.inc_by((user + system) / TICKS);
        register(&registry, seconds);
    }
    registry.gather()
}

/// The number after a key of /proc/self/status.
fn status_value(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// A field of /proc/self/stat by its number in proc_pid_stat(5). The second is the name, which
/// may contain anything, so fields are counted from its closing bracket.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn open_files() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them was this very listing.
    u32::try_from(open.saturating_sub(1)).ok().map(f64::from)
}

fn max_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn boot_time() -> Option<f64> {
    status_value(&fs::read_to_string("/proc/stat").ok()?, "btime")
}

const USER_TIME: usize = 14;
const SYSTEM_TIME: usize = 15;
const START_TIME: usize = 22;
/// Ticks a second in /proc, the same on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_a_start_in_the_past() {
        let families = gather();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name);
            let metric = &family.unwrap_or_else(|| panic!("no {name}")).get_metric()[0];
            metric.get_gauge().get_value()
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }

    #[test]
    fn a_process_name_with_brackets_does_not_shift_the_fields() {
        let stat = "1 (a) b) S 4 5 6 7 8 9 10 11 12 13 14 15 16";
        assert_eq!(stat_field(stat, 14), Some(14.0));
    }
}
