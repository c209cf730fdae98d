//! Where speakers are measured: a network namespace for the speaker, one for the load, a veth pair
//! between them, and a file system in memory for what the speaker writes.
//!
//! Everything is in a process id namespace of its own: however the benchmark ends, the kernel
//! ends what it started.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipnetwork::{IpNetwork, Ipv4Network};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{ForkResult, Pid, fork, getppid};

use crate::netlink::{Rtnetlink, VethEnd};
use crate::supervisor;

/// The place, from inside.
pub(super) struct Arena {
    load: File,
    speaker: File,
}

/// A speaker that runs.
pub(super) struct Running {
    child: Child,
}

/// What a speaker has used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Resident now, in octets.
    pub(super) resident: u64,
    /// Most that was resident at any time, in octets.
    pub(super) peak: u64,
    /// Processor time of all its threads.
    pub(super) cpu: Duration,
}

/// Does `work` in a process that has an arena; gives its exit code.
pub(super) fn run_inside(work: impl FnOnce(&Arena) -> Result<i32>) -> Result<i32> {
    supervisor::new_namespaces()?;
    // SAFETY: the process has one thread, so the child lacks none that could hold a lock.
    match unsafe { fork() }.context("cannot fork")? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, code) => Ok(code),
            status => bail!("the benchmark was ended: {status:?}"),
        },
        ForkResult::Child => {
            let code = Arena::new().and_then(|arena| work(&arena)).unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                1
            });
            std::process::exit(code);
        }
    }
}

impl Arena {
    fn new() -> Result<Self> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // Seen from a new process id namespace, a parent that lives is number 0 and one that has
        // gone is our own number 1.
        anyhow::ensure!(getppid().as_raw() == 0, "the benchmark was ended");
        mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
            .context("cannot make mounts private")?;
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), NOTHING)
            .context("cannot mount /proc; in a container, run it with --privileged or as root")?;
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), NOTHING)
            .context("cannot mount a file system in memory over /run")?;
        fs::create_dir(DIR)?;
        let group = format!("{DIR}/group");
        fs::write(&group, supervisor::group_with_root_in_frrvty()?)?;
        mount(Some(&*group), "/etc/group", NOTHING, MsFlags::MS_BIND, NOTHING)
            .context("cannot put root into FRR's group")?;
        let load = File::open(OWN_NET)?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let arena = Self { load, speaker: File::open(OWN_NET)? };
        arena.lay_cable()?;
        Ok(arena)
    }

    fn lay_cable(&self) -> Result<()> {
        let ends = [
            VethEnd { name: SPEAKER_END, netns: &self.speaker },
            VethEnd { name: LOAD_END, netns: &self.load },
        ];
        let mut netlink = Rtnetlink::open()?;
        netlink.add_veth([&ends[0], &ends[1]], 1500).context("cannot lay a cable")?;
        netlink.set_link("lo", true)?;
        netlink.set_link(SPEAKER_END, true)?;
        for address in ["10.99.0.1/16", "fd99::1/64"] {
            netlink.add_address(SPEAKER_END, address.parse()?)?;
        }
        setns(&self.load, CloneFlags::CLONE_NEWNET)?;
        Rtnetlink::open()?.set_link(LOAD_END, true)?;
        Ok(())
    }

    /// Gives the load these addresses.
    pub(super) fn add_addresses(&self, addresses: impl Iterator<Item = Ipv4Addr>) -> Result<()> {
        let mut netlink = Rtnetlink::open()?;
        for address in addresses {
            let network = IpNetwork::V4(Ipv4Network::new(address, 16)?);
            netlink.add_address(LOAD_END, network)?;
        }
        Ok(())
    }

    /// Removes what a speaker has left in the kernel's routes.
    pub(super) fn forget_routes(&self) -> Result<()> {
        setns(&self.speaker, CloneFlags::CLONE_NEWNET)?;
        let outcome = Rtnetlink::open().and_then(|mut netlink| {
            [false, true].into_iter().try_for_each(|up| netlink.set_link(SPEAKER_END, up))
        });
        setns(&self.load, CloneFlags::CLONE_NEWNET)?;
        outcome.context("cannot take the cable off and on again")
    }

    /// Starts a speaker in its namespace. What it prints goes to [`LOG`].
    pub(super) fn start(&self, argv: &[String]) -> Result<Running> {
        let (program, arguments) = argv.split_first().context("no command")?;
        let log = File::create(LOG)?;
        // What a run of `routed` leaves makes the next one a restart, which waits for all its peers
        // before it passes anything on. There is none at first.
        let _ = fs::remove_file(format!("{DIR}/routed.run"));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        setns(&self.speaker, CloneFlags::CLONE_NEWNET)?;
        let child = command.spawn();
        setns(&self.load, CloneFlags::CLONE_NEWNET)?;
        Ok(Running { child: child.with_context(|| format!("cannot start {program}"))? })
    }
}

impl Running {
    /// What it has used so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        let process = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{process}/status")).context(DEAD)?;
        let octets = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
            number.map(|kib: u64| kib * 1024).context(DEAD)
        };
        let (resident, peak) = (octets("VmRSS:")?, octets("VmHWM:")?);
        Ok(Usage { resident, peak, cpu: self.cpu()? })
    }

    /// IPv4 routes of its network namespace.
    pub(super) fn kernel_routes(&self) -> Result<u32> {
        // Counted by the kernel, so that looking costs it little.
        let path = format!("/proc/{}/net/fib_triestat", self.child.id());
        let text = fs::read_to_string(path).context(DEAD)?;
        // Of the table main, which stands first.
        let mut prefixes = text.lines().filter_map(|line| line.trim().strip_prefix("Prefixes:"));
        let count = prefixes.next().and_then(|count| count.trim().parse().ok());
        count.context("no numbers of routes from this kernel")
    }

    /// Of all threads, those that have ended as well. The usual clock ticks would be too coarse.
    fn cpu(&self) -> Result<Duration> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        let clock = clock_getcpuclockid(pid).context(DEAD)?;
        Ok(clock_gettime(clock).context(DEAD)?.into())
    }

    /// The end of what it printed, if it is dead.
    pub(super) fn obituary(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let log = fs::read(LOG).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n  ");
        Some(format!("it ended ({status}); its last words:\n  {end}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let deadline = Instant::now() + Duration::from_secs(5);
        // Nothing of it may disturb the next one.
        while Path::new(&format!("/proc/{}", self.child.id())).exists() && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Inside of the arena: configuration, sockets and logs of the speaker.
pub(super) const DIR: &str = "/run/bench";
/// What the speaker printed.
const LOG: &str = "/run/bench/log";
const OWN_NET: &str = "/proc/thread-self/ns/net";
const SPEAKER_END: &str = "load";
const LOAD_END: &str = "speaker";
const DEAD: &str = "the speaker is dead";
const NOTHING: Option<&str> = None;
