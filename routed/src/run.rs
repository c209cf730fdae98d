//! The running daemon: starts every task, waits for the end, stops them in order.
//!
//! In: the configuration, signals. Out: a running node, or the reason why it could not start.

use std::time::Instant;

use anyhow::Context as _;
use bgp::session::Cease;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    admin::AdminServer, config::Config, http::HttpServer, metrics::Metrics, peering::Peering,
    sources::Sources,
};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// What could not be started, with the key of the configuration that it belongs to.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let (peering, _best) = Peering::start(&config)?;
    let sources = Sources {
        started,
        asn: config.speaker.asn,
        peers: peering.peers().to_vec(),
        rib: peering.rib().clone(),
        pods: None,
        cni_socket: None,
        kernel: None,
    };
    let admin = AdminServer::bind(&config.sockets.admin, sources.clone())?;
    let admin = tokio::spawn(admin.run());
    if let Some(address) = config.sockets.http {
        let http = HttpServer::bind(address, Metrics::new(), sources).await?;
        tokio::spawn(http.run());
    }
    tracing::info!(node = config.node.name, "running");
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    tracing::info!("stopping");
    admin.abort();
    peering.stop(Cease::AdminShutdown(String::new())).await;
    Ok(())
}
