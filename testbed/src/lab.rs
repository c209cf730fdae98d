//! A lab as a value: raised by [`Lab::up`], gone when it is dropped.
//!
//! In: a topology and options. Out: handles to look into the lab, run commands in it, cut its
//! cables and restart its daemons. All of it goes through the `testbed` program, so what a test
//! does can be done by hand, and a process of many threads can use it.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::registry::{LabDir, Plan, Registry};
use crate::supervisor::DETACH;
use crate::topology::{Runs, Topology};

mod look;
mod raise;

pub use look::{Hop, Route};
pub(crate) use raise::default_name;

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    dir: LabDir,
    plan: Plan,
    /// The `testbed` program.
    program: PathBuf,
    /// Breaks when this value or its process dies, and the lab ends with it. None: the lab was
    /// raised by someone else and stays.
    leash: Option<UnixStream>,
}

/// How to raise a lab. The default takes everything from the topology.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The lab's name; without one, a name that no other lab of this process has.
    pub name: Option<String>,
    /// Software for all ToRs and spines, in place of what the topology names.
    pub fabric: Option<Runs>,
    /// Software for all nodes, in place of what the topology names.
    pub nodes: Option<Runs>,
    /// Where `routed` and `slash32` are; without it, beside the `testbed` program.
    pub bin_dir: Option<PathBuf>,
}

impl Lab {
    /// A lab that someone else has raised; it stays up when this value is dropped.
    ///
    /// # Errors
    ///
    /// If there is none of that name, or, without a name, not exactly one.
    pub fn find(name: Option<&str>) -> Result<Self> {
        let dir = Registry::open()?.find(name)?;
        let plan = dir.plan()?;
        Ok(Self { dir, plan, program: raise::testbed_program(None)?, leash: None })
    }

    /// Lets the lab live on without this process.
    ///
    /// # Errors
    ///
    /// If the lab has ended in the meantime.
    pub fn detach(mut self) -> Result<()> {
        match self.leash.take() {
            Some(mut leash) => leash.write_all(DETACH).context("the lab has ended"),
            None => Ok(()),
        }
    }

    /// Takes the lab down and waits until nothing of it is left.
    ///
    /// # Errors
    ///
    /// If a process does not end or the folder cannot be removed.
    pub fn down(mut self) -> Result<()> {
        self.leash = None;
        self.dir.take_down()
    }

