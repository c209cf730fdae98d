//! The task that owns the kernel's routes as a value ([`Fib`]) and connects it with the world.
//!
//! In: best paths and next hops in question, pulled from the RIB; which peers are lost; what the kernel's watch and the
//! route writer report; looks of whoever shows it. Out: jobs for the writer, answers for the RIB.
//! Decides nothing. Does not run in speaker mode.
//!
//! Ends when the RIB does. May be dropped anywhere: the kernel's routes stay as they are, and the
//! next daemon adopts them.

use std::{collections::BTreeSet, future::Future, pin::Pin, time::Instant};

use bgp::{prefix::Prefix, rib::PeerId, session::State};
use routed_core::fib::{Command, Event, Fib, FibConfig, GRACE};
use tokio::sync::{mpsc, watch};

use crate::{
    config::Config,
    deadline::until,
    kernel::{
        routes::{self, Job, RouteWriter, StartError},
        watch::{self as kernel_watch, Links, RouteSink},
    },
    peering::{Followed, PeerStatus, Peers, RibStopped},
    sources::Look,
};
use news::News;

mod news;
mod rib;

pub use rib::{RibSide, RibThread};

/// The task, ready to run.
pub struct FibTask {
    fib: Fib,
    writer: RouteWriter,
    watch: mpsc::Receiver<Vec<Event>>,
    looks: mpsc::Receiver<Look>,
    /// The node's own pod ranges, if it has pods.
    ranges: Option<watch::Receiver<Vec<Prefix>>>,
    peers: Option<Followed>,
    /// As last told to the machine.
    lost: BTreeSet<PeerId>,
    news: News,
}

/// Opens the kernel's side in the calling thread's network namespace. Also returns the interfaces,
/// always current.
///
/// # Errors
///
/// [`StartError`] if the kernel gives us no socket or no thread.
pub fn open(
    config: FibConfig,
    looks: mpsc::Receiver<Look>,
) -> Result<(FibTask, watch::Receiver<Links>), StartError> {
    let writer = routes::start(config.protocol)?;
    let (events, watch) = mpsc::channel(WATCH_QUEUE);
    let links = kernel_watch::start(Some(RouteSink { events, ignore_port: writer.port }))?;
    let fib = Fib::new(config, Instant::now());
    let task = FibTask {
        fib,
        writer,
        watch,
        looks,
        ranges: None,
        peers: None,
        lost: BTreeSet::new(),
        news: News::default(),
    };
    Ok((task, links))
}

/// What the configuration asks of the kernel's routes.
#[must_use]
pub fn settings(config: &Config) -> FibConfig {
    let own_ranges = config.pods.iter().flat_map(|pods| pods.prefixes.iter().copied()).collect();
    FibConfig {
        table: config.kernel.table,
        protocol: config.kernel.protocol,
        metric: config.kernel.metric,
        own_ranges,
        addresses_wander: config.kubernetes.is_some(),
        learned_routes: config.kernel.learned_routes,
        next_hop_groups: config.kernel.next_hop_groups,
        resolve_via_default: false,
        grace: GRACE,
    }
}

impl FibTask {
    /// The same, with these as the node's own ranges in place of those of the configuration.
    #[must_use]
    pub fn with_ranges(self, ranges: watch::Receiver<Vec<Prefix>>) -> Self {
        Self { ranges: Some(ranges), ..self }
    }

    /// The same, with an eye on these peers: what leads to one that is lost is left at once, before the
    /// RIB has decided anew.
    #[must_use]
    pub fn with_peers(self, peers: &Peers) -> Self {
        Self { peers: Some(peers.follow()), ..self }
    }

    /// Runs until the RIB stops. `complete` becomes ready when the peers have told all they have;
    /// if it never does, [`FibConfig::grace`] ends the wait for it.
    pub async fn run(mut self, mut rib: impl RibSide, complete: impl Future<Output = ()> + Send) {
        let mut complete = Some(Box::pin(complete));
        while self.carry_out(&mut rib).await.is_ok() {
            let deadline = [self.fib.poll_timeout(), self.news.due()].into_iter().flatten().min();
            let input = tokio::select! {
                Some(events) = self.watch.recv() => Input::Kernel(events),
                Some(answer) = self.writer.answers.recv() => Input::One(answer),
                news = rib.next() => match news {
                    Ok(event) => Input::One(event),
                    Err(RibStopped) => return,
                },
                ranges = changed(&mut self.ranges) => Input::One(Event::OwnRanges(ranges)),
                lost = another_loss(&mut self.peers, &self.lost) => {
                    self.lost.clone_from(&lost);
                    Input::One(Event::Lost(lost))
                }
                () = ready(&mut complete) => Input::One(Event::Complete),
                Some(look) = self.looks.recv() => Input::Look(look),
                () = until(deadline) => Input::One(Event::Timeout),
            };
            match input {
                Input::One(event) => self.fib.handle(event, Instant::now()),
                Input::Kernel(events) => {
                    let now = Instant::now();
                    for event in events {
                        self.fib.handle(event, now);
                    }
                }
                Input::Look(look) => look(&self.fib),
            }
            self.news.report(&self.fib, Instant::now());
        }
    }

    /// Does what the machine asks for, until it asks for nothing more.
    async fn carry_out(&mut self, rib: &mut impl RibSide) -> Result<(), RibStopped> {
        while let Some(command) = self.fib.poll_command(Instant::now()) {
            let job = match command {
                Command::Answer(next_hop, resolution) => {
                    rib.answer(next_hop, resolution).await?;
                    continue;
                }
                Command::Dump => Job::Dump,
                Command::Write(operations) => Job::Write(operations),
                Command::WriteNextHops(operations) => Job::WriteNextHops(operations),
            };
            // There is room: the queue is as long as the machine lets jobs be under way. If the
            // writer's thread is gone, it has panicked and said so.
            if self.writer.jobs.send(job).await.is_err() {
                return Err(RibStopped);
            }
        }
        Ok(())
    }
}

enum Input {
    One(Event),
    Kernel(Vec<Event>),
    Look(Look),
}

/// When every peer that should be up has been established at the same time.
pub async fn all_established(peers: Peers) {
    let mut peers = peers.follow();
    let is_missing = |status: &PeerStatus| status.wanted && status.state != State::Established;
    while peers.statuses().iter().any(is_missing) {
        peers.changed().await;
    }
}

async fn ready(future: &mut Option<Pin<Box<impl Future<Output = ()>>>>) {
    match future {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
    *future = None;
}

/// The node's own ranges once they are others; forever if they cannot be.
async fn changed(ranges: &mut Option<watch::Receiver<Vec<Prefix>>>) -> Vec<Prefix> {
    if let Some(ranges) = ranges
        && ranges.changed().await.is_ok()
    {
        return ranges.borrow_and_update().clone();
    }
    std::future::pending().await
}

/// The lost peers once they are others than these; forever if nobody looks.
async fn another_loss(peers: &mut Option<Followed>, known: &BTreeSet<PeerId>) -> BTreeSet<PeerId> {
    let Some(peers) = peers else { return std::future::pending().await };
    loop {
        let lost = peers.lost();
        if lost != *known {
            return lost;
        }
        peers.changed().await;
    }
}

/// Batches of kernel news that may wait: each is at most a few hundred; what does not fit waits in
/// the socket's buffer, and if that overflows a full picture is taken.
const WATCH_QUEUE: usize = 64;
