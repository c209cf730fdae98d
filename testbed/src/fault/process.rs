//! Daemons that hang, end or die.

use std::fs;

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon;
use crate::speaker::{Program, Setup};

/// Stops daemons where they are (SIGSTOP): one by name, or all. Their sockets stay open, and the
/// kernel goes on forwarding.
pub(crate) fn freeze(setup: &Setup, name: Option<&str>) -> Result<()> {
    for (_, pid) in running(setup, name)? {
        kill(pid, Signal::SIGSTOP)?;
    }
    Ok(())
}

/// Lets frozen daemons go on.
pub(crate) fn thaw(setup: &Setup, name: Option<&str>) -> Result<()> {
    for (_, pid) in running(setup, name)? {
        kill(pid, Signal::SIGCONT)?;
    }
    Ok(())
}

/// Sends a signal that ends one daemon, or all, and waits for it.
pub(crate) fn signal(setup: &Setup, name: Option<&str>, signal: Signal) -> Result<()> {
    let programs: Vec<Program> =
        running(setup, name)?.into_iter().map(|(program, _)| program.clone()).collect();
    // One that is frozen would hear nothing but SIGKILL.
    thaw(setup, name)?;
    daemon::stop(&Setup { programs, ..Setup::default() }, signal)
}

/// Which daemons do not do their work, in words.
pub(super) fn list(setup: &Setup) -> Vec<String> {
    let mut faults = Vec::new();
    for program in &setup.programs {
        match daemon::running(program) {
            None if program.optional => {}
            None => faults.push(format!("{} does not run", program.name)),
            Some(pid) if is_frozen(pid) => faults.push(format!("{} {FROZEN}", program.name)),
            Some(_) => {}
        }
    }
    faults
}

/// The running programs of that name, or all; of a name that none has, says which there are.
pub(super) fn running<'a>(setup: &'a Setup, name: Option<&str>) -> Result<Vec<(&'a Program, Pid)>> {
    let wanted = |program: &&Program| name.is_none_or(|name| program.name == name);
    let programs: Vec<&Program> = setup.programs.iter().filter(wanted).collect();
    if let (Some(name), true) = (name, programs.is_empty()) {
        let names: Vec<&str> = setup.programs.iter().map(|program| &*program.name).collect();
        bail!("no daemon {name:?} here; there are: {}", names.join(", "));
    }
    let with_pid = |program| Some((program, daemon::running(program)?));
    Ok(programs.into_iter().filter_map(with_pid).collect())
}

/// State T of proc(5).
fn is_frozen(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
}

/// What [`list`] says of a daemon that is stopped where it is, after its name.
pub(crate) const FROZEN: &str = "is frozen";
