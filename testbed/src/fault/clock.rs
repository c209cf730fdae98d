//! A router's wall clock that somebody has set wrong.
//!
//! Linux has no namespace for it, so daemons are given one by the preloaded library of Debian's
//! package `faketime`, which reads the offset from a file. The clock that never jumps (CLOCK_MONOTONIC)
//! is left alone, as by settimeofday(2).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::Here;
use crate::daemon;

/// Sets the clock of this router's daemons so many seconds ahead, or back. The first time they are
/// restarted for it, since only a new process takes the library.
pub(crate) fn step(here: Here<'_>, seconds: i64) -> Result<()> {
    if library().is_none() {
        bail!(
            "Linux has no clock for each namespace, so this needs the preloaded library of Debian's \
               package faketime: apt-get install faketime"
        );
    }
    if offset().is_none() {
        write(0)?;
        daemon::stop(here.setup, Signal::SIGTERM)?;
        daemon::start(here.setup, here.bin_dir)?;
    }
    write(seconds)
}

/// What a daemon's environment has to say if this router's clock has ever been set.
pub(crate) fn environment() -> Vec<(&'static str, PathBuf)> {
    let (Some(_), Some(library)) = (offset(), library()) else { return Vec::new() };
    let switch = || PathBuf::from("1");
    vec![
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", FILE.into()),
        // Otherwise a step is seen only 10 s later.
        ("FAKETIME_NO_CACHE", switch()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", switch()),
    ]
}

/// Whether the clock is wrong, in words.
pub(super) fn list() -> Option<String> {
    let offset = offset().filter(|seconds| *seconds != 0)?;
    Some(format!("clock is off by {offset:+} s"))
}

/// The clock is right again.
pub(super) fn clear() -> Result<()> {
    // Not removed: daemons that run with the library go on reading it.
    if offset().is_some() { write(0) } else { Ok(()) }
}

fn offset() -> Option<i64> {
    fs::read_to_string(FILE).ok()?.trim().parse().ok()
}

fn write(seconds: i64) -> Result<()> {
    fs::create_dir_all(daemon::PID_DIR)?;
    // Readers must never see half of it.
    let draft = format!("{FILE}.draft");
    fs::write(&draft, format!("{seconds:+}\n"))?;
    fs::rename(&draft, FILE).with_context(|| format!("cannot write {FILE}"))
}

/// The library for programs with threads.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders
        .chain([Path::new("/usr/lib").to_owned()])
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|file| file.is_file())
}

/// Inside of a router: the offset in seconds, with its sign.
const FILE: &str = "/run/testbed/clock";
