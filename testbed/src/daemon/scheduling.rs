//! Threads that run ahead of all ordinary ones.
//!
//! In: a process and which of its threads. Out: those are real-time, as that of `routed`'s BFD is. In the
//! lab of an ordinary user they stay as they are, as `routed`'s does there.

use std::fs;
use std::io::ErrorKind;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::real_time;
use crate::speaker::Urgent;

/// Gives these threads the lowest real-time priority, as far as we may.
pub(super) fn raise(process: u32, urgent: Urgent) -> Result<()> {
    for thread in threads(process, urgent)? {
        match real_time::raise(thread) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            raised => raised.with_context(|| format!("cannot make thread {thread} real-time"))?,
        }
    }
    Ok(())
}

/// Thread ids. A second thread is waited for; of several others, as BIRD 3 has them, nobody knows which
/// serves BFD, and none is listed.
fn threads(process: u32, urgent: Urgent) -> Result<Vec<libc::pid_t>> {
    let begun = Instant::now();
    loop {
        let entries = fs::read_dir(format!("/proc/{process}/task"))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?));
        let mut threads: Vec<libc::pid_t> = names.collect::<Result<_>>()?;
        if urgent == Urgent::Whole {
            return Ok(threads);
        }
        threads.retain(|thread| u32::try_from(*thread).ok() != Some(process));
        match threads.len() {
            1 => return Ok(threads),
            0 if begun.elapsed() < PATIENCE => sleep(Duration::from_millis(5)),
            _ => return Ok(Vec::new()),
        }
    }
}

/// BIRD starts its second thread with its configuration, before it answers.
const PATIENCE: Duration = Duration::from_secs(1);
