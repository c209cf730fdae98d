//! The running daemon: starts every task, waits for the end, stops them in order.
//!
//! In: the configuration, signals. Out: a running node, or the reason why it could not start.
//!
//! Order of the start: what can fail for the operator's reasons (sockets, the kernel) comes before
//! the first word to a peer. Order of the end: no new pods, then the peers hear why we go. Kernel
//! routes and pods stay as they are; the next run takes them over.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, bail};
use bgp::{
    attrs::{Attrs, NextHop},
    family::Family,
    session::{Cease, State},
};
use routed_core::{
    fib::route::PROTO_PODS,
    pod::{Settings, wiring::RouteStamp},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    admin::AdminServer,
    cni,
    config::{Config, Mode},
    fib::{self, FibTask, RibThread},
    http::HttpServer,
    ipam,
    kernel::{
        sysctl,
        watch::{self as kernel_watch, Links},
    },
    metrics::Metrics,
    node::{self, NodeHandle},
    peering::{self, BestChanges, Peering, Peers},
    sources::{KernelHandle, Sources},
};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// What could not be started, with the key of the configuration that it belongs to; or which part
/// ended although nobody asked it to.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut signals = Signals::new()?;
    let metrics = Metrics::new();
    let mut parts = Parts::default();

    let kernel = Kernel::open(&config)?;
    let node = pods(&config, &metrics, &mut parts)?;
    let (peering, best) = Peering::start(&config)?;
    originate(&config, &peering).await?;
    let sources = Sources {
        started,
        asn: config.speaker.asn,
        peers: peering.peers().clone(),
        rib: peering.rib().clone(),
        cni_socket: node.is_some().then(|| config.sockets.cni.clone()),
        pods: node.clone(),
        kernel: kernel.routes.as_ref().map(|(handle, _)| handle.clone()),
    };
    let admin = AdminServer::bind(&config.sockets.admin, sources.clone())?;
    parts.spawn("sockets.admin", admin.run());
    if let Some(address) = config.sockets.http {
        let http = HttpServer::bind(address, metrics, sources).await?;
        parts.spawn("sockets.http", http.run());
    }
    kernel.spawn(best, &peering, &mut parts);
    if let Some(node) = node {
        parts.spawn("the count of sessions", count_sessions(peering.peers().clone(), node));
    }

    tracing::info!(node = config.node.name, "running");
    let ended = tokio::select! {
        () = signals.stop() => None,
        part = parts.ended() => Some(part),
    };
    tracing::info!("stopping");
    parts.stop().await;
    peering.stop(Cease::AdminShutdown(String::new())).await;
    match ended {
        None => Ok(()),
        Some(part) => bail!("{part} ended unexpectedly; the log says why, please report it"),
    }
}

/// The signals that end the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}

/// Tasks that run as long as the daemon does, each with the name under which its end is reported.
#[derive(Default)]
struct Parts(JoinSet<&'static str>);

impl Parts {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// The first that ends, by itself or by a panic; forever if there is none.
    async fn ended(&mut self) -> &'static str {
        match self.0.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(_)) => "a task",
            None => std::future::pending().await,
        }
    }

    async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

/// The kernel's side: interfaces always, routes unless the daemon only speaks.
struct Kernel {
    links: watch::Receiver<Links>,
    routes: Option<(KernelHandle, FibTask)>,
}

impl Kernel {
    fn open(config: &Config) -> anyhow::Result<Self> {
        match config.node.mode {
            Mode::Speaker => Ok(Self { links: kernel_watch::start(None)?, routes: None }),
            Mode::Node => {
                forward(config)?;
                let (handle, looks) = KernelHandle::new();
                let (task, links) = fib::open(fib::settings(config), looks)?;
                Ok(Self { links, routes: Some((handle, task)) })
            }
        }
    }

    fn spawn(self, best: BestChanges, peering: &Peering, parts: &mut Parts) {
        let peers = || peering.peers().clone();
        parts.spawn("the watch of interfaces", peering::links::follow(self.links, peers()));
        if let Some((_, task)) = self.routes {
            let rib = RibThread::new(peering.rib().clone(), best);
            parts.spawn("the kernel's routes", task.run(rib, fib::all_established(peers())));
        }
    }
}

/// Makes the node a router. A family that the kernel lacks is a fault only if pods need it.
fn forward(config: &Config) -> anyhow::Result<()> {
    for family in Family::ALL {
        let Err(error) = sysctl::enable_forwarding(family) else { continue };
        let mut ranges = config.pods.iter().flat_map(|pods| &pods.prefixes);
        if ranges.any(|range| range.family() == family) {
            return Err(error).with_context(|| format!("cannot forward the pods' {family}"));
        }
        tracing::warn!(%family, %error, "the node does not forward this family");
    }
    Ok(())
}

/// Starts what serves the plugin; `None` on a router without pods.
fn pods(
    config: &Config,
    metrics: &Metrics,
    parts: &mut Parts,
) -> anyhow::Result<Option<NodeHandle>> {
    let Some(pods) = &config.pods else { return Ok(None) };
    let listener = cni::server::listen(&config.sockets.cni).context("sockets.cni")?;
    let settings = Settings {
        ipam: pods.ipam.clone(),
        mtu: pods.mtu,
        routes: RouteStamp { table: config.kernel.table, protocol: PROTO_PODS },
    };
    let journal = config.sockets.cni.with_file_name(ipam::JOURNAL);
    let (node, pump) = node::spawn(settings, &journal)?;
    parts.spawn("the pods' task", async {
        // Whether it ended or panicked, the log has it.
        let _ = pump.await;
    });
    let (socket, served, metrics) = (config.sockets.cni.clone(), node.clone(), metrics.clone());
    parts.spawn("sockets.cni", async move {
        cni::owed::settle(&socket, &served).await;
        cni::server::serve(listener, served, metrics).await;
    });
    Ok(Some(node))
}

/// Announces the node's own pod ranges.
async fn originate(config: &Config, peering: &Peering) -> anyhow::Result<()> {
    // What peers are told as next hop is worked out for each of them.
    let next_hop = NextHop::new(config.speaker.router_id.into());
    let attrs = Arc::new(Attrs::originated(next_hop));
    for range in config.pods.iter().flat_map(|pods| &pods.prefixes) {
        peering.rib().originate(*range, Arc::clone(&attrs)).await?;
    }
    Ok(())
}

/// Keeps the pods' machine informed of how many sessions stand, for STATUS.
async fn count_sessions(peers: Peers, node: NodeHandle) {
    let mut peers = peers.follow();
    loop {
        let statuses = peers.statuses();
        let wanted = statuses.iter().filter(|peer| peer.wanted);
        let up = wanted.clone().filter(|peer| peer.state == State::Established).count();
        if node.sessions(wanted.count(), up).await.is_err() {
            return;
        }
        peers.changed().await;
    }
}
