//! The way to the API server.
//!
//! In: a kubeconfig, or what Kubernetes puts into a pod. Out: a client of kube-rs, and the namespace of
//! Secrets and Lease. Nothing is sent yet: an API server that is down is no fault here.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, Full};
use kube::{
    Client, Config,
    client::{ClientBuilder, DynBody},
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tower::util::MapResponseLayer;

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
    let builder = ClientBuilder::try_from(config);
    let builder = builder.map_err(|error| AccessError::Client(Box::new(error)))?;
    let client = builder.with_layer(&MapResponseLayer::new(with_wait)).build();
    Ok((client, namespace))
}

/// Says how long the API server asks to be left alone where it says that in a header alone, as it does
/// when it refuses a request before it looks at it (API Priority and Fairness): kube reads the body.
fn with_wait(response: Response<Box<DynBody>>) -> Response<Box<DynBody>> {
    let status = response.status();
    let is_busy =
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    let headers = response.headers();
    let is_status = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("application/json")));
    let wait = headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse::<u32>().ok());
    let Some(wait) = wait.filter(|_| is_busy && !is_status) else { return response };
    let text = serde_json::json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": "too many requests, says the API server", "reason": "TooManyRequests",
        "code": status.as_u16(), "details": {"retryAfterSeconds": wait},
    });
    let body = Full::new(Bytes::from(text.to_string())).map_err(|never| match never {});
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Box::new(body))
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(response: Response<Box<DynBody>>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn answer(code: u16, kind: &str, wait: Option<&str>) -> Response<Box<DynBody>> {
        let mut response = Response::builder().status(code).header(CONTENT_TYPE, kind);
        if let Some(wait) = wait {
            response = response.header(RETRY_AFTER, wait);
        }
        let body = Full::new(Bytes::from_static(b"as it was")).map_err(|never| match never {});
        let body: Box<DynBody> = Box::new(body);
        response.body(body).unwrap()
    }

    #[tokio::test]
    async fn a_wait_that_stands_in_the_header_alone_is_heeded() {
        let busy = read(with_wait(answer(429, "text/plain; charset=utf-8", Some("7")))).await;
        let status: kube::core::Status = serde_json::from_str(&busy).unwrap();
        let failure = crate::Failure::answered("pods", &status);
        assert_eq!((failure.code, failure.wait), (Some(429), Some(Duration::from_secs(7))));
        for (code, kind, wait) in [
            (429, "application/json", Some("7")),
            (429, "text/plain", None),
            (429, "text/plain", Some("Wed, 21 Oct 2026 07:28:00 GMT")),
            (200, "text/plain", Some("7")),
        ] {
            assert_eq!(read(with_wait(answer(code, kind, wait))).await, "as it was");
        }
    }
}
