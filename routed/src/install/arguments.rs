//! Arguments of `routed install`, `routed uninstall` and `routed run --install`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use plugin::rpc::DEFAULT_SOCKET;
use routed::{
    cleanup::Cleanup,
    config::DEFAULT_PATH,
    install::{self, DEFAULT_BIN, DEFAULT_CONF, Install, Uninstall},
};

/// Where plugin and network go.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// The CNI plugin as it came (default: the file slash32 beside this program)
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Folder in which the container runtime looks for plugins
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_BIN)]
    cni_bin: PathBuf,
    /// Folder in which it looks for networks
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_CONF)]
    cni_conf: PathBuf,
}

impl Places {
    pub(crate) fn install(&self, socket: &Path) -> Install {
        Install {
            plugin: self.plugin.clone(),
            bin: self.cni_bin.clone(),
            conf: self.cni_conf.clone(),
            socket: socket.to_owned(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    places: Places,
    /// The daemon's sockets.cni
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// How long to wait for the daemon
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Where the node's folders are, if this runs in a container
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    root: PathBuf,
    /// Folder of plugins, on the node
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_BIN)]
    cni_bin: PathBuf,
    /// Folder of networks, on the node
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_CONF)]
    cni_conf: PathBuf,
    /// Configuration file, if there still is one
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

pub(crate) fn install(args: &InstallArgs) -> anyhow::Result<ExitCode> {
    let install = args.places.install(&args.socket);
    super::print(&install.by_hand(Duration::from_secs(args.wait))?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn uninstall(args: UninstallArgs) -> anyhow::Result<ExitCode> {
    let UninstallArgs { dry_run, root, cni_bin: bin, cni_conf: conf, config } = args;
    let cleanup = Cleanup { config, dry_run, root };
    super::print(&install::uninstall(&Uninstall { bin, conf, cleanup })?)?;
    Ok(ExitCode::SUCCESS)
}
