//! The journal of leases on disk: a file beside the sockets, for the next run of the daemon.
//!
//! In: changes of the leases. Out: lines at the end of a file, written as one without waiting for
//! the disk; at the start what the former run wrote. The file is written anew when most of it is
//! outdated, and after a failure to write. Losing it costs cooldowns, never an address given twice:
//! so a full disk is a warning and no reason to refuse a pod.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use routed_core::{
    ipam::{
        Ipam,
        journal::{BadLine, Entry, Header},
    },
    pod::{Memory, Record},
};

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    clock: Clock,
    boot: String,
    file: Option<File>,
    /// Lines not written yet.
    pending: String,
    /// Lines in the file since it was last written anew.
    lines: usize,
    failing: bool,
}

impl Journal {
    /// Reads what the former run has left. What cannot be used is left out with a word in the log.
    pub(super) fn open(path: &Path) -> (Self, Memory) {
        let clock = Clock::now();
        let boot = boot_id();
        let memory = match fs::read_to_string(path) {
            Ok(text) => read(&text, &boot, clock).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the journal of leases is not used");
                Memory::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the journal of leases cannot be read");
                Memory::default()
            }
        };
        let journal = Self {
            path: path.to_owned(),
            clock,
            boot,
            file: None,
            pending: String::new(),
            lines: 0,
            failing: false,
        };
        (journal, memory)
    }

    /// Notes a change; [`flush`](Self::flush) writes it.
    pub(super) fn note(&mut self, record: Record) {
        match record {
            Record::Leased(id, lease) => self.push(&Entry::Leased(id, lease)),
            Record::Released(lease, since) => {
                for address in lease.iter() {
                    self.push(&Entry::Idle(address, self.clock.millis(since)));
                }
            }
        }
    }

    /// Writes what was noted, or the whole book if the file is not there, mostly outdated, or was
    /// not written whole.
    pub(super) fn flush(&mut self, ipam: &Ipam) {
        if self.pending.is_empty() {
            return;
        }
        let appended = match &mut self.file {
            Some(file) if self.lines < LINES_MAX => Some(file.write_all(self.pending.as_bytes())),
            Some(_) | None => None,
        };
        match appended {
            Some(Ok(())) => self.lines += self.pending.lines().count(),
            Some(Err(error)) => self.failed(&error),
            None => self.rewrite(ipam),
        }
        self.pending.clear();
    }

    /// Writes the whole book aside and puts it in place.
    pub(super) fn rewrite(&mut self, ipam: &Ipam) {
        self.file = None;
        let draft = self.path.with_extension("new");
        let written = || -> io::Result<File> {
            let mut file = File::create(&draft)?;
            file.write_all(self.whole(ipam).as_bytes())?;
            fs::rename(&draft, &self.path)?;
            Ok(file)
        };
        match written() {
            Ok(file) => {
                if self.failing {
                    tracing::info!(path = %self.path.display(), "the journal of leases is written again");
                }
                self.file = Some(file);
                self.lines = 0;
                self.failing = false;
            }
            Err(error) => {
                // What was written of it only takes up room.
                let _ = fs::remove_file(&draft);
                self.failed(&error);
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.file = None;
        if !self.failing {
            tracing::warn!(
                path = %self.path.display(), %error,
                "the journal of leases cannot be written; pods are served all the same, but after \
                 a restart cooldowns may be shorter"
            );
        }
        self.failing = true;
    }

    fn whole(&self, ipam: &Ipam) -> String {
        let mut text = format!("{}\n", Header { boot: self.boot.clone() });
        let leased = ipam.leases().map(|(id, lease)| Entry::Leased(id.clone(), lease));
        let idle =
            ipam.idle().map(|(address, since)| Entry::Idle(address, self.clock.millis(since)));
        for entry in leased.chain(idle) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{entry}");
        }
        text
    }

    fn push(&mut self, entry: &Entry) {
        let _ = writeln!(self.pending, "{entry}");
    }
}

/// Ties the daemon's time to the kernel's monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Clock {
    instant: Instant,
    millis: u64,
}

impl Clock {
    fn now() -> Self {
        // This clock always exists; were it not to, cooldowns would only be longer.
        let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
        let millis = since_boot.map_or(0, |since| since.as_millis());
        Self { instant: Instant::now(), millis: u64::try_from(millis).unwrap_or(u64::MAX) }
    }

    fn millis(self, at: Instant) -> u64 {
        let later = at.saturating_duration_since(self.instant).as_millis();
        let earlier = self.instant.saturating_duration_since(at).as_millis();
        let [later, earlier] =
            [later, earlier].map(|millis| u64::try_from(millis).unwrap_or(u64::MAX));
        self.millis.saturating_add(later).saturating_sub(earlier)
    }

    /// Times before the clock began, or after now, are those of no address: now.
    fn instant(self, millis: u64) -> Instant {
        let ago = Duration::from_millis(self.millis.saturating_sub(millis));
        self.instant.checked_sub(ago).unwrap_or(self.instant)
    }
}

/// The journal's text. Only whole lines count: the last may have been cut off.
fn read(text: &str, boot: &str, clock: Clock) -> Result<Memory, BadLine> {
    let mut memory = Memory::default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut lines = whole.lines();
    let header: Header = lines.next().ok_or(BadLine::Form)?.parse()?;
    if header.boot != boot {
        // Everything in it is of another time.
        return Ok(memory);
    }
    let mut leases = std::collections::BTreeMap::new();
    let mut idle = std::collections::BTreeMap::new();
    for (number, line) in lines.enumerate() {
        match line.parse() {
            Ok(Entry::Leased(id, lease)) => {
                for address in lease.iter() {
                    idle.remove(&address);
                    leases.insert(address, (id.clone(), lease));
                }
            }
            Ok(Entry::Idle(address, since)) => {
                leases.remove(&address);
                idle.insert(address, (clock.instant(since), number));
            }
            Err(error) => {
                tracing::warn!(line, %error, "a line of the journal of leases is left out");
            }
        }
    }
    memory.leases = leases.into_values().collect();
    memory.leases.dedup();
    // Of two addresses given back in one millisecond the first one written is first.
    let mut idle: Vec<_> = idle.into_iter().collect();
    idle.sort_by_key(|(_, age)| *age);
    memory.idle = idle.into_iter().map(|(address, (since, _))| (address, since)).collect();
    Ok(memory)
}

/// Changes with every boot. Without /proc all boots look alike, which only matters if the
/// journal's folder outlives one.
fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() { "unknown".to_owned() } else { id.to_owned() }
}

/// Lines after which the file is written anew: about 500 KiB.
const LINES_MAX: usize = 8192;

#[cfg(test)]
mod tests;
