//! The one process that a lab lives and dies with: process 1 of its own process id namespace.
//!
//! In: the folder of a lab with its plan; on stdin a socket to whoever raised it (the leash). Out:
//! a running lab, and on the leash one [`Report`] a line. When this process dies, of whatever, the
//! kernel ends every process of the lab and frees its namespaces. When the leash breaks without
//! the word "detach" before, the lab ends as well: no lab outlives a crashed owner.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, getpid, setsid};
use serde::{Deserialize, Serialize};

use crate::registry::{LabDir, Plan};
use crate::speaker;

mod cables;
mod files;

pub(crate) use files::group_with_root_in_frrvty;

/// What the supervisor tells its owner, one JSON document a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The lock is held: the folder is safe from sweepers.
    Locked,
    /// Something that takes its time begins.
    Step(String),
    /// The lab stands.
    Ready,
    /// The lab could not be built and is gone again.
    Failed(String),
}

/// Sent over the leash by an owner who lets the lab live on.
pub(crate) const DETACH: &[u8] = b"detach\n";

/// Raises the lab in that folder and keeps it until it is told to end.
pub(crate) fn supervise(dir: &Path) -> Result<()> {
    let lab = LabDir::at(dir.to_path_buf());
    let mut leash = Leash::from_stdin()?;
    let lock = lab.hold_lock().context("cannot lock the lab's folder")?;
    leash.report(&Report::Locked)?;
    if let Err(error) = new_namespaces() {
        leash.report(&Report::Failed(format!("{error:#}")))?;
        return Err(error);
    }
    // SAFETY: one thread so far, so the child lacks no thread that could hold a lock.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            lab.write_pid(child)?;
            Ok(())
        }
        ForkResult::Child => {
            let outcome = live(&lab, &mut leash);
            if let Err(error) = &outcome {
                eprintln!("error: {error:#}");
            }
            lab.forget_holders();
            kill_all();
            let removed = lab.remove();
            if let Err(error) = &outcome {
                // The owner may be gone; then nobody wants to know.
                let _ = leash.report(&Report::Failed(format!("{error:#}")));
            }
            drop(lock);
            outcome.and(removed)
        }
    }
}

/// As process 1: builds, then waits for the end.
fn live(lab: &LabDir, leash: &mut Leash) -> Result<()> {
    debug_assert_eq!(getpid(), Pid::from_raw(1));
    let signals = ending_signals()?;
    let _ = setsid();
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .context("cannot make mounts private")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), NOTHING).context(
        "cannot mount /proc for the lab; in a container, run it with --privileged or as root",
    )?;
    let plan = lab.plan()?;
    let mut holders = build(lab, &plan, leash)?;
    leash.report(&Report::Ready)?;
    wait_for_the_end(&signals, leash, &mut holders)
}

