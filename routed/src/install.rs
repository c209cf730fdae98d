//! The CNI plugin and the network's configuration on the node: put there, kept, taken away.
//!
//! In: where the plugin comes from and where both go. Out: the files. A runtime takes a node for ready
//! as soon as it sees a configuration, so that comes last, when the daemon can serve; and it goes first.
//!
//! Every file is written beside its place, made durable and then put there in one step: whoever reads
//! or runs it sees the old one or the new one, whole.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use plugin::{
    client,
    rpc::{DEFAULT_SOCKET, Request, Response},
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    cleanup::{self, Cleanup},
    node::NodeHandle,
};

/// Where runtimes look for plugins.
pub const DEFAULT_BIN: &str = "/opt/cni/bin";
/// Where they look for networks.
pub const DEFAULT_CONF: &str = "/etc/cni/net.d";

/// What goes where.
#[derive(Clone, Debug)]
pub struct Install {
    /// The plugin as it came; `None`: the file `slash32` beside this program.
    pub plugin: Option<PathBuf>,
    /// Folder of plugins.
    pub bin: PathBuf,
    /// Folder of networks.
    pub conf: PathBuf,
    /// The daemon's socket for the plugin.
    pub socket: PathBuf,
}

/// What leaves, and how.
#[derive(Clone, Debug)]
pub struct Uninstall {
    /// Folder of plugins.
    pub bin: PathBuf,
    /// Folder of networks.
    pub conf: PathBuf,
    /// All the rest.
    pub cleanup: Cleanup,
}

impl Install {
    /// Puts the plugin in its place. True if it was not there, or was another.
    ///
    /// # Errors
    ///
    /// With the file that is missing or cannot be written.
    pub fn plugin(&self) -> anyhow::Result<bool> {
        let source = match &self.plugin {
            Some(source) => source.clone(),
            None => std::env::current_exe().context("where am I?")?.with_file_name(PLUGIN),
        };
        let octets = fs::read(&source).with_context(|| {
            format!("{} cannot be read; name the plugin with --plugin", source.display())
        })?;
        put(&self.bin.join(PLUGIN), &octets, 0o755)
    }

    /// Puts the network's configuration in its place. True if it was not there, or was another.
    ///
    /// # Errors
    ///
    /// With the file that cannot be written.
    pub fn conflist(&self) -> anyhow::Result<bool> {
        put(&self.conf.join(CONFLIST), self.network().as_bytes(), 0o644)
    }

    fn network(&self) -> String {
        let mut plugin = json!({"type": PLUGIN});
        if self.socket != Path::new(DEFAULT_SOCKET) {
            plugin["socket"] = json!(self.socket);
        }
        let network = json!({"cniVersion": "1.1.0", "name": "slash32", "plugins": [plugin]});
        format!("{network:#}\n")
    }

