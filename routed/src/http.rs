//! The HTTP endpoints of metrics and health.
//!
//! In: GET of /metrics, /healthz and /readyz on the address of `sockets.http`. Out: text. Reads
//! the state that others own; changes nothing.
//!
//! * `/healthz`: 200 while every owner of state answers in time; 503 names the one that does not.
//! * `/readyz`: 200 once the node may carry traffic, see `http/ready.rs`; 503 names what is missing.

pub(crate) mod ready;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use self::ready::Check;
use crate::{metrics::Metrics, sources::Sources};

/// The listening socket with what it serves.
pub struct HttpServer {
    listener: TcpListener,
    served: Arc<Served>,
}

/// What every request can reach.
struct Served {
    metrics: Metrics,
    sources: Sources,
}

/// The address could not be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "sockets.http: cannot listen on {address}: {source}; choose another address, or \"\" for none"
)]
pub struct HttpError {
    /// As configured.
    pub address: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

impl HttpServer {
    /// Takes the address.
    ///
    /// # Errors
    ///
    /// [`HttpError`].
    pub async fn bind(
        address: SocketAddr,
        metrics: Metrics,
        sources: Sources,
    ) -> Result<Self, HttpError> {
        let listener =
            TcpListener::bind(address).await.map_err(|source| HttpError { address, source })?;
        Ok(Self { listener, served: Arc::new(Served { metrics, sources }) })
    }

    /// Where it listens, with the port that was free if 0 was asked for.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until dropped; may be dropped at any point.
    pub async fn run(self) {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .fallback(not_found)
            .with_state(self.served);
        // Errors of single connections stay within the server; it has none of its own.
        let _ = axum::serve(self.listener, router).await;
    }
}

async fn metrics(State(served): State<Arc<Served>>) -> Response {
    let text = served.metrics.render(&served.sources).await;
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}

async fn healthz(State(served): State<Arc<Served>>) -> Response {
    told("healthy", &ready::alive(&served.sources).await)
}

async fn readyz(State(served): State<Arc<Served>>) -> Response {
    told("ready", &ready::checks(&served.sources).await)
}

async fn not_found(uri: Uri) -> Response {
    let text = format!("nothing at {}; there are /metrics, /healthz and /readyz\n", uri.path());
    (StatusCode::NOT_FOUND, text).into_response()
}

/// One line for the whole and one for each check.
fn told(good: &str, checks: &[Check]) -> Response {
    let all = checks.iter().all(|check| check.outcome.is_ok());
    let mut text = if all { format!("{good}\n") } else { format!("not {good}\n") };
    for Check { name, outcome } in checks {
        let (mark, reason) = match outcome {
            Ok(reason) => ("ok", reason),
            Err(reason) => ("FAILED", reason),
        };
        text.push_str(&format!("{mark:<8}{name:<8}{reason}\n"));
    }
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}
