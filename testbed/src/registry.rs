//! Which labs there are: one folder each, whose lock says whether the lab is alive.
//!
//! In: names. Out: folders and what is written in them. The lock of a folder is held by the lab's
//! supervisor for as long as it lives, however it dies; a folder with a free lock is what a crash
//! left behind, and is swept by the next `up` or `down`.
//!
//! ```text
//! /run/slash32-lab/            (an ordinary user's: $XDG_RUNTIME_DIR/slash32-lab)
//!   .lock                      held while a folder is made or swept
//!   NAME/
//!     lock                     held by the supervisor
//!     plan.json  pid  holders.json  supervisor.log
//!     routers/ROUTER/{etc,run,lib,log,tmp}     the router's own /etc, /run, /var/lib, …
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde::{Deserialize, Serialize};

use crate::topology::Topology;

/// The folder that holds all labs of this user.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    path: PathBuf,
}

/// What `up` was asked for; the supervisor builds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The lab's name.
    pub(crate) name: String,
    /// What to build.
    pub(crate) topology: Topology,
    /// First entry of every router's `PATH`: where `routed` and `slash32` are.
    pub(crate) bin_dir: PathBuf,
}

/// The folder of one lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabDir {
    path: PathBuf,
}

/// A new lab's folder. No other folder can be made or swept while this lives.
pub(crate) struct Claim {
    pub(crate) dir: LabDir,
    _registry_lock: File,
}

impl Registry {
    /// Opens the folder, making it if need be.
    pub(crate) fn open() -> Result<Self> {
        let path = Self::path();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the folder of labs, {}", path.display()))?;
        // Below /tmp anyone could have made it first.
        let owner = fs::metadata(&path)?.uid();
        ensure!(
            owner == Uid::effective().as_raw(),
            "{} belongs to user {owner}; remove it, or set SLASH32_LAB_DIR to a folder of yours",
            path.display()
        );
        Ok(Self { path })
    }

    fn path() -> PathBuf {
        if let Some(path) = std::env::var_os("SLASH32_LAB_DIR") {
            return path.into();
        }
        let user = Uid::effective();
        if user.is_root() {
            return "/run/slash32-lab".into();
        }
        match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
            Some(dir) if fs::metadata(&dir).is_ok_and(|dir| dir.uid() == user.as_raw()) => {
                dir.join("slash32-lab")
            }
            _ => format!("/tmp/slash32-lab-{user}").into(),
        }
    }

    /// Sweeps what crashes left, then makes the folder of a new lab.
    pub(crate) fn claim(&self, plan: &Plan) -> Result<Claim> {
        let lock = self.lock()?;
        self.sweep_locked()?;
        let dir = LabDir { path: self.path.join(&plan.name) };
        // One that is just ending (Ctrl-C, and the same command again) frees its name at once.
        let deadline = Instant::now() + Duration::from_secs(5);
        while dir.path.exists() && !dir.stands() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        ensure!(
            !dir.path.exists(),
            "a lab named {:?} is up; take it down (`./testbed/run down --name {0}`) or give the new one \
             another --name",
            plan.name
        );
        fs::create_dir(&dir.path)?;
        write_json(&dir.path.join("plan.json"), plan)?;
        File::create(dir.path.join("lock"))?;
        Ok(Claim { dir, _registry_lock: lock })
    }

    /// Removes the folders that crashed labs left. Returns their names.
    pub(crate) fn sweep(&self) -> Result<Vec<String>> {
        let _lock = self.lock()?;
        self.sweep_locked()
    }

    fn sweep_locked(&self) -> Result<Vec<String>> {
        let mut swept = Vec::new();
        for dir in self.folders()? {
            if !dir.is_alive()? {
                dir.remove()?;
                swept.push(dir.name());
            }
        }
        Ok(swept)
    }

    /// The labs that are up, by name.
    pub(crate) fn alive(&self) -> Result<Vec<LabDir>> {
        let mut alive = Vec::new();
        for dir in self.folders()? {
            if dir.is_alive()? && dir.stands() {
                alive.push(dir);
            }
        }
        Ok(alive)
    }

    /// The lab of that name; without a name, the only one.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<LabDir> {
        let mut alive = self.alive()?;
        if let Some(name) = name {
            let found = alive.into_iter().find(|dir| dir.name() == name);
            return found
                .with_context(|| format!("no lab named {name:?} is up; see `./testbed/run show`"));
        }
        match alive.len() {
            0 => bail!("no lab is up; raise one with `./testbed/run up two-racks`"),
            1 => Ok(alive.remove(0)),
            _ => {
                let names: Vec<String> = alive.iter().map(LabDir::name).collect();
                bail!("several labs are up: {}; say which with --name", names.join(", "))
            }
        }
    }

    fn folders(&self) -> Result<Vec<LabDir>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(LabDir { path: entry.path() });
            }
        }
        folders.sort_by_key(LabDir::name);
        Ok(folders)
    }

    fn lock(&self) -> Result<File> {
        let lock = File::create(self.path.join(".lock"))?;
        lock.lock()?;
        Ok(lock)
    }
}

