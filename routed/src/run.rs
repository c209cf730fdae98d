//! The running daemon: starts every task, waits for the end, stops them in order.
//!
//! In: the configuration, signals, requests to reload. Out: a running node, or the reason why it
//! could not start.
//!
//! Order of the start: what can fail for the operator's reasons (sockets, the kernel) comes before
//! the first word to a peer. Order of the end: no new pods, then stations and peers hear that we go,
//! then the sockets of administrators and probes close.
//! Kernel routes and pods stay as they are; the next run takes them over.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, bail};
use bgp::{config::Restarted, family::Family, session::State};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    admin::{AdminServer, StopMode},
    announce,
    bmp::Stations,
    cni::{self, Chooser, server::Service},
    config::{Config, Loaded, Mode, Warning},
    drain::Drain,
    fib::{self, FibTask, RibThread},
    http::HttpServer,
    install::{self, Install},
    ipam,
    kernel::{
        forwarding::{self, Forwarding},
        routes, sysctl,
        watch::{self as kernel_watch, Links},
    },
    metrics::Metrics,
    mtu,
    node::{self, NodeHandle},
    origin,
    peering::{self, BestChanges, Peering, Peers},
    reload::{ReloadHandle, Running},
    restart,
    sources::{KernelHandle, Sources},
    systemd,
};

/// Runs until SIGTERM or SIGINT, which end it gracefully, or `routed stop`; tells which it was. SIGHUP reads `path` again.
/// `install` is told `sockets.cni`; what it says, the plugin and its network, is put in its places and kept
/// there.
///
/// # Errors
///
/// What could not be started, with the key of the configuration that it belongs to; or which part
/// ended although nobody asked it to.
pub async fn run(
    path: &Path,
    install: impl FnOnce(&Path) -> Option<Install>,
) -> anyhow::Result<StopMode> {
    let started = Instant::now();
    let mut signals = Signals::new()?;
    let metrics = Metrics::new();
    let mut parts = Parts::default();
    let (origin, loaded) = tokio::select! {
        opened = origin::open(path, &mut parts.0) => opened?,
        // Who waits for its cluster can be stopped.
        _ = signals.stop() => return Ok(StopMode::Graceful),
    };
    let Loaded { mut config, warnings } = loaded;
    for Warning { place, caution } in warnings {
        tracing::warn!("{}{place}{caution}", path.display());
    }

    let drain = Drain::at_start(&mut config);
    if drain.is_by_operator() {
        tracing::warn!("drained, as asked for before this start; `routed undrain` ends it");
    }
    let restarted = restarted(&config)?;
    let kernel = Kernel::open(&config, &metrics)?;
    let node = pods(&config, &metrics, origin.chooser(), &mut parts)?;
    let (peering, best) =
        Peering::start(&restart::announced(config.clone(), restarted), kernel.links.clone())?;
    if let Err(error) = restart::leave_mark(&config) {
        tracing::warn!(%error, "no mark for the next run beside sockets.admin; peers will take a \
            restart for a fresh start");
    }
    let stations = Stations::start(&config, peering.rib().clone());
    let sources = Sources {
        started,
        peers: peering.peers().clone(),
        rib: peering.rib().clone(),
        stations: stations.list(),
        recorder: peering.recorder().clone(),
        cni_socket: node.is_some().then(|| config.sockets.cni.clone()),
        pods: node.clone(),
        kernel: kernel.routes.as_ref().map(|(handle, _)| handle.clone()),
        cluster: origin.look(),
    };
    let (reload, mut asks) = ReloadHandle::new();
    if let Some(follow) = origin.follow(reload.clone(), peering.peers().clone(), node.clone()) {
        parts.spawn("what follows the cluster", follow);
    }
    // What people look through stays until the end.
    let mut windows = Parts::default();
    let admin = AdminServer::bind(&config.sockets.admin, sources.clone(), reload)?;
    windows.spawn("sockets.admin", admin.run());
    if let Some(address) = config.sockets.http {
        let http = HttpServer::bind(address, metrics, sources.clone()).await?;
        windows.spawn("sockets.http", http.run());
    }
    let links = kernel.links.clone();
    let _forwarding = kernel.spawn(best, &peering, node.as_ref(), &mut parts);
    let mut installed = None;
    if let (Some(install), Some(node)) = (install(&config.sockets.cni), node.clone()) {
        let placed = watch::Sender::new(false);
        installed = Some(placed.subscribe());
        parts.spawn("the installation of the plugin", install::keep(install, node, placed));
    }
    if let Some(report) = origin.report(sources, installed) {
        parts.spawn("the report to the cluster", report);
    }
    if let Some(node) = node.clone() {
        let announced = announce::follow(node.announced(), peering.rib().clone());
        parts.spawn("the announcement of pod ranges", announced);
        let mtu = mtu::follow(links, peering.peers().clone(), node.clone());
        parts.spawn("the MTU of pods", mtu);
        parts.spawn("the count of sessions", count_sessions(peering.peers().clone(), node));
    }

    tracing::info!(node = config.node.name, "running");
    systemd::tell("READY=1");
    let mut running = Running::new(origin, config, peering, stations, node, drain);
    let ended = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Asked::Stop => break Ok(StopMode::Graceful),
                Asked::Reload => running.reload_by_signal().await,
            },
            Some(ask) = asks.recv() => if let Some(mode) = running.answer(ask).await {
                break Ok(mode);
            },
            part = parts.ended() => break Err(part),
            window = windows.ended() => break Err(window),
        }
    };
    let mode = ended.unwrap_or(StopMode::Graceful);
    tracing::info!(?mode, "stopping");
    systemd::tell("STOPPING=1");
    running.leave().await;
    // Who asks for more is refused.
    drop(asks);
    running.farewell(mode).await;
    parts.stop().await;
    running.stop(mode).await;
    windows.stop().await;
    match ended {
        Ok(mode) => Ok(mode),
        Err(part) => bail!("{part} ended unexpectedly; the log says why, please report it"),
    }
}

