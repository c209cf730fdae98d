//! `[kubernetes]`: the node takes what is not in its file from the API server of a cluster.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    Caution, Config, DEFAULT_ADMIN, Fault, Invalid, Kubernetes, PolicyProblem, Problem, Warning,
    section::Section, value,
};

/// The section, if it is there.
pub(super) fn read(root: &mut Section<'_, '_>) -> Option<Kubernetes> {
    root.has("kubernetes").then(|| {
        root.section("kubernetes", |section| {
            let kubeconfig = section.optional("kubeconfig", value::absolute_path);
            let namespace = section.optional("namespace", value::name);
            let state = section.optional("state", value::absolute_path);
            let orphan_after = section.optional("orphan_after", value::number(ORPHAN_AFTER));
            Kubernetes {
                kubeconfig: kubeconfig.map(|at| at.value),
                namespace: namespace.map(|at| at.value),
                state: state.map_or_else(|| DEFAULT_STATE.into(), |at| at.value),
                orphan_after: after(orphan_after.map(|at| at.value)),
            }
        })
    })
}

/// A file with the section `[kubernetes]`, which alone is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Of the section.
    pub kubernetes: Kubernetes,
    /// `node.name`.
    pub name: Option<String>,
    /// `sockets.admin`.
    pub admin: PathBuf,
}

impl Base {
    /// What is in a file, if it has the section. Whether it is right turns out with the rest.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn load(path: &Path) -> Result<Option<Self>, Invalid> {
        let text = super::read_text(path)?;
        Ok(Self::of(path, text))
    }

    /// What is wrong with the file whatever the cluster says, and what is perhaps not meant.
    #[must_use]
    pub fn findings(&self) -> (Vec<Fault>, Vec<Warning>) {
        match Config::parse(&self.path, &self.text) {
            Ok(loaded) => (Vec::new(), unless_cluster_has(loaded.warnings)),
            Err(Invalid { faults, warnings, .. }) => {
                let faults = faults.into_iter().filter(|fault| !cluster_has(fault)).collect();
                (faults, unless_cluster_has(warnings))
            }
        }
    }

    /// Where the configuration in force can be read, beside the administrator's socket.
    #[must_use]
    pub fn effective(&self) -> PathBuf {
        effective_beside(&self.admin)
    }

    fn of(path: &Path, text: String) -> Option<Self> {
        // One with a fault is reported by those who read all of it.
        let Sketch { node, sockets, kubernetes } = toml::from_str(&text).ok()?;
        let section = kubernetes?;
        Some(Self {
            path: path.to_owned(),
            text,
            kubernetes: Kubernetes {
                kubeconfig: section.kubeconfig,
                namespace: section.namespace,
                state: section.state.unwrap_or_else(|| DEFAULT_STATE.into()),
                orphan_after: after(section.orphan_after.filter(|it| ORPHAN_AFTER.contains(it))),
            },
            name: node.name,
            admin: sockets.admin.unwrap_or_else(|| DEFAULT_ADMIN.into()),
        })
    }
}

/// The same for whoever knows the socket.
pub(crate) fn effective_beside(admin: &Path) -> PathBuf {
    admin.with_file_name("effective.toml")
}

/// True of what the file may lack, since the cluster may have it.
fn cluster_has(fault: &Fault) -> bool {
    match &fault.problem {
        Problem::Missing(_) => {
            ["node.name", "bgp.asn", "bgp.router_id"].contains(&fault.place.key.as_str())
        }
        Problem::UnknownPeer { .. }
        | Problem::Policy(
            PolicyProblem::UnknownPeer { .. } | PolicyProblem::UnknownPolicy { .. },
        ) => true,
        _ => false,
    }
}

/// What of this holds although peers and ranges of the cluster are not known.
fn unless_cluster_has(mut warnings: Vec<Warning>) -> Vec<Warning> {
    warnings.retain(|warning| {
        let Warning { caution, .. } = warning;
        !matches!(caution, Caution::NoPeers | Caution::UnusedGroup | Caution::EmptyAggregate(_))
    });
    warnings
}

/// What must be known of the file before it is read.
#[derive(Deserialize)]
struct Sketch {
    #[serde(default)]
    node: NodeSketch,
    #[serde(default)]
    sockets: SocketsSketch,
    kubernetes: Option<KubernetesSketch>,
}

#[derive(Default, Deserialize)]
struct NodeSketch {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
struct SocketsSketch {
    admin: Option<PathBuf>,
}

#[derive(Deserialize)]
struct KubernetesSketch {
    kubeconfig: Option<PathBuf>,
    namespace: Option<String>,
    state: Option<PathBuf>,
    orphan_after: Option<u32>,
}

fn after(seconds: Option<u32>) -> Duration {
    seconds.map_or(DEFAULT_ORPHAN_AFTER, |seconds| Duration::from_secs(seconds.into()))
}

/// Seconds. A daemon gives a sign of life every six minutes at least; less is for tests.
const ORPHAN_AFTER: std::ops::RangeInclusive<u32> = 5..=604_800;
/// The default.
const DEFAULT_ORPHAN_AFTER: Duration = Duration::from_secs(600);
/// What the node must know after a reboot as well.
pub(crate) const DEFAULT_STATE: &str = "/var/lib/slash32/cluster";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Base> {
        Base::of(Path::new("/etc/slash32/routed.toml"), text.to_owned())
    }

    #[test]
    fn the_section_alone_switches_the_mode_on() {
        let base = of("[kubernetes]\n").unwrap();
        let kubernetes = Kubernetes {
            kubeconfig: None,
            namespace: None,
            state: "/var/lib/slash32/cluster".into(),
            orphan_after: Duration::from_secs(600),
        };
        assert_eq!((base.kubernetes, base.name), (kubernetes, None));
        assert_eq!(of("[node]\nname = \"n\"\n"), None);
    }

    #[test]
    fn what_it_says_is_taken_over() {
        let base = of(
            "[node]\nname = \"n\"\n[kubernetes]\nkubeconfig = \"/k\"\nnamespace = \"s\"\nstate = \"/s\"\norphan_after = 60\n",
        );
        let base = base.unwrap();
        assert_eq!(base.name.as_deref(), Some("n"));
        let Kubernetes { kubeconfig, namespace, state, orphan_after } = base.kubernetes;
        assert_eq!(orphan_after, Duration::from_secs(60));
        assert_eq!(kubeconfig.as_deref(), Some(Path::new("/k")));
        assert_eq!((namespace.as_deref(), state), (Some("s"), "/s".into()));
    }

    #[test]
    fn peers_and_ranges_may_be_the_clusters() {
        let text = "[kubernetes]\n[[bgp.aggregates]]\nprefix = \"10.0.0.0/8\"\n\
                    [[peer_groups]]\nname = \"tors\"\n";
        let (faults, warnings) = of(text).unwrap().findings();
        assert!(faults.is_empty() && warnings.is_empty(), "{faults:?} {warnings:?}");
    }

    #[test]
    fn a_file_with_a_fault_is_left_to_those_who_read_all_of_it() {
        assert_eq!(of("[kubernetes\n"), None);
        assert_eq!(of("[kubernetes]\nkubeconfig = 7\n"), None);
    }
}