    /// The lab's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// What was built.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.plan.topology
    }

    /// The lab's folder, with `supervisor.log` in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A router's folder: its `/etc`, `/run`, `/var/lib`, `/var/log` are `etc`, `run`, `lib`,
    /// `log` in it.
    #[must_use]
    pub fn node_dir(&self, router: &str) -> PathBuf {
        self.dir.router(router)
    }

    /// Where a router's own file is outside of it, such as `/etc/slash32/routed.toml`.
    ///
    /// # Errors
    ///
    /// If the router shares that path with the host.
    pub fn path_of(&self, router: &str, inside: &str) -> Result<PathBuf> {
        self.dir.inside(router, Path::new(inside))
    }

    /// The `testbed` command with these arguments, for this lab.
    #[must_use]
    pub fn testbed(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--name", self.name()]).args(arguments);
        command
    }

    /// A command inside of a router (`"tor1"`) or of a pod (`"node1/web"`), not yet started.
    #[must_use]
    pub fn command(&self, place: &str, argv: &[&str]) -> Command {
        let mut command = self.testbed(&["exec", place, "--"]);
        command.args(argv);
        command
    }

    /// Runs a command to its end, whatever its exit code.
    ///
    /// # Errors
    ///
    /// Only if the `testbed` program cannot be started.
    pub fn exec(&self, place: &str, argv: &[&str]) -> Result<Output> {
        let mut command = self.command(place, argv);
        command.stdin(Stdio::null()).output().context("cannot start testbed")
    }

    /// Runs a command that must succeed. Returns its stdout.
    ///
    /// # Errors
    ///
    /// With both outputs if the exit code is not 0.
    pub fn read(&self, place: &str, argv: &[&str]) -> Result<String> {
        let output = self.exec(place, argv)?;
        successful(&format!("{place}: {}", argv.join(" ")), output)
    }

    /// Starts a command and leaves it running; SIGTERM to the child reaches it.
    ///
    /// # Errors
    ///
    /// Only if the `testbed` program cannot be started.
    pub fn spawn(&self, place: &str, argv: &[&str]) -> Result<Child> {
        let mut command = self.command(place, argv);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start testbed")
    }

    /// Adds a pod through the real plugin, as a container runtime would. Returns its result.
    ///
    /// # Errors
    ///
    /// With the plugin's own error document.
    pub fn pod_add(&self, node: &str, pod: &str) -> Result<Value> {
        let text = self.do_testbed(&["pod", "add", node, pod])?;
        serde_json::from_str(&text).with_context(|| format!("not a CNI result: {text}"))
    }

    /// Removes a pod through the real plugin.
    ///
    /// # Errors
    ///
    /// With the plugin's own error document.
    pub fn pod_del(&self, node: &str, pod: &str) -> Result<()> {
        self.do_testbed(&["pod", "del", node, pod]).map(drop)
    }

    /// Has the real plugin check a pod.
    ///
    /// # Errors
    ///
    /// With the plugin's own error document.
    pub fn pod_check(&self, node: &str, pod: &str) -> Result<()> {
        self.do_testbed(&["pod", "check", node, pod]).map(drop)
    }

    /// Switches the interface of `router` that leads to `neighbour`.
    ///
    /// # Errors
    ///
    /// If there is no such link.
    pub fn link_set(&self, router: &str, neighbour: &str, up: bool) -> Result<()> {
        self.do_testbed(&["link", router, neighbour, if up { "up" } else { "down" }]).map(drop)
    }

    /// Switches off all interfaces of a router: its neighbours lose the carrier.
    ///
    /// # Errors
    ///
    /// If there is no such router.
    pub fn cut(&self, router: &str) -> Result<()> {
        self.do_testbed(&["cut", router]).map(drop)
    }

    /// Undoes [`Lab::cut`].
    ///
    /// # Errors
    ///
    /// If there is no such router.
    pub fn mend(&self, router: &str) -> Result<()> {
        self.do_testbed(&["mend", router]).map(drop)
    }

    /// Starts a router's daemons, which must not run.
    ///
    /// # Errors
    ///
    /// With the end of the daemon's log.
    pub fn start(&self, router: &str) -> Result<()> {
        self.do_testbed(&["start", router]).map(drop)
    }

    /// Asks a router's daemons to end and waits for it.
    ///
    /// # Errors
    ///
    /// If one does not end.
    pub fn stop(&self, router: &str) -> Result<()> {
        self.do_testbed(&["stop", router]).map(drop)
    }

    /// Ends a router's daemons without giving them a chance to say goodbye (SIGKILL).
    ///
    /// # Errors
    ///
    /// If one does not end.
    pub fn kill(&self, router: &str) -> Result<()> {
        self.do_testbed(&["kill", router]).map(drop)
    }

    /// [`Lab::stop`] and [`Lab::start`].
    ///
    /// # Errors
    ///
    /// As these.
    pub fn restart(&self, router: &str) -> Result<()> {
        self.do_testbed(&["restart", router]).map(drop)
    }

    /// Makes something go wrong, as `testbed fault` with these words does: `["loss", "tor1", "node1",
    /// "10"]`. Ends with [`Lab::clear_faults`], or with the lab.
    ///
    /// # Errors
    ///
    /// If there is no such router, link or daemon, or the machine cannot do it.
    pub fn fault(&self, words: &[&str]) -> Result<String> {
        self.do_testbed(&[&["fault"], words].concat())
    }

    /// Everything that is wrong in the lab, a line each.
    ///
    /// # Errors
    ///
    /// If a router cannot be looked into.
    pub fn faults(&self) -> Result<String> {
        let routers = self.topology().routers.iter();
        routers.map(|router| self.fault(&["show", &router.name])).collect()
    }

    /// Undoes every fault: daemons run, links are on, nothing is lost or late, clocks are right.
    ///
    /// # Errors
    ///
    /// If a daemon cannot be started.
    pub fn clear_faults(&self) -> Result<()> {
        let mut routers = self.topology().routers.iter();
        routers.try_for_each(|router| self.fault(&["clear", &router.name]).map(drop))
    }

    /// Tries every 50 ms until `done` is true.
    ///
    /// # Errors
    ///
    /// If that takes longer than `patience`, naming `what` was waited for and the last error.
    pub fn wait_until(
        &self,
        what: &str,
        patience: Duration,
        mut done: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let last = done();
            if matches!(last, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let logs = self.dir().join("routers/*/log").display().to_string();
                let reason = last.err().map(|error| format!(": {error:#}")).unwrap_or_default();
                bail!("waited {} s in vain for: {what}{reason} (logs: {logs})", patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn do_testbed(&self, arguments: &[&str]) -> Result<String> {
        let output = self.testbed(arguments).stdin(Stdio::null()).output()?;
        successful(&format!("testbed {}", arguments.join(" ")), output)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.leash.take().is_some()
            && let Err(error) = self.dir.take_down()
        {
            eprintln!("lab {}: {error:#}", self.name());
        }
    }
}

/// Stdout of a command that must have succeeded.
fn successful(what: &str, output: Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).with_context(|| format!("{what} printed no text"))
}
