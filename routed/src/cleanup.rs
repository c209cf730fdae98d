//! `routed cleanup`: removes everything that is ours from this node, and nothing else.
//!
//! In: what [`Ours`] finds in the kernel, and the files in the daemon's own folder. Out: a list of it,
//! and its end. For a node that leaves the cluster, or gets another network: the daemon must be
//! stopped, since it would put back what is removed.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use routed_core::fib::route::{PROTO_FABRIC, PROTO_PODS};

use crate::{
    config::{Base, Config, DEFAULT_STATE, effective_beside},
    drain, ipam,
    kernel::ours::Ours,
    restart,
};

/// What to do.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// For protocol number and paths, if it is there and valid.
    pub config: PathBuf,
    /// Only list it.
    pub dry_run: bool,
    /// Where the node's folders are: `/`, unless this runs in a container.
    pub root: PathBuf,
}

impl Cleanup {
    /// A path of the node as it is seen from here.
    #[must_use]
    pub fn on_node(&self, path: &Path) -> PathBuf {
        path.strip_prefix("/").map_or_else(|_| path.to_owned(), |below| self.root.join(below))
    }
}

/// Removes it; what was (or would be) removed.
///
/// # Errors
///
/// If a daemon runs, or something cannot be listed or removed.
pub fn run(cleanup: &Cleanup) -> anyhow::Result<String> {
    let settings = Settings::read(cleanup);
    for socket in [&settings.cni, &settings.admin] {
        if UnixStream::connect(socket).is_ok() {
            bail!(
                "routed is running (it answers on {}) and would put back what is removed; stop it first",
                socket.display()
            );
        }
    }
    let ours = Ours::find(&[PROTO_PODS, settings.protocol])
        .context("what is ours in the kernel cannot be listed; try sudo")?;
    let files = settings.files();
    let text = list(&ours, &files, cleanup.dry_run);
    if !cleanup.dry_run {
        let kernel = ours.remove();
        for file in &files {
            remove(file).with_context(|| format!("{} cannot be removed", file.display()))?;
        }
        kernel?;
    }
    Ok(text)
}

fn list(ours: &Ours, files: &[PathBuf], dry_run: bool) -> String {
    let mut text = String::new();
    let done = if dry_run { "would remove" } else { "removed" };
    let routes = ours.routes().map(|route| format!("route {route}"));
    let links = ours.links.iter().map(|name| format!("interface {name}"));
    let tables = ours.tables.iter().map(|name| format!("nftables table inet {name}"));
    let files = files.iter().map(|file| file.display().to_string());
    let next_hops = ours.next_hops().map(|object| format!("next hop {object}"));
    for what in routes.chain(next_hops).chain(tables).chain(links).chain(files) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{done} {what}");
    }
    if text.is_empty() {
        text.push_str("nothing of ours is here\n");
    }
    for name in &ours.strange {
        let _ = writeln!(text, "left alone: interface {name}, in our link group but not ours");
    }
    text
}

/// What cleaning up needs of the configuration.
struct Settings {
    protocol: u8,
    cni: PathBuf,
    admin: PathBuf,
    /// What is kept of the cluster.
    cluster: PathBuf,
}

impl Settings {
    /// The defaults where there is no valid configuration any more.
    fn read(cleanup: &Cleanup) -> Self {
        let file = cleanup.on_node(&cleanup.config);
        // On a node of a cluster the file alone is no configuration.
        let base = Base::load(&file).ok().flatten();
        let whole = base.as_ref().map(|base| cleanup.on_node(&base.effective()));
        let mut settings = Self::of(&whole.unwrap_or(file));
        if let Some(Base { admin, kubernetes, .. }) = base {
            (settings.admin, settings.cluster) = (admin, kubernetes.state);
        }
        for path in [&mut settings.cni, &mut settings.admin, &mut settings.cluster] {
            *path = cleanup.on_node(path);
        }
        settings
    }

    fn of(path: &Path) -> Self {
        let cluster = DEFAULT_STATE.into();
        match Config::load(path) {
            Ok(loaded) => Self {
                protocol: loaded.config.kernel.protocol,
                cni: loaded.config.sockets.cni,
                admin: loaded.config.sockets.admin,
                cluster,
            },
            Err(_) => Self {
                protocol: PROTO_FABRIC,
                cni: plugin::rpc::DEFAULT_SOCKET.into(),
                admin: crate::config::DEFAULT_ADMIN.into(),
                cluster,
            },
        }
    }

    /// Those that are there.
    fn files(&self) -> Vec<PathBuf> {
        let beside = |name: &str| self.cni.with_file_name(name);
        let marks = [
            restart::mark_beside(&self.admin),
            drain::mark_beside(&self.admin),
            effective_beside(&self.admin),
        ];
        let files =
            [self.cni.clone(), self.admin.clone(), beside(ipam::JOURNAL), beside("owed-detaches")];
        let files = files.into_iter().chain(marks).chain([self.cluster.clone()]);
        files.filter(|file| file.symlink_metadata().is_ok()).collect()
    }
}

/// A file, or a folder of files.
fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
