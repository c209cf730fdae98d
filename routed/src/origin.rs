//! Where the configuration comes from: a file, or a file and the cluster that it names.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use tokio::{sync::watch, task::JoinSet};

#[cfg(feature = "kubernetes")]
use crate::cluster::Cluster;
use crate::{
    cni::Chooser,
    config::{Base, Config, Invalid, Loaded},
    node::NodeHandle,
    peering::Peers,
    reload::ReloadHandle,
    sources::{ClusterLook, Sources},
};

/// Finds out where the configuration of a file comes from, and reads it; that of a cluster it waits for.
/// Tasks that this needs go to `tasks`.
///
/// # Errors
///
/// What is wrong with the file, or keeps the node from its cluster.
pub(crate) async fn open(
    path: &Path,
    tasks: &mut JoinSet<&'static str>,
) -> anyhow::Result<(Origin, Loaded)> {
    match Base::load(path)? {
        None => Ok((Origin::File(path.to_owned()), Config::load(path)?)),
        #[cfg(feature = "kubernetes")]
        Some(base) => {
            let (cluster, loaded) = crate::cluster::start(base, tasks).await?;
            Ok((Origin::Cluster(cluster), loaded))
        }
        #[cfg(not(feature = "kubernetes"))]
        Some(_) => {
            let _ = tasks;
            anyhow::bail!(
                "{} has [kubernetes], and this routed was built without it",
                path.display()
            )
        }
    }
}

/// What is read at the start and at every reload.
pub(crate) enum Origin {
    /// This file is all there is.
    File(PathBuf),
    /// The file and what the cluster says.
    #[cfg(feature = "kubernetes")]
    Cluster(Cluster),
}

/// What was read.
pub(crate) struct Read {
    pub(crate) loaded: Loaded,
    /// The text that it was read from, unless that is the file itself.
    pub(crate) text: Option<String>,
}

impl Read {
    #[cfg(feature = "kubernetes")]
    pub(crate) const fn new(loaded: Loaded, text: String) -> Self {
        Self { loaded, text: Some(text) }
    }
}

impl Origin {
    /// Reads it now.
    pub(crate) fn read(&self) -> Result<Read, Invalid> {
        match self {
            Self::File(path) => Ok(Read { loaded: Config::load(path)?, text: None }),
            #[cfg(feature = "kubernetes")]
            Self::Cluster(cluster) => cluster.read(),
        }
    }

    /// What was read is in force.
    pub(crate) fn is_in_force(&self, text: Option<String>) {
        match (self, text) {
            #[cfg(feature = "kubernetes")]
            (Self::Cluster(cluster), Some(text)) => cluster.is_in_force(text),
            _ => {}
        }
    }

    /// Who says which addresses pods get; `None`: this file and the requests.
    pub(crate) fn chooser(&self) -> Option<Arc<dyn Chooser>> {
        match self {
            Self::File(_) => None,
            #[cfg(feature = "kubernetes")]
            Self::Cluster(cluster) => Some(crate::cluster::chooser(cluster)),
        }
    }

    /// A look at how the node stands to its cluster.
    pub(crate) fn look(&self) -> Option<ClusterLook> {
        match self {
            Self::File(_) => None,
            #[cfg(feature = "kubernetes")]
            Self::Cluster(cluster) => {
                let cluster = cluster.clone();
                Some(Arc::new(move || cluster.view()))
            }
        }
    }

    /// What goes on as long as the daemon does, if something has to.
    pub(crate) fn follow(
        &self,
        reload: ReloadHandle,
        peers: Peers,
        node: Option<NodeHandle>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        match self {
            Self::File(_) => {
                drop((reload, peers, node));
                None
            }
            #[cfg(feature = "kubernetes")]
            Self::Cluster(cluster) => {
                Some(Box::pin(crate::cluster::follow(cluster.clone(), reload, peers, node)))
            }
        }
    }

    /// What tells the cluster of this node, if there is one. `installed`: whether plugin and network are in
    /// their places, if that is the daemon's business.
    pub(crate) fn report(
        &self,
        sources: Sources,
        installed: Option<watch::Receiver<bool>>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        match self {
            Self::File(_) => {
                drop((sources, installed));
                None
            }
            #[cfg(feature = "kubernetes")]
            Self::Cluster(cluster) => {
                Some(Box::pin(crate::cluster::report(cluster.clone(), sources, installed)))
            }
        }
    }

    /// The daemon ends for good, and takes the node's routes with it.
    pub(crate) async fn farewell(&self) {
        match self {
            Self::File(_) => {}
            #[cfg(feature = "kubernetes")]
            Self::Cluster(cluster) => cluster.farewell().await,
        }
    }

    /// The daemon ends; what it does for the whole cluster another one shall do.
    pub(crate) async fn leave(&self) {
        match self {
            Self::File(_) => {}
            #[cfg(feature = "kubernetes")]
            Self::Cluster(cluster) => cluster.leave().await,
        }
    }

    /// The file that an operator edits.
    pub(crate) fn file(&self) -> &Path {
        match self {
            Self::File(path) => path,
            #[cfg(feature = "kubernetes")]
            Self::Cluster(cluster) => cluster.file(),
        }
    }
}
