//! Starting and stopping the programs of a router.
//!
//! In: a [`Setup`]. Out: running programs, each with a log and a pid file, or what kept one from
//! running with the end of its log. Works inside of the router's namespaces: paths are as the
//! router sees them. What is started is adopted by the lab's supervisor.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::enter::command;
use crate::fault;
use crate::speaker::{Program, Ready, Setup};

mod scheduling;

/// Starts all programs of a router and waits until each answers.
pub(crate) fn start(setup: &Setup, bin_dir: &Path) -> Result<()> {
    // Away from the caller's terminal, so that closing it ends no daemon.
    let _ = nix::unistd::setsid();
    fs::create_dir_all(PID_DIR)?;
    for program in &setup.programs {
        start_one(program, bin_dir)?;
    }
    match &setup.load {
        Some(program) => load(program, bin_dir),
        None => Ok(()),
    }
}

/// Starts those programs of a router that do not run.
pub(crate) fn start_missing(setup: &Setup, bin_dir: &Path) -> Result<()> {
    let gone = |program: &&Program| running(program).is_none() && !program.optional;
    let programs: Vec<Program> = setup.programs.iter().filter(gone).cloned().collect();
    if programs.is_empty() {
        return Ok(());
    }
    start(&Setup { programs, ..setup.clone() }, bin_dir)
}

/// Ends the programs, last started first, with that signal; what ignores it is killed after 5 s.
pub(crate) fn stop(setup: &Setup, signal: Signal) -> Result<()> {
    for program in setup.programs.iter().rev() {
        let Some(pid) = running(program) else { continue };
        // ESRCH: it ended by itself in the meantime.
        let _ = kill(pid, signal);
        if !wait_gone(pid, Duration::from_secs(5)) {
            let _ = kill(pid, Signal::SIGKILL);
            ensure!(wait_gone(pid, Duration::from_secs(5)), "{} does not end", program.name);
        }
        fs::remove_file(pid_file(program))?;
    }
    Ok(())
}

/// The process id of a program, as seen inside of the lab, if it runs.
pub(crate) fn running(program: &Program) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(pid_file(program)).ok()?.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then(|| Pid::from_raw(pid))
}

fn start_one(program: &Program, bin_dir: &Path) -> Result<()> {
    if let Some(pid) = running(program) {
        bail!("{} runs already, as process {pid} of the lab", program.name);
    }
    let mut command = match command(&program.argv, bin_dir) {
        Err(_) if program.optional => return Ok(()),
        Err(error) => return Err(error.context(install_hint(&program.name))),
        Ok(command) => command,
    };
    if let Some(Ready::Socket(stale)) = &program.ready {
        // A killed daemon leaves its socket behind; that must not look like an answer.
        let _ = fs::remove_file(stale);
    }
    without_blocked_signals(&mut command);
    command.envs(fault::environment());
    let log = File::options().create(true).append(true).open(log_file(program))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .current_dir("/")
        .spawn()
        .with_context(|| format!("cannot start {}", program.name))?;
    fs::write(pid_file(program), format!("{}\n", child.id()))?;
    wait_ready(program, &mut child, bin_dir)?;
    program.urgent.map_or(Ok(()), |urgent| scheduling::raise(child.id(), urgent))
}

/// The supervisor, which starts daemons while a lab is raised, blocks the signals that it polls;
/// inherited, that would have them never hear a SIGTERM.
fn without_blocked_signals(command: &mut Command) {
    let unblock = || SigSet::empty().thread_set_mask().map_err(io::Error::from);
    // SAFETY: between fork and exec, `unblock` makes one system call and touches no memory but its
    // own.
    unsafe { command.pre_exec(unblock) };
}

fn wait_ready(program: &Program, child: &mut Child, bin_dir: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        // Asked first: what dies right after its sign is not ready.
        let answers = match &program.ready {
            Some(Ready::Socket(socket)) => socket.exists(),
            Some(Ready::Command(argv)) => succeeds(argv, bin_dir)?,
            // Nothing tells when it is ready; only that it does not fail at once.
            None => begun.elapsed() > Duration::from_millis(100),
        };
        if let Some(status) = child.try_wait()? {
            bail!("{} ended at once ({status}):\n{}", program.name, log_end(program));
        }
        if answers {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < READY_PATIENCE,
            "{} runs, but does not answer after {} s:\n{}",
            program.name,
            READY_PATIENCE.as_secs(),
            log_end(program)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn succeeds(argv: &[String], bin_dir: &Path) -> Result<bool> {
    let mut command = command(argv, bin_dir)?;
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(quiet.status()?.success())
}

fn load(program: &Program, bin_dir: &Path) -> Result<()> {
    let output = command(&program.argv, bin_dir)?.stdin(Stdio::null()).output()?;
    let said = [output.stdout, output.stderr].concat();
    fs::write(log_file(program), &said)?;
    ensure!(
        output.status.success(),
        "{} did not load the configuration ({}):\n{}",
        program.argv.join(" "),
        output.status,
        String::from_utf8_lossy(&said)
    );
    Ok(())
}

fn wait_gone(pid: Pid, patience: Duration) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let deadline = Instant::now() + patience;
    while process.exists() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn log_end(program: &Program) -> String {
    let text = fs::read(log_file(program)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let end = &lines[lines.len().saturating_sub(15)..];
    if end.is_empty() {
        return "  (it logged nothing)".into();
    }
    end.iter().map(|line| format!("  {line}\n")).collect()
}

fn install_hint(program: &str) -> String {
    match program {
        "routed" => "cannot start routed; build it with `cargo build --workspace --bins`, or name \
                     its folder with --bin-dir"
            .into(),
        "bird" => "cannot start bird; install it (Debian: apt-get install bird2)".into(),
        "zebra" | "bgpd" => {
            format!("cannot start {program}; install FRR (Debian: apt-get install frr)")
        }
        other => format!("cannot start {other}"),
    }
}

fn pid_file(program: &Program) -> PathBuf {
    Path::new(PID_DIR).join(format!("{}.pid", program.name))
}

fn log_file(program: &Program) -> PathBuf {
    Path::new("/var/log").join(format!("{}.log", program.name))
}

/// Inside of a router: what the lab knows about its programs.
pub(crate) const PID_DIR: &str = "/run/testbed";
/// A slow machine needs some seconds for FRR; more than this is a fault.
const READY_PATIENCE: Duration = Duration::from_secs(20);
