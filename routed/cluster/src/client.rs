//! The way to the API server.
//!
//! In: a kubeconfig, or what Kubernetes puts into a pod. Out: a client of kube-rs, and the namespace of
//! Secrets and Lease. Nothing is sent yet: an API server that is down is no fault here.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// Where the API server is and who we are to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig; `None`: we are in a pod of the cluster.
    pub kubeconfig: Option<PathBuf>,
    /// Of Secrets and Lease; `None`: that of the service account or of the kubeconfig's context.
    pub namespace: Option<String>,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The kubeconfig is not to be had.
    #[error("kubernetes.kubeconfig: {}: {source}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// There is no service account.
    #[error(
        "not in a pod of a cluster: {0}; outside of one, name a kubeconfig in kubernetes.kubeconfig"
    )]
    NotInCluster(#[source] Box<InClusterError>),
    /// The client cannot be made from it.
    #[error("the credentials for the API server are of no use: {0}")]
    Client(#[source] Box<kube::Error>),
}

/// A client, and the namespace. Must be called in a tokio runtime.
///
/// # Errors
///
/// [`AccessError`].
pub async fn connect(access: &Access) -> Result<(Client, String), AccessError> {
    let mut config = match &access.kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster().map_err(|error| AccessError::NotInCluster(Box::new(error)))?,
    };
    config.connect_timeout = Some(CONNECT);
    // Who asks repeats what failed, and says so meanwhile.
    config.default_retry = false;
    let namespace = access.namespace.clone().unwrap_or_else(|| {
        // kube's default of a context without namespace is no place for Secrets of ours.
        match (&access.kubeconfig, &*config.default_namespace) {
            (Some(_), "default") => NAMESPACE.to_owned(),
            (_, namespace) => namespace.to_owned(),
        }
    });
    let client = Client::try_from(config).map_err(|error| AccessError::Client(Box::new(error)))?;
    Ok((client, namespace))
}

async fn from_file(path: &Path) -> Result<Config, AccessError> {
    let failed = |source| AccessError::Kubeconfig { path: path.to_owned(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(Box::new(error)))?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map_err(|error| failed(Box::new(error)))
}

/// The name of this node: as Kubernetes told its pod, or that of the host.
///
/// # Errors
///
/// If neither is to be had.
pub fn node_name() -> io::Result<String> {
    if let Ok(name) = env::var("NODE_NAME")
        && !name.is_empty()
    {
        return Ok(name);
    }
    let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
    Ok(name.trim().to_lowercase())
}

/// An API server that does not take a connection within this time is as good as down.
const CONNECT: Duration = Duration::from_secs(10);
/// Where the daemon's Secrets are unless something else is said.
const NAMESPACE: &str = "kube-system";