impl LabDir {
    /// The folder at that path.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The lab's name.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A router's part of the folder.
    pub(crate) fn router(&self, router: &str) -> PathBuf {
        self.path.join("routers").join(router)
    }

    /// Where the lab's own folder has a file of a router.
    pub(crate) fn inside(&self, router: &str, path: &Path) -> Result<PathBuf> {
        for (host, own) in ROUTER_DIRS {
            if let Ok(rest) = path.strip_prefix(host) {
                return Ok(self.router(router).join(own).join(rest));
            }
        }
        bail!("{} is not in a router's own part of the file system", path.display())
    }

    /// Holds the lock until the file is dropped: what a supervisor does first.
    pub(crate) fn hold_lock(&self) -> io::Result<File> {
        let lock = File::options().write(true).open(self.path.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    pub(crate) fn plan(&self) -> Result<Plan> {
        read_json(&self.path.join("plan.json"))
    }

    pub(crate) fn write_pid(&self, pid: Pid) -> io::Result<()> {
        fs::write(self.path.join("pid"), format!("{pid}\n"))
    }

    /// The supervisor's process id, as seen from outside of the lab.
    pub(crate) fn pid(&self) -> Result<Pid> {
        let path = self.path.join("pid");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let pid = text.trim().parse().with_context(|| format!("{}: {text:?}", path.display()))?;
        Ok(Pid::from_raw(pid))
    }

    /// True from when all routers are there until the lab begins to end.
    fn stands(&self) -> bool {
        self.path.join(HOLDERS).exists()
    }

    /// The lab begins to end: nobody shall find it any more.
    pub(crate) fn forget_holders(&self) {
        // It may have failed before it had any.
        let _ = fs::remove_file(self.path.join(HOLDERS));
    }

    pub(crate) fn write_holders(&self, holders: &BTreeMap<String, i32>) -> Result<()> {
        write_json(&self.path.join(HOLDERS), holders)
    }

    /// For each router the process that holds its namespaces, by its id inside of the lab.
    pub(crate) fn holders(&self) -> Result<BTreeMap<String, i32>> {
        read_json(&self.path.join(HOLDERS))
    }

    /// True while the supervisor lives.
    pub(crate) fn is_alive(&self) -> io::Result<bool> {
        let lock = match File::open(self.path.join("lock")) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Ends the supervisor, and with it every process of the lab, then removes the folder.
    pub(crate) fn take_down(&self) -> Result<()> {
        for (signal, patience) in [(Signal::SIGTERM, 5), (Signal::SIGKILL, 10)] {
            if self.is_alive()? {
                let pid = self.pid()?;
                // ESRCH: it ended by itself in the meantime.
                let _ = kill(pid, signal);
                self.wait_gone(pid, Duration::from_secs(patience));
            }
        }
        ensure!(!self.is_alive()?, "lab {} does not end; see {}", self.name(), self.path.display());
        self.remove()?;
        Ok(())
    }

    fn wait_gone(&self, pid: Pid, patience: Duration) {
        let deadline = Instant::now() + patience;
        // The lock is free a moment before the last process is gone, so wait for both.
        while Instant::now() < deadline && (runs(pid) || self.is_alive().unwrap_or(false)) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes the folder; not finding it is fine.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// False also for a zombie: all of it is gone but the entry that its parent has yet to read, and
/// in a container without a real init nobody ever does.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !stat.is_empty() && !state.starts_with(['Z', 'X'])
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    // Readers must never see half of it.
    let draft = path.with_extension("draft");
    fs::write(&draft, serde_json::to_vec_pretty(value)?)?;
    fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("cannot parse {}", path.display()))
}

/// Parts of the file system that each router has for itself, and their names in its folder.
pub(crate) const ROUTER_DIRS: [(&str, &str); 5] = [
    ("/etc", "etc"),
    ("/var/lib", "lib"),
    ("/var/log", "log"),
    ("/var/tmp", "tmp"),
    // Last: the folder of labs may itself be below /run.
    ("/run", "run"),
];

const HOLDERS: &str = "holders.json";
