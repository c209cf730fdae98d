//! The API server: where it is, and what it has.
//!
//! In: a kubeconfig and a context, as kubectl takes them. Out: objects; or what went wrong, with what to
//! do about it. Reads only.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Api, Client, Config, Resource,
    api::{ApiResource, DynamicObject, ListParams, ObjectList},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use routed_api::BGPNodeStatus;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What the command line says of the cluster.
pub(crate) struct Access<'a> {
    pub(crate) kubeconfig: Option<&'a Path>,
    pub(crate) context: Option<&'a str>,
}

/// A cluster that can be asked.
pub(crate) struct Cluster {
    client: Client,
    /// Its address.
    server: String,
}

/// An object that is not accepted.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// As in `BGPPeer/tor`.
    pub(crate) object: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("the kubeconfig {}is of no use: {source}; name another by --kubeconfig or KUBECONFIG, or another context by --context", named(path.as_deref()))]
    Kubeconfig {
        path: Option<PathBuf>,
        #[source]
        source: Box<KubeconfigError>,
    },
    #[error("the credentials of the kubeconfig are of no use: {0}")]
    Credentials(#[source] Box<kube::Error>),
    #[error("{server} does not answer: {cause}; is it up, and is the context the right one?")]
    Silent { server: String, cause: String },
    #[error(
        "{server} does not know {what}: Slash32 is not installed there, or this is another cluster; its definitions are what `routed crds` prints"
    )]
    Undefined { server: String, what: String },
    #[error(
        "no BGPNodeStatus of the node {0}: it has no routed, or that has not reported yet; `kubectl slash32 nodes` lists those that have"
    )]
    NoReport(String),
    #[error(
        "{server} forbids to list {what}: {said}; ask for the ClusterRole slash32-view, or for `view`, which has it"
    )]
    Forbidden { server: String, what: String, said: String },
    #[error("{server} does not know you: {said}; renew the credentials of the kubeconfig")]
    Unknown { server: String, said: String },
    #[error("{server} answers to a question for {what}: {said}")]
    Answer { server: String, what: String, said: String },
    #[error("no runtime for requests: {0}")]
    Runtime(#[source] io::Error),
    #[error("stdout cannot be written: {0}")]
    Stdout(#[source] io::Error),
}

impl Cluster {
    /// Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Trouble`] with the kubeconfig.
    pub(crate) async fn connect(access: &Access<'_>) -> Result<Self, Trouble> {
        let path = access.kubeconfig.map(Path::to_owned);
        let failed = |source| Trouble::Kubeconfig { path: path.clone(), source: Box::new(source) };
        let options = KubeConfigOptions {
            context: access.context.map(str::to_owned),
            ..KubeConfigOptions::default()
        };
        let kubeconfig = match &path {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let mut config = match (kubeconfig, Config::incluster()) {
            (Ok(kubeconfig), _) => {
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(failed)?
            }
            // A pod that has no file has a service account.
            (Err(_), Ok(config)) if path.is_none() && options.context.is_none() => config,
            (Err(error), _) => return Err(failed(error)),
        };
        (config.connect_timeout, config.read_timeout) = (Some(CONNECT), Some(READ));
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config);
        let client = client.map_err(|error| Trouble::Credentials(Box::new(error)))?;
        Ok(Self { client, server: server.trim_end_matches('/').to_owned() })
    }

    /// Every object of a kind.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub(crate) async fn list<K>(&self) -> Result<Vec<K>, Trouble>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
    {
        let api = Api::<K>::all(self.client.clone());
        self.pages::<K, _>(async |params| api.list(params).await).await
    }

    /// The names of all objects of a kind.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub(crate) async fn names<K>(&self) -> Result<Vec<String>, Trouble>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
    {
        let api = Api::<K>::all(self.client.clone());
        let all = self.pages::<K, _>(async |params| api.list_metadata(params).await).await?;
        Ok(all.into_iter().filter_map(|object| object.metadata.name).collect())
    }

    /// What is on all pages of a listing of that kind.
    async fn pages<K, T>(
        &self,
        page: impl AsyncFn(&ListParams) -> kube::Result<ObjectList<T>>,
    ) -> Result<Vec<T>, Trouble>
    where
        K: Resource<DynamicType = ()>,
        T: Clone,
    {
        let mut params = ListParams::default().limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = page(&params).await.map_err(|error| self.trouble::<K>(&error))?;
            all.extend(page.items);
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(all);
            }
        }
    }

    /// The objects of a kind whose condition `Accepted` is false.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub(crate) async fn refused<K>(&self) -> Result<Vec<Refused>, Trouble>
    where
        K: Resource<DynamicType = ()>,
    {
        let kind = ApiResource::erase::<K>(&());
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &kind);
        let all = api.list(&ListParams::default()).await;
        let all = all.map_err(|error| self.trouble::<K>(&error))?;
        let refused = |object: DynamicObject| {
            let conditions = object.data.pointer("/status/conditions")?.as_array()?;
            let is_it = |it: &&Value| it["type"] == "Accepted" && it["status"] == "False";
            let condition = conditions.iter().find(is_it)?;
            let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
            let name = object.metadata.name.unwrap_or_default();
            let object = format!("{}/{name}", kind.kind);
            Some(Refused { object, reason: text("reason"), message: text("message") })
        };
        Ok(all.items.into_iter().filter_map(refused).collect())
    }

    /// What one node reports.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub(crate) async fn report(&self, node: &str) -> Result<BGPNodeStatus, Trouble> {
        let api = Api::<BGPNodeStatus>::all(self.client.clone());
        let found =
            api.get_opt(node).await.map_err(|error| self.trouble::<BGPNodeStatus>(&error))?;
        if let Some(report) = found {
            return Ok(report);
        }
        // Without the definitions there is no such object either, and that is another matter.
        let any = api.list_metadata(&ListParams::default().limit(1)).await;
        any.map_err(|error| self.trouble::<BGPNodeStatus>(&error))?;
        Err(Trouble::NoReport(node.to_owned()))
    }

    fn trouble<K: Resource<DynamicType = ()>>(&self, error: &kube::Error) -> Trouble {
        let group = K::group(&());
        let dot = if group.is_empty() { "" } else { "." };
        let what = format!("{}{dot}{group}", K::plural(&()));
        let server = self.server.clone();
        let kube::Error::Api(status) = error else {
            return Trouble::Silent { server, cause: innermost(error) };
        };
        let said = status.message.trim().to_owned();
        match status.code {
            401 => Trouble::Unknown { server, said },
            403 => Trouble::Forbidden { server, what, said },
            404 => Trouble::Undefined { server, what },
            _ => Trouble::Answer { server, what, said },
        }
    }
}

/// The cause that somebody can do something about.
fn innermost(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn named(path: Option<&Path>) -> String {
    path.map(|path| format!("{} ", path.display())).unwrap_or_default()
}

/// An API server that does not take a connection within this time is as good as down.
const CONNECT: Duration = Duration::from_secs(10);
/// Nor one that says nothing for so long.
const READ: Duration = Duration::from_secs(30);
/// Objects in one answer.
const PAGE: u32 = 500;
