//! Raising a lab: from a topology to a running supervisor.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};

use super::{Lab, Options};
use crate::registry::{LabDir, Plan, Registry};
use crate::supervisor::Report;
use crate::topology::Topology;

impl Lab {
    /// Raises a lab and waits until every daemon answers (sessions may still be on their way).
    ///
    /// # Errors
    ///
    /// Says which router, link or daemon could not be had, and why. Nothing is left then.
    pub fn up(topology: Topology, options: &Options) -> Result<Self> {
        Self::up_telling(topology, options, |_| {})
    }

    /// [`Lab::up`], telling what is being done meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Lab::up`].
    pub fn up_telling(
        mut topology: Topology,
        options: &Options,
        mut tell: impl FnMut(&str),
    ) -> Result<Self> {
        if let Some(runs) = options.fabric {
            topology.set_fabric(runs);
        }
        if let Some(runs) = options.nodes {
            topology.set_nodes(runs);
        }
        let name = options.name.clone().unwrap_or_else(|| unique_name(&topology));
        check_name(&name)?;
        let program = testbed_program(options.bin_dir.as_deref())?;
        let bin_dir = match &options.bin_dir {
            Some(dir) => dir.canonicalize().with_context(|| dir.display().to_string())?,
            None => program.parent().unwrap_or(Path::new("/")).to_path_buf(),
        };
        let plan = Plan { name, topology, bin_dir };
        let claim = Registry::open()?.claim(&plan)?;
        let dir = claim.dir.clone();
        let (leash, theirs) = UnixStream::pair()?;
        let mut starter = spawn_supervisor(&program, &dir, theirs)?;
        let mut claim = Some(claim);
        let outcome = await_ready(&leash, |report| match report {
            // From here on the folder's own lock keeps sweepers away.
            Report::Locked => claim = None,
            Report::Step(step) => tell(step),
            Report::Ready | Report::Failed(_) => {}
        });
        // It only starts process 1 and ends at once.
        starter.wait()?;
        if let Err(error) = outcome {
            drop(leash);
            return Err(tidy_after(&dir, error));
        }
        Ok(Self { dir, plan, program, leash: Some(leash) })
    }
}

fn spawn_supervisor(program: &Path, dir: &LabDir, leash: UnixStream) -> Result<Child> {
    let log = std::fs::File::create(dir.path().join("supervisor.log"))?;
    Command::new(program)
        .arg0("testbed")
        .arg("supervise")
        .arg(dir.path())
        .stdin(OwnedFd::from(leash))
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for the owner; the lab ends when the leash breaks.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// Reads reports until the lab stands.
fn await_ready(leash: &UnixStream, mut heard: impl FnMut(&Report)) -> Result<()> {
    for line in BufReader::new(leash).lines() {
        let report: Report = serde_json::from_str(&line?)?;
        heard(&report);
        match report {
            Report::Ready => return Ok(()),
            Report::Failed(reason) => bail!(reason),
            Report::Locked | Report::Step(_) => {}
        }
    }
    bail!("the lab's supervisor died")
}

/// Removes what a failed start may have left; its log's end becomes part of the error.
fn tidy_after(dir: &LabDir, error: anyhow::Error) -> anyhow::Error {
    let log = std::fs::read_to_string(dir.path().join("supervisor.log")).unwrap_or_default();
    if let Err(also) = dir.take_down() {
        return error.context(format!("and then: {also:#}"));
    }
    match log.trim() {
        "" => error,
        log => error.context(format!("the lab could not be raised\n{log}")),
    }
}

fn unique_name(topology: &Topology) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{count}", default_name(topology), std::process::id())
}

/// The topology's own name, as far as it can be a lab's.
pub(crate) fn default_name(topology: &Topology) -> String {
    let stem = Path::new(&topology.source).file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    if name.is_empty() { "lab".into() } else { name }
}

fn check_name(name: &str) -> Result<()> {
    let fits = (1..=40).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    ensure!(fits, "{name:?} cannot name a lab; use 1 to 40 of A-Z, a-z, 0-9 and '-'");
    Ok(())
}

/// This program, if it is `testbed`; else the one beside it (tests run from a folder below).
pub(super) fn testbed_program(bin_dir: Option<&Path>) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    if own.file_name().is_some_and(|name| name == "testbed") {
        return Ok(own);
    }
    let beside = own.ancestors().skip(1).take(2).map(Path::to_path_buf);
    let found = bin_dir
        .map(Path::to_path_buf)
        .into_iter()
        .chain(std::env::var_os("SLASH32_BIN_DIR").map(PathBuf::from))
        .chain(beside)
        .map(|dir| dir.join("testbed"))
        .find(|program| program.is_file());
    found.with_context(|| {
        format!(
            "no program `testbed` near {}; build it with `cargo build --workspace --bins`, or set \
             SLASH32_BIN_DIR",
            own.display()
        )
    })
}
