//! The node on which all of it happens: a network namespace of its own, with the real daemon.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Contender, Families, PATIENCE};
use crate::netlink::Rtnetlink;

/// The node. Its namespaces live as long as this process, its daemon as long as this value.
pub(super) struct Node {
    folder: TempDir,
    daemon: Child,
    /// Our plugin, for pods with IPv4 only and for those with both.
    slash32: [Contender; 2],
    floor: Contender,
    reference: Option<Contender>,
}

impl Node {
    /// Moves this process into namespaces of its own and starts the daemon there.
    pub(super) fn raise(
        bin_dir: &Path,
        plugin: &Path,
        floor: &Path,
        reference: Option<&Path>,
    ) -> Result<Self> {
        // Every sandbox is an open file.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
            .context("cannot make a node's namespaces; run it as root")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        let mut netlink = Rtnetlink::open()?;
        netlink.set_link("lo", true)?;
        for address in ["192.0.2.1/32", "2001:db8::1/128"] {
            netlink.add_address("lo", address.parse().expect("a constant"))?;
        }
        let folder = tempfile::Builder::new().prefix("slash32-bench-").tempdir()?;
        let daemon = start(bin_dir, folder.path())?;
        let slash32 = ["ipv4", "default"].map(|pool| Contender {
            program: plugin.to_owned(),
            path: bin_dir.to_owned(),
            conf: json!({
                "cniVersion": "1.0.0", "name": "bench", "type": "slash32", "pool": pool,
                "socket": folder.path().join("cni.sock"),
            }),
        });
        let conf = slash32[1].conf.clone();
        let floor = Contender { program: floor.to_owned(), path: bin_dir.to_owned(), conf };
        let reference = reference.map(|plugins| Contender {
            program: plugins.join("ptp"),
            path: plugins.to_owned(),
            conf: ptp(folder.path()),
        });
        Ok(Self { folder, daemon, slash32, floor, reference })
    }

    pub(super) const fn contender(&self, families: Families) -> &Contender {
        match families {
            Families::Ipv4 => &self.slash32[0],
            Families::Dual => &self.slash32[1],
        }
    }

    pub(super) const fn floor(&self) -> &Contender {
        &self.floor
    }

    pub(super) const fn reference(&self) -> Option<&Contender> {
        self.reference.as_ref()
    }

    pub(super) const fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// How many interfaces the node has. Read where that takes no lock of the kernel's.
    pub(super) fn links(&self) -> Result<usize> {
        Ok(fs::read_to_string("/proc/thread-self/net/dev")?.lines().count())
    }

    pub(super) fn expect_links(&self, count: usize) -> Result<()> {
        let links = self.links()?;
        ensure!(links == count, "{links} interfaces instead of {count}; {}", self.log());
        Ok(())
    }

    /// Waits until the node has so many interfaces.
    pub(super) fn settles_to(&self, links: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.links()? != links {
            ensure!(Instant::now() < deadline, "interfaces were left; {}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// CPU time of plugins that have ended, and of the daemon if it is part of it.
    pub(super) fn work(&self, with_daemon: bool) -> Result<Duration> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let micros = (usage.user_time() + usage.system_time()).num_microseconds();
        let mut work = Duration::from_micros(micros.unsigned_abs());
        if with_daemon {
            for task in fs::read_dir(format!("/proc/{}/task", self.daemon.id()))? {
                // A thread that has just ended has no more to tell.
                let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
                let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
                work += Duration::from_nanos(nanos.unwrap_or_default());
            }
        }
        Ok(work)
    }

    /// Octets of memory that the daemon has.
    pub(super) fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        Ok(kib.context("the daemon has ended")? << 10)
    }

    /// The end of what the daemon has logged.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(10).collect();
        format!("the daemon's log: {}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.daemon.kill().and_then(|()| self.daemon.wait());
    }
}

fn start(bin_dir: &Path, folder: &Path) -> Result<Child> {
    let dir = folder.display();
    let config = format!(
        r#"
[node]
name = "bench"
[bgp]
asn = 4200000011
router_id = "192.0.2.1"
listen = []
[sockets]
cni = "{dir}/cni.sock"
admin = "{dir}/routed.sock"
http = ""
[pods]
ipv4 = ["10.128.0.0/14"]
ipv6 = ["fd00:10:128::/64"]
[[pods.pools]]
name = "ipv4"
ipv4 = ["10.132.0.0/14"]
"#
    );
    fs::write(folder.join("routed.toml"), config)?;
    let program = bin_dir.join("routed");
    let mut daemon = Command::new(&program)
        .args(["run", "--config"])
        .arg(folder.join("routed.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(folder.join("log"))?)
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let deadline = Instant::now() + PATIENCE;
    while UnixStream::connect(folder.join("cni.sock")).is_err() {
        if daemon.try_wait()?.is_some() || Instant::now() >= deadline {
            let _ = daemon.kill().and_then(|()| daemon.wait());
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            anyhow::bail!("routed does not serve:\n{log}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(daemon)
}

/// The reference's configuration, as its own documentation has it.
fn ptp(folder: &Path) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "reference", "type": "ptp",
        "ipam": {
            "type": "host-local", "subnet": "10.136.0.0/14",
            "dataDir": folder.join("host-local"), "routes": [{"dst": "0.0.0.0/0"}],
        },
    })
}