    /// Both, by hand: waits for the daemon in between.
    ///
    /// # Errors
    ///
    /// What cannot be written, or that the daemon is not ready in time and why.
    pub fn by_hand(&self, patience: Duration) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut tell = |what: PathBuf, changed| {
            let done = if changed { "wrote" } else { "left as it is:" };
            text.push_str(&format!("{done} {}\n", what.display()));
        };
        tell(self.bin.join(PLUGIN), self.plugin()?);
        let deadline = Instant::now() + patience;
        while let Err(why) = self.is_ready() {
            if Instant::now() >= deadline {
                bail!(
                    "the daemon does not serve pods yet, so {} is not written: {why}",
                    self.conf.join(CONFLIST).display()
                );
            }
            std::thread::sleep(LOOK);
        }
        tell(self.conf.join(CONFLIST), self.conflist()?);
        Ok(text)
    }

    /// As a runtime asks it.
    fn is_ready(&self) -> Result<(), String> {
        match client::call(&self.socket, &Request::Status, None) {
            Ok(Response::Error(error)) => Err(error.to_string()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Keeps both in their places for as long as the daemon runs: the plugin at once, the configuration
/// from the moment on at which pods can be served. Tells whether both are there. Ends with the daemon.
pub async fn keep(install: Install, node: NodeHandle, placed: watch::Sender<bool>) {
    let mut ready = false;
    let mut said = None;
    loop {
        ready = ready || matches!(node.readiness().await, Ok(None));
        let both = install.clone();
        let done = tokio::task::spawn_blocking(move || {
            let plugin = both.plugin()?;
            Ok::<_, anyhow::Error>((plugin, ready && both.conflist()?))
        });
        match done.await {
            Ok(Ok((plugin, conflist))) => {
                said = None;
                placed.send_if_modified(|before| std::mem::replace(before, ready) != ready);
                if plugin {
                    tracing::info!(path = %install.bin.join(PLUGIN).display(), "plugin installed");
                }
                if conflist {
                    let path = install.conf.join(CONFLIST);
                    tracing::info!(path = %path.display(), "network installed: pods are welcome");
                }
            }
            Ok(Err(error)) => {
                let error = format!("{error:#}");
                placed.send_replace(false);
                if said.as_ref() != Some(&error) {
                    tracing::error!(%error, "the plugin cannot be installed; trying again");
                    said = Some(error);
                }
            }
            // The runtime ends.
            Err(_) => return,
        }
        tokio::time::sleep(if ready { LOOK_AGAIN } else { LOOK }).await;
    }
}

/// Takes the node out of pods' reach, then removes everything: the network's configuration first, then
/// what [`cleanup`] finds, then the plugin.
///
/// # Errors
///
/// If the daemon still runs (then the configuration has gone already), or something cannot be removed.
pub fn uninstall(uninstall: &Uninstall) -> anyhow::Result<String> {
    let Uninstall { bin, conf, cleanup } = uninstall;
    let mut text = String::new();
    let done = if cleanup.dry_run { "would remove" } else { "removed" };
    let conflist = cleanup.on_node(&conf.join(CONFLIST));
    let mut remove = |file: &Path| -> anyhow::Result<()> {
        if file.symlink_metadata().is_err() {
            return Ok(());
        }
        if !cleanup.dry_run {
            fs::remove_file(file)
                .with_context(|| format!("{} cannot be removed", file.display()))?;
        }
        text.push_str(&format!("{done} {}\n", file.display()));
        Ok(())
    };
    remove(&conflist)?;
    let rest = cleanup::run(cleanup).with_context(|| {
        format!("{} is gone, so no new pods come; the rest is as it was", conflist.display())
    })?;
    remove(&cleanup.on_node(&bin.join(PLUGIN)))?;
    Ok(text + &rest)
}

/// Puts a file in its place, unless it is there just so.
fn put(file: &Path, octets: &[u8], mode: u32) -> anyhow::Result<bool> {
    let same = |metadata: fs::Metadata| {
        metadata.is_file()
            && metadata.mode() & 0o7777 == mode
            && metadata.len() == octets.len() as u64
    };
    if file.symlink_metadata().is_ok_and(same) && fs::read(file).is_ok_and(|is| is == octets) {
        return Ok(false);
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        // A name that runtimes do not take for a network.
        let aside = file.with_file_name(format!(".slash32-{}", std::process::id()));
        let written = write_durably(&aside, octets, mode).and_then(|()| fs::rename(&aside, file));
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        written?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(true)
}

fn write_durably(file: &Path, octets: &[u8], mode: u32) -> io::Result<()> {
    let mut aside = File::create(file)?;
    aside.write_all(octets)?;
    aside.set_permissions(fs::Permissions::from_mode(mode))?;
    aside.sync_all()
}

/// The plugin's file.
const PLUGIN: &str = "slash32";
/// The network's. Runtimes take the first by name.
const CONFLIST: &str = "10-slash32.conflist";
/// Between looks whether the daemon can serve.
const LOOK: Duration = Duration::from_millis(100);
/// Between looks whether both are still there.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn in_a_folder(folder: &Path) -> Install {
        fs::write(folder.join("source"), "program").unwrap();
        Install {
            plugin: Some(folder.join("source")),
            bin: folder.join("bin"),
            conf: folder.join("net.d"),
            socket: folder.join("cni.sock"),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn files_are_put_there_once_and_again_if_somebody_changes_them() {
        let folder = tempfile::tempdir().unwrap();
        let install = in_a_folder(folder.path());
        assert!(install.plugin().unwrap());
        assert!(!install.plugin().unwrap());
        let plugin = install.bin.join(PLUGIN);
        assert_eq!(fs::metadata(&plugin).unwrap().mode() & 0o7777, 0o755);
        for damage in ["", "another"] {
            fs::write(&plugin, damage).unwrap();
            assert!(install.plugin().unwrap(), "{damage}");
        }
        fs::set_permissions(&plugin, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(install.plugin().unwrap());
        assert_eq!(fs::read(&plugin).unwrap(), b"program");
        assert!(install.conflist().unwrap());
        assert_eq!(names(&install.bin), [PLUGIN], "nothing is left beside it");
        assert_eq!(names(&install.conf), [CONFLIST]);
    }

    #[test]
    fn network_is_that_of_the_manifests_and_names_another_socket() {
        let folder = tempfile::tempdir().unwrap();
        let install = in_a_folder(folder.path());
        let here: serde_json::Value = serde_json::from_str(&install.network()).unwrap();
        assert_eq!(here["plugins"][0]["socket"], json!(install.socket));
        let default = Install { socket: DEFAULT_SOCKET.into(), ..install };
        let there: serde_json::Value =
            serde_json::from_str(include_str!("../manifests/10-slash32.conflist")).unwrap();
        let default: serde_json::Value = serde_json::from_str(&default.network()).unwrap();
        assert_eq!(default, there);
    }

    #[test]
    fn without_a_daemon_there_is_a_plugin_and_no_network() {
        let folder = tempfile::tempdir().unwrap();
        let install = in_a_folder(folder.path());
        let error = format!("{:#}", install.by_hand(Duration::ZERO).unwrap_err());
        assert!(error.contains("10-slash32.conflist is not written"), "{error}");
        assert!(install.bin.join(PLUGIN).is_file());
        assert!(!install.conf.exists());
        let nowhere = Install { plugin: Some("/nonexistent".into()), ..install };
        let error = format!("{:#}", nowhere.plugin().unwrap_err());
        assert!(error.contains("--plugin"), "{error}");
    }
}