/// What peers are to hear of an earlier run. Asked before anything of the kernel is changed.
fn restarted(config: &Config) -> anyhow::Result<Option<Restarted>> {
    let kernel = match config.node.mode {
        Mode::Speaker => Vec::new(),
        Mode::Node => routes::list().context("the kernel's routes cannot be listed")?,
    };
    let restarted = restart::survey(config, &kernel);
    if let Some(Restarted { forwarding, .. }) = restarted {
        let survived: Vec<_> = forwarding.iter().map(|family| family.to_string()).collect();
        tracing::info!(?survived, "taking over from an earlier run; its forwarding goes on");
    }
    Ok(restarted)
}

/// The signals that the daemon heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
enum Asked {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            hang_up: signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?,
        })
    }

    /// The next that asks for the end.
    async fn stop(&mut self) {
        while matches!(self.next().await, Asked::Reload) {}
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
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
    /// Dropped at the end.
    forwarding: Option<Forwarding>,
}

impl Kernel {
    fn open(config: &Config, metrics: &Metrics) -> anyhow::Result<Self> {
        match config.node.mode {
            Mode::Speaker => {
                Ok(Self { links: kernel_watch::start(None)?, routes: None, forwarding: None })
            }
            Mode::Node => {
                let (families, metrics) = (forward(config)?, metrics.clone());
                let mended = move |family| metrics.forwarding_mended(family);
                let forwarding = Some(forwarding::keep(families, mended)?);
                if config.kernel.next_hop_groups
                    && let Err(error) = sysctl::keep_groups_quiet()
                {
                    tracing::warn!(%error, "the loss of a neighbour takes longer the more routes \
                        there are: the kernel announces each of them");
                }
                let (handle, looks) = KernelHandle::new();
                let (task, links) = fib::open(fib::settings(config), looks)?;
                Ok(Self { links, routes: Some((handle, task)), forwarding })
            }
        }
    }

    /// Also gives what must not be dropped before the end.
    fn spawn(
        self,
        best: BestChanges,
        peering: &Peering,
        node: Option<&NodeHandle>,
        parts: &mut Parts,
    ) -> Option<Forwarding> {
        let peers = || peering.peers().clone();
        parts.spawn("the watch of interfaces", peering::links::follow(self.links, peers()));
        if let Some((_, task)) = self.routes {
            let rib = RibThread::new(peering.rib().clone(), best);
            let task = match node {
                Some(node) => task.with_ranges(node.ranges()),
                None => task,
            };
            let task = task.with_peers(&peers());
            parts.spawn("the kernel's routes", task.run(rib, fib::all_established(peers())));
        }
        self.forwarding
    }
}

/// Makes the node a router of the families returned. One that the kernel lacks is a fault only if pods
/// need it.
fn forward(config: &Config) -> anyhow::Result<Vec<Family>> {
    let mut families = Vec::new();
    for family in Family::ALL {
        let Err(error) = sysctl::enable_forwarding(family) else {
            families.push(family);
            continue;
        };
        let mut ranges = config.pods.iter().flat_map(|pods| &pods.prefixes);
        if ranges.any(|range| range.family() == family) {
            return Err(error).with_context(|| format!("cannot forward the pods' {family}"));
        }
        tracing::warn!(%family, %error, "the node does not forward this family");
    }
    Ok(families)
}

/// Starts what serves the plugin; `None` on a router without pods.
fn pods(
    config: &Config,
    metrics: &Metrics,
    chooser: Option<Arc<dyn Chooser>>,
    parts: &mut Parts,
) -> anyhow::Result<Option<NodeHandle>> {
    let Some(settings) = node::settings(config) else { return Ok(None) };
    let listener = cni::server::listen(&config.sockets.cni).context("sockets.cni")?;
    let journal = config.sockets.cni.with_file_name(ipam::JOURNAL);
    let (node, pump) = node::spawn(settings, &journal)?;
    parts.spawn("the pods' task", async {
        // Whether it ended or panicked, the log has it.
        let _ = pump.await;
    });
    let (socket, served) = (config.sockets.cni.clone(), node.clone());
    let service = Service { node: node.clone(), metrics: metrics.clone(), chooser };
    parts.spawn("sockets.cni", async move {
        let server = async move {
            cni::owed::settle(&socket, &service.node).await;
            cni::server::serve(listener, service).await;
        };
        // If the pods' thread has ended, its own part says so.
        let _ = served.beside(server).await;
    });
    Ok(Some(node))
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
