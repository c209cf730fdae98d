//! podman on a test's node, with everything that it keeps in the node's own folder.
//!
//! runc, because crun of Debian 12 refuses the hybrid cgroup layout that some machines have.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{node::Node, runtime::plugin_path};

/// podman with its settings.
#[derive(Clone, Debug)]
pub struct Podman {
    folder: PathBuf,
}

impl Podman {
    /// Its networks are the conflists in the node's folder `net.d`.
    ///
    /// # Panics
    ///
    /// If its settings cannot be written.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        let folders: Vec<_> =
            plugin_path().split(':').map(|folder| format!("{folder:?}")).collect();
        let settings = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [network]\nnetwork_backend = \"cni\"\nnetwork_config_dir = {:?}\ncni_plugin_dirs = [{}]\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nruntime = \"runc\"\n",
            node.path("net.d"),
            folders.join(", ")
        );
        fs::write(node.path("containers.conf"), settings).expect("write podman's settings");
        Self { folder: node.path("") }
    }

    /// A call that must succeed; arguments are separated by one blank. What it prints.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use = "or use `must`"]
    pub fn run(&self, arguments: &str) -> String {
        self.call(arguments).unwrap_or_else(|error| panic!("podman {arguments}: {error}"))
    }

    /// A call that must succeed.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn must(&self, arguments: &str) {
        let _ = self.run(arguments);
    }

    /// What a call prints.
    ///
    /// # Errors
    ///
    /// What it printed if it failed.
    ///
    /// # Panics
    ///
    /// If there is no podman.
    pub fn call(&self, arguments: &str) -> Result<String, String> {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", at("containers.conf"));
        command.args(["--root", &at("store"), "--runroot", &at("runroot")]);
        command.args(["--tmpdir", &at("tmpdir"), "--storage-driver", "vfs"]);
        let output = command
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .output()
            .expect("podman is installed (Debian: apt-get install podman runc)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(text) } else { Err(format!("{text}{errors}")) }
    }
}