fn build(lab: &LabDir, plan: &Plan, leash: &mut Leash) -> Result<BTreeMap<String, Child>> {
    let topology = &plan.topology;
    leash.report(&Report::Step(format!("{} routers", topology.routers.len())))?;
    for router in &topology.routers {
        files::write(lab, topology, router)?;
    }
    let mut holders = BTreeMap::new();
    for router in &topology.routers {
        let child = Command::new("/proc/self/exe")
            .arg0("testbed")
            .arg("hold")
            .arg(lab.router(&router.name))
            .arg(&router.name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        holders.insert(router.name.clone(), child);
    }
    for (name, child) in &mut holders {
        wait_for_holder(child).with_context(|| format!("router {name}"))?;
    }
    let pid = |child: &Child| i32::try_from(child.id()).expect("process ids are below 2^22");
    let pids = holders.iter().map(|(name, child)| (name.clone(), pid(child))).collect();
    leash.report(&Report::Step(format!("{} cables", topology.cables())))?;
    cables::lay(topology, &pids)?;
    lab.write_holders(&pids)?;
    start_daemons(lab, plan, &pids, leash)?;
    Ok(holders)
}

fn wait_for_holder(child: &mut Child) -> Result<()> {
    let mut answer = String::new();
    let stdout = child.stdout.take().expect("spawned with a pipe");
    BufReader::new(stdout).read_line(&mut answer)?;
    match answer.trim() {
        "ok" => Ok(()),
        _ => bail!("its namespaces could not be made; see the lab's supervisor.log"),
    }
}

/// Starts the software of all routers side by side and waits until all answer.
fn start_daemons(
    lab: &LabDir,
    plan: &Plan,
    holders: &BTreeMap<String, i32>,
    leash: &mut Leash,
) -> Result<()> {
    let mut starting = Vec::new();
    for router in &plan.topology.routers {
        if speaker::setup(&plan.topology, router).programs.is_empty() {
            continue;
        }
        let child = Command::new("/proc/self/exe")
            .arg("boot")
            .arg(lab.path())
            .arg(&router.name)
            .arg(holders[&router.name].to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        starting.push((router, child));
    }
    let mut failures = Vec::new();
    for (router, mut child) in starting {
        leash.report(&Report::Step(format!("{} on {}", router.runs, router.name)))?;
        // Only the starter itself has this pipe: daemons log to files.
        let mut complaint = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut complaint)?;
        }
        if !child.wait()?.success() {
            let complaint = complaint.trim().trim_start_matches("error: ").to_owned();
            failures.push(format!("{}: {complaint}", router.name));
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!(failures.join("\n")) }
}

/// Reaps what ends until a signal or the owner says that it is over.
fn wait_for_the_end(
    signals: &SignalFd,
    leash: &mut Leash,
    holders: &mut BTreeMap<String, Child>,
) -> Result<()> {
    loop {
        reap(holders);
        let mut watched = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if let Some(leash) = leash.watched() {
            watched.push(PollFd::new(leash, PollFlags::POLLIN));
        }
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let leash_spoke = watched.get(1).and_then(PollFd::any).unwrap_or(false);
        while let Some(signal) = signals.read_signal()? {
            if i32::try_from(signal.ssi_signo) != Ok(Signal::SIGCHLD as i32) {
                return Ok(());
            }
        }
        if leash_spoke && leash.is_broken()? {
            return Ok(());
        }
    }
}

/// Process 1 is the parent of every orphan of the lab.
fn reap(holders: &BTreeMap<String, Child>) {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(status) => {
                let holder = holders.iter().find(|(_, child)| {
                    status.pid().is_some_and(|pid| u32::try_from(pid.as_raw()) == Ok(child.id()))
                });
                match holder {
                    Some((name, _)) => eprintln!("the holder of {name} ended: {status:?}"),
                    None => eprintln!("a process ended: {status:?}"),
                }
            }
        }
    }
}

fn kill_all() {
    // Process 1 itself is exempt. ESRCH: nobody is left.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while waitpid(None, None).is_ok() {}
}

/// SIGTERM and the like, and SIGCHLD, as something to poll.
fn ending_signals() -> Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        mask.add(signal);
    }
    mask.thread_block()?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// A user namespace unless we are root, then everything else that a lab has for itself.
pub(crate) fn new_namespaces() -> Result<()> {
    let (user, group) = (Uid::effective(), Gid::effective());
    if !user.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER).context(
            "cannot make a user namespace; run as root, or allow it (sysctl \
             kernel.unprivileged_userns_clone=1, user.max_user_namespaces, \
             kernel.apparmor_restrict_unprivileged_userns=0)",
        )?;
        fs::write("/proc/self/setgroups", "deny").context(RESTRICTED)?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1")).context(RESTRICTED)?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1")).context(RESTRICTED)?;
    }
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )
    .context("cannot make the lab's namespaces; a container needs --privileged for it")
}

/// The socket to the owner.
struct Leash {
    stream: UnixStream,
    /// The owner has let go, or the lab has not been told otherwise.
    detached: bool,
}

impl Leash {
    fn from_stdin() -> Result<Self> {
        let stdin: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
        // Nobody else may keep the owner's socket open or read from it.
        let null = File::open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        Ok(Self { stream: UnixStream::from(stdin), detached: false })
    }

    fn report(&mut self, report: &Report) -> Result<()> {
        let line = serde_json::to_string(report)?;
        writeln!(self.stream, "{line}").context("whoever raised the lab is gone")
    }

    fn watched(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        (!self.detached).then(|| self.stream.as_fd())
    }

    /// Reads what the owner sent. True if it is gone without having let go.
    fn is_broken(&mut self) -> Result<bool> {
        let mut word = [0; DETACH.len()];
        match self.stream.read_exact(&mut word) {
            Ok(()) if word == DETACH => {
                self.detached = true;
                Ok(false)
            }
            Ok(()) | Err(_) => Ok(true),
        }
    }
}

const RESTRICTED: &str = "cannot map users; the kernel restricts user namespaces: run as root, or \
                          set sysctl kernel.apparmor_restrict_unprivileged_userns=0";
const NOTHING: Option<&str> = None;
