//! The process that holds one router's namespaces: its network, mounts and host name.
//!
//! In: the router's folder and name. Out: `ok` on stdout once everything stands. Then it sleeps
//! until the lab ends; daemons are started beside it, not by it.
//!
//! The router sees the host's file system, but has `/etc`, `/run`, `/var/lib`, `/var/log` and
//! `/var/tmp` for itself, so that every daemon finds its usual paths and none finds a neighbour's.
//! What the host has in `/etc` and `/var/lib` shows through as symbolic links.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::netlink::Rtnetlink;
use crate::registry::ROUTER_DIRS;

/// Becomes the holder of a router; returns only with an error.
pub(crate) fn hold(dir: &Path, name: &str) -> Result<()> {
    unshare(
        CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )
    .context("cannot make the router's namespaces")?;
    nix::unistd::sethostname(name)?;
    own_file_system(dir)?;
    switch_on_forwarding()?;
    Rtnetlink::open()?.set_link("lo", true).context("cannot switch on lo")?;
    println!("ok");
    io::stdout().flush()?;
    loop {
        nix::unistd::pause();
    }
}

/// Puts the router's own folders in place of the host's.
fn own_file_system(dir: &Path) -> Result<()> {
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .context("cannot make mounts private")?;
    // So that /sys/class/net shows the router's interfaces. A container may forbid it; then only
    // that view is missing.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NOTHING);
    // So that what a killed program shares is gone with its router.
    let _ = mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), NOTHING);
    for (host, own) in ROUTER_DIRS {
        if !Path::new(host).is_dir() {
            continue;
        }
        let own_dir = dir.join(own);
        if SHOW_THROUGH.contains(&host) {
            let stash = dir.join("run").join(STASH).join(own);
            fs::create_dir_all(&stash)?;
            bind(Path::new(host), &stash)?;
            show_through(Path::new(host), &own_dir, &Path::new("/run").join(STASH).join(own))?;
        }
        bind(&own_dir, Path::new(host))?;
    }
    Ok(())
}

/// Links each entry of the host's folder into the router's, unless the router has its own.
fn show_through(host: &Path, own: &Path, stash: &Path) -> Result<()> {
    for entry in fs::read_dir(host)? {
        let entry = entry?;
        let link = own.join(entry.file_name());
        if link.symlink_metadata().is_ok() {
            continue;
        }
        // A link is copied as it is: relative ones hold only from the same place.
        let target: PathBuf = match fs::read_link(entry.path()) {
            Ok(target) => target,
            Err(_) => stash.join(entry.file_name()),
        };
        symlink(target, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    // Recursive: an ordinary user may not uncover what a mount of the host hides.
    mount(Some(from), to, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .with_context(|| format!("cannot put {} in place of {}", from.display(), to.display()))
}

/// Makes the namespace's kernel a router's.
fn switch_on_forwarding() -> Result<()> {
    for (key, value, needed) in SYSCTLS {
        let path = Path::new("/proc/sys/net").join(key);
        match fs::write(&path, value) {
            Err(error) if needed => {
                return Err(error).with_context(|| format!("cannot set {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Below `/proc/sys/net`: key, value, whether a lab is useless without it.
const SYSCTLS: [(&str, &str, bool); 13] = [
    ("ipv4/ip_forward", "1", true),
    // Spread flows over equal routes by addresses and ports, not by addresses alone.
    ("ipv4/fib_multipath_hash_policy", "1", false),
    // Answers may come in by another cable than the question left by.
    ("ipv4/conf/all/rp_filter", "0", false),
    ("ipv4/conf/default/rp_filter", "0", false),
    ("ipv6/conf/all/disable_ipv6", "0", false),
    ("ipv6/conf/default/disable_ipv6", "0", false),
    ("ipv6/conf/all/forwarding", "1", true),
    ("ipv6/conf/default/forwarding", "1", true),
    ("ipv6/fib_multipath_hash_policy", "1", false),
    // Link addresses are usable at once, and survive a cut cable as IPv4 ones do.
    ("ipv6/conf/all/accept_dad", "0", false),
    ("ipv6/conf/default/accept_dad", "0", false),
    ("ipv6/conf/default/dad_transmits", "0", false),
    ("ipv6/conf/all/keep_addr_on_down", "1", false),
];

/// The host's entries there stay visible.
const SHOW_THROUGH: [&str; 3] = ["/etc", "/var/lib", "/var/tmp"];
/// Below `/run`: where the host's folders are to be found.
const STASH: &str = "host";
const NOTHING: Option<&str> = None;
