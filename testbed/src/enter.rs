//! Doing something inside of a lab: in a router's namespaces, or in a pod's.
//!
//! In: a lab, a router, perhaps a pod, and what to do. Out: the exit code. Enters the lab first
//! (user, process ids, mounts) and then the router, because only the lab's own `/proc` knows the
//! router by the number that the lab wrote down.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::registry::LabDir;

/// A router, or a pod on it: `ROUTER` or `ROUTER/POD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) router: String,
    pub(crate) pod: Option<String>,
}

impl std::str::FromStr for Place {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('/') {
            Some((router, pod)) => Self { router: router.into(), pod: Some(pod.into()) },
            None => Self { router: text.into(), pod: None },
        })
    }
}

/// Does `work` in a process of its own in that place, and waits for it. Returns its exit code:
/// what `work` returned, or 128 and the signal that ended it.
///
/// Signals that ask this process to end are passed on; Ctrl-C reaches both by itself.
///
/// The calling process must have one thread, and is inside of the lab afterwards.
pub(crate) fn run_in(
    lab: &LabDir,
    place: &Place,
    work: impl FnOnce() -> Result<i32>,
) -> Result<i32> {
    let holder = holder_of(lab, &place.router)?;
    let cwd = std::env::current_dir();
    enter_lab(lab)?;
    // A new process, since only children are in the process id namespace just entered.
    in_child(|| {
        enter_router(holder)?;
        if let Some(pod) = &place.pod {
            enter_pod(&place.router, pod)?;
        }
        if let Ok(cwd) = cwd {
            // Entering mounts leads to the root; a folder that the router hides is no loss.
            let _ = std::env::set_current_dir(cwd);
        }
        work()
    })
}

/// Does `work` in a child process and waits for it; an error is printed there and counts as 1.
fn in_child(work: impl FnOnce() -> Result<i32>) -> Result<i32> {
    // A signal that comes before the parent knows its child waits until it does.
    let held = PASSED_ON.into_iter().chain([Signal::SIGINT]).collect::<SigSet>();
    held.thread_block()?;
    // SAFETY: the process has one thread (only command lines call this), so no lock can be held by a thread that the child lacks.
    match unsafe { fork() }.context("cannot fork")? {
        ForkResult::Parent { child } => {
            pass_on_signals(child)?;
            held.thread_unblock()?;
            wait_for(child)
        }
        ForkResult::Child => {
            held.thread_unblock()?;
            let code = work().unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                1
            });
            std::process::exit(code);
        }
    }
}

/// Joins the namespaces of a router; the calling process must be inside of the lab.
pub(crate) fn enter_router(holder: i32) -> Result<()> {
    let open = |kind: &str| {
        let path = format!("/proc/{holder}/ns/{kind}");
        File::open(&path).with_context(|| format!("cannot open {path}; has its holder died?"))
    };
    let namespaces = [open("net")?, open("uts")?, open("ipc")?, open("mnt")?];
    for namespace in &namespaces {
        setns(namespace, CloneFlags::empty()).context("cannot enter the router")?;
    }
    Ok(())
}

/// A command with the router's `PATH`, ready to be spawned or to replace this process.
pub(crate) fn command(argv: &[String], bin_dir: &Path) -> Result<Command> {
    let Some((program, arguments)) = argv.split_first() else { bail!("no command given") };
    let path = search_path(bin_dir);
    let found = if program.contains('/') {
        PathBuf::from(program)
    } else {
        std::env::split_paths(&path)
            .map(|dir| dir.join(program))
            .find(|file| file.is_file())
            .with_context(|| {
                format!("no program {program:?} beside ours, in PATH or where daemons are")
            })?
    };
    let mut command = Command::new(found);
    command.args(arguments).env("PATH", path);
    Ok(command)
}

/// Our own binaries first, then the caller's `PATH`, then where routing daemons hide.
fn search_path(bin_dir: &Path) -> std::ffi::OsString {
    let callers = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(bin_dir.to_path_buf())
        .chain(std::env::split_paths(&callers))
        .chain(DAEMON_DIRS.map(PathBuf::from));
    std::env::join_paths(dirs).unwrap_or(callers)
}

fn holder_of(lab: &LabDir, router: &str) -> Result<i32> {
    let holders = lab.holders()?;
    holders.get(router).copied().with_context(|| {
        let names: Vec<&str> = holders.keys().map(String::as_str).collect();
        format!("no router {router:?} in lab {}; there are {}", lab.name(), names.join(", "))
    })
}

/// Joins the lab's user, mount and process id namespaces; the last counts for children only.
fn enter_lab(lab: &LabDir) -> Result<()> {
    let supervisor = lab.pid()?;
    let path = |kind: &str| PathBuf::from(format!("/proc/{supervisor}/ns/{kind}"));
    let open = |kind: &str| {
        let path = path(kind);
        File::open(&path).with_context(|| {
            format!("cannot open {} of lab {}; is it another user's?", path.display(), lab.name())
        })
    };
    let (user, pid, mnt) = (open("user")?, open("pid")?, open("mnt")?);
    let ours = std::fs::metadata("/proc/self/ns/user")?;
    if user.metadata()?.ino() != ours.ino() {
        setns(&user, CloneFlags::CLONE_NEWUSER).context("cannot enter the lab's user namespace")?;
    }
    setns(&pid, CloneFlags::CLONE_NEWPID).context("cannot enter the lab")?;
    setns(&mnt, CloneFlags::CLONE_NEWNS).context("cannot enter the lab's mounts")
}

/// Joins the network namespace of a pod; the calling process must be inside of its router.
fn enter_pod(router: &str, pod: &str) -> Result<()> {
    let path = Path::new("/run/netns").join(pod);
    let netns = File::open(&path)
        .with_context(|| format!("no pod {pod:?} on {router}; see `./testbed/run show`"))?;
    setns(&netns, CloneFlags::CLONE_NEWNET).context("cannot enter the pod")?;
    // As `ip netns exec` does: /sys/class/net must show the pod's interfaces.
    unshare(CloneFlags::CLONE_NEWNS)?;
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>);
    Ok(())
}

fn wait_for(child: Pid) -> Result<i32> {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the command"),
        }
    }
}

/// The terminal sends Ctrl-C to the child as well, so it is enough not to die of it.
fn pass_on_signals(child: Pid) -> Result<()> {
    CHILD.store(child.as_raw(), std::sync::atomic::Ordering::Relaxed);
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    let pass = SigAction::new(SigHandler::Handler(pass_on), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: `pass_on` does nothing but an atomic load and kill(2), both async-signal-safe.
    unsafe {
        sigaction(Signal::SIGINT, &ignore)?;
        for signal in PASSED_ON {
            sigaction(signal, &pass)?;
        }
    }
    Ok(())
}

extern "C" fn pass_on(signal: libc::c_int) {
    let child = CHILD.load(std::sync::atomic::Ordering::Relaxed);
    // SAFETY: kill(2) touches no memory of ours.
    unsafe { libc::kill(child, signal) };
}

/// The child that signals are passed on to; one at a time in a process of one thread.
static CHILD: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

/// What asks a process to end, apart from Ctrl-C.
const PASSED_ON: [Signal; 2] = [Signal::SIGTERM, Signal::SIGHUP];
/// Looked through after the caller's `PATH`.
const DAEMON_DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/lib/frr", "/usr/libexec/frr"];
