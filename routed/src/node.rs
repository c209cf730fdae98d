//! The pods' pump: one task that owns the machine and moves what happens in, what to do out.
//!
//! In: requests of runtimes, questions of `routed show`, answers of the kernel's threads, time.
//! Out: jobs for those threads, replies, log lines. Owns [`Pods`] and the descriptors of the
//! namespaces that came with requests. Ends when every [`NodeHandle`] is dropped; what the kernel
//! is doing then is finished by its threads, and what is left the next run adopts.
//!
//! Decides nothing itself.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    num::NonZeroU64,
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::prefix::Prefix;
use routed_core::{
    attachment::AttachmentId,
    fib::route::PROTO_PODS,
    ipam::{BlockUse, Lease, PoolUse},
    pod::{
        Command, Event, GuardSettings, Notice, PodState, Pods, Settings,
        verb::{NotReady, OpId, PodError, Reply, Request},
        wiring::{RouteStamp, Wiring},
    },
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time,
};

mod journal;

use journal::Journal;

use crate::{
    config::{Config, Pods as PodsConfig, Service},
    kernel::{
        netlink::NetlinkError,
        pods::{Executor, Job, Removal, fuse::Fuse, gone, spawn as spawn_executor},
    },
};

/// Asks the pump. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    inputs: mpsc::Sender<Input>,
    ranges: watch::Receiver<Vec<Prefix>>,
}

/// The pump has ended: the daemon is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is stopping; try again when it runs again")]
pub struct Stopped;

/// The book of leases, as shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Who has what.
    pub leased: Vec<(AttachmentId, Lease)>,
    /// What nobody has, and for how long.
    pub idle: Vec<(IpAddr, Duration)>,
}

/// One pod, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStatus {
    /// Everything about its network.
    pub wiring: Wiring,
    /// How far it is.
    pub state: PodState,
}

impl NodeHandle {
    /// Passes on what a runtime asks, with the pod's namespace where the verb needs one (ADD and
    /// CHECK), and waits for the answer. If the caller stops waiting, the request is still carried
    /// out.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn ask(&self, request: Request, netns: Option<OwnedFd>) -> Result<Reply, Stopped> {
        let netns = netns.map(Arc::new);
        let request = Box::new(request);
        self.put(|answer| Input::Ask { request, netns, answer }).await
    }

    /// Every pod, by network, container and interface.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn pods(&self) -> Result<Vec<PodStatus>, Stopped> {
        self.look(|pods, _| {
            let pods = pods.pods();
            pods.map(|(wiring, state)| PodStatus { wiring: wiring.clone(), state }).collect()
        })
        .await
    }

    /// The ranges that are this node's: those of the configuration, and former ones in which pods
    /// have addresses still. Always current.
    #[must_use]
    pub fn ranges(&self) -> watch::Receiver<Vec<Prefix>> {
        self.ranges.clone()
    }

    /// Ranges that are no longer in the configuration, with the number of their leases.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn former_ranges(&self) -> Result<Vec<(Prefix, usize)>, Stopped> {
        self.look(|pods, _| pods.ipam().former().collect()).await
    }

    /// Every range of the pools, in the order of the configuration.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn pools(&self) -> Result<Vec<PoolUse>, Stopped> {
        self.look(|pods, now| pods.ipam().pools(now).collect()).await
    }

    /// Every open block.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn blocks(&self) -> Result<Vec<BlockUse>, Stopped> {
        self.look(|pods, now| pods.ipam().blocks(now).collect()).await
    }

    /// Every lease, and every idle address with the time since its pod went.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn leases(&self) -> Result<Leases, Stopped> {
        self.look(|pods, now| Leases {
            leased: pods.ipam().leases().map(|(id, lease)| (id.clone(), lease)).collect(),
            idle: pods
                .ipam()
                .idle()
                .map(|(address, since)| (address, now.saturating_duration_since(since)))
                .collect(),
        })
        .await
    }

    /// Can ADD be served, and will its pod be reached? `None` if all is well.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn readiness(&self) -> Result<Option<NotReady>, Stopped> {
        self.look(|pods, _| pods.readiness().err()).await
    }

    /// Goes on with other settings, for pods that are made from now on.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn reconfigure(&self, settings: Settings) -> Result<(), Stopped> {
        self.inputs.send(Input::Configured(Box::new(settings))).await.map_err(|_| Stopped)
    }

    /// Compares the pods with the kernel's interfaces and the journal, and puts right what differs.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn put_right(&self) -> Result<(), Stopped> {
        self.inputs.send(Input::PutRight).await.map_err(|_| Stopped)
    }

    /// Tells how many BGP peers there are and how many sessions are established. Without it, STATUS
    /// does not depend on BGP.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn sessions(&self, configured: usize, established: usize) -> Result<(), Stopped> {
        let input = Input::Sessions { configured, established };
        self.inputs.send(input).await.map_err(|_| Stopped)
    }

    /// Asks a pump that has ended.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        Self { inputs: mpsc::channel(1).0, ranges: watch::channel(Vec::new()).1 }
    }

    /// What a look into the machine, between two events, shows.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Pods, Instant) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.put(|answer| {
            Input::Look(Box::new(move |pods, now| {
                // Who asked may have gone.
                let _ = answer.send(look(pods, now));
            }))
        })
        .await
    }

    async fn put<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(input(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

/// What the configuration asks of the pods' machine; `None` on a router without pods.
#[must_use]
pub fn settings(config: &Config) -> Option<Settings> {
    let pods = config.pods.as_ref()?;
    Some(Settings {
        ipam: pods.ipam.clone(),
        mtu: pods.mtu,
        routes: RouteStamp { table: config.kernel.table, protocol: PROTO_PODS },
        guard: pods.guard.then(|| GuardSettings { closed_ports: closed_ports(config, pods) }),
    })
}

/// Ports of the daemon that pods do not reach.
fn closed_ports(config: &Config, pods: &PodsConfig) -> Vec<u16> {
    let bgp = config.speaker.listen.iter().map(|address| (Service::Bgp, address.port()));
    let http = config.sockets.http.iter().map(|address| (Service::Http, address.port()));
    let closed = bgp.chain(http).filter(|(service, _)| !pods.open_to_pods.contains(service));
    closed.map(|(_, port)| port).collect()
}

/// Starts the kernel's threads and the pump. The calling thread must be in the host's network
/// namespace and in the context of a tokio runtime. `journal` is the path of the journal of leases.
///
/// # Errors
///
/// If netlink cannot be used or a thread cannot be started.
pub fn spawn(
    settings: Settings,
    journal: &Path,
) -> Result<(NodeHandle, JoinHandle<()>), NetlinkError> {
    spawn_with(settings, journal, Fuse::default())
}

/// The same, with threads that die when the fuse blows: for tests.
///
/// # Errors
///
/// As [`spawn`].
pub fn spawn_with(
    settings: Settings,
    journal: &Path,
    fuse: Fuse,
) -> Result<(NodeHandle, JoinHandle<()>), NetlinkError> {
    let (inputs, input_queue) = mpsc::channel(QUEUE);
    let (events, event_queue) = mpsc::channel(QUEUE);
    // Before the survey, so that no interface goes unnoticed.
    gone::spawn(events.clone())?;
    let Executor { jobs, removals } = spawn_executor(events, fuse)?;
    let (journal, memory) = Journal::open(journal);
    let pools = settings.ipam.pools.iter();
    let (ranges_out, ranges) =
        watch::channel(pools.flat_map(|pool| pool.ranges.iter().copied()).collect());
    let pump = Pump {
        pods: Pods::new(settings, memory),
        ranges: ranges_out,
        journal,
        jobs: Outbox::new(jobs),
        removals: Outbox::new(removals),
        asked: BTreeMap::new(),
        last_op: 0,
    };
    Ok((NodeHandle { inputs, ranges }, tokio::spawn(pump.run(input_queue, event_queue))))
}

/// What comes in from the rest of the daemon.
enum Input {
    Ask { request: Box<Request>, netns: Option<Arc<OwnedFd>>, answer: oneshot::Sender<Reply> },
    Look(Look),
    Sessions { configured: usize, established: usize },
    PutRight,
    Configured(Box<Settings>),
}

/// A look into the machine, at this moment.
type Look = Box<dyn FnOnce(&Pods, Instant) + Send>;

/// Who waits for a reply, and the namespace that came along.
#[derive(Debug)]
struct Asked {
    answer: oneshot::Sender<Reply>,
    netns: Option<Arc<OwnedFd>>,
}

struct Pump {
    pods: Pods,
    ranges: watch::Sender<Vec<Prefix>>,
    journal: Journal,
    jobs: Outbox<Job>,
    removals: Outbox<Removal>,
    asked: BTreeMap<OpId, Asked>,
    last_op: u64,
}

impl Pump {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>, mut events: mpsc::Receiver<Event>) {
        self.carry_out();
        loop {
            let due = self.pods.poll_timeout().map(time::Instant::from_std);
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => return,
                },
                event = events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return ended(),
                },
                sent = self.jobs.flush(), if self.jobs.waits() => if sent.is_err() { return ended() },
                sent = self.removals.flush(), if self.removals.waits() => {
                    if sent.is_err() { return ended() }
                }
                () = until(due) => self.handle(Event::Due),
            }
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Ask { request, netns, answer } => {
                self.last_op += 1;
                let op = OpId(NonZeroU64::new(self.last_op).expect("counts up from 1"));
                self.asked.insert(op, Asked { answer, netns });
                self.handle(Event::Asked(op, *request));
            }
            Input::Look(look) => look(&self.pods, Instant::now()),
            Input::Configured(settings) => self.handle(Event::Configured(settings)),
            Input::PutRight => {
                self.journal.rewrite(self.pods.ipam());
                self.handle(Event::Doubt);
            }
            Input::Sessions { configured, established } => {
                self.handle(Event::Sessions { configured, established });
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.pods.handle(event, Instant::now());
        self.carry_out();
        let ranges: Vec<_> = self.pods.ipam().prefixes().collect();
        self.ranges.send_if_modified(|published| {
            let changed = *published != ranges;
            *published = ranges;
            changed
        });
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.pods.poll_command() {
            match command {
                Command::Survey => self.jobs.push(Job::Survey),
                Command::Attach(op, id, steps) => {
                    let netns = self.netns(op);
                    self.jobs.push(Job::Attach(id, netns, steps));
                }
                Command::Observe(op, wiring) => {
                    let netns = self.netns(op);
                    self.jobs.push(Job::Observe(netns, wiring));
                }
                Command::Cut(id, steps) => self.jobs.push(Job::Cut(id, steps)),
                Command::Enforce(rules) => self.jobs.push(Job::Enforce(rules)),
                Command::Sweep(id) => self.removals.push(Removal::Sweep(id)),
                Command::Discard(link) => self.removals.push(Removal::Discard(link)),
                Command::Reply(op, reply) => {
                    if let Some(asked) = self.asked.remove(&op) {
                        // Whoever does not wait any longer need not be answered.
                        let _ = asked.answer.send(reply);
                    }
                }
                Command::Record(record) => self.journal.note(record),
                Command::Notice(notice) => log(&notice),
            }
        }
        self.journal.flush(self.pods.ipam());
    }

    /// The namespace that came with a request.
    fn netns(&self, op: OpId) -> Option<Arc<OwnedFd>> {
        self.asked.get(&op).and_then(|asked| asked.netns.clone())
    }
}

/// What one of the kernel's threads has not taken yet. No longer than there are attachments: each
/// has at most one command under way.
struct Outbox<T> {
    waiting: VecDeque<T>,
    sender: mpsc::Sender<T>,
}

impl<T> Outbox<T> {
    const fn new(sender: mpsc::Sender<T>) -> Self {
        Self { waiting: VecDeque::new(), sender }
    }

    fn push(&mut self, item: T) {
        self.waiting.push_back(item);
    }

    fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends the first that waits as soon as there is room; an error if nobody takes it any more.
    /// May be cancelled anywhere.
    async fn flush(&mut self) -> Result<(), Stopped> {
        let permit = self.sender.reserve().await.map_err(|_| Stopped)?;
        if let Some(item) = self.waiting.pop_front() {
            permit.send(item);
        }
        Ok(())
    }
}

/// One of the kernel's threads has ended, which only a bug can do; what they did for pods cannot go on.
fn ended() {
    tracing::error!("a thread that serves pods has ended; please report it");
}

async fn until(due: Option<time::Instant>) {
    match due {
        Some(due) => time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn log(notice: &Notice) {
    match notice {
        Notice::Adopted(0) => tracing::info!("no pods of a former run"),
        Notice::Adopted(pods) => tracing::info!(pods, "pods of a former run are known again"),
        Notice::Conflict { id, error } => tracing::error!(
            container_id = id.container_id(), ifname = id.ifname(), %error,
            "two pods have the same address; delete one of them"
        ),
        Notice::Twin { link, id } => tracing::error!(
            link,
            container_id = id.container_id(),
            ifname = id.ifname(),
            "two interfaces claim to be the same pod's; this one is left alone, delete it"
        ),
        Notice::Leftover(link) => {
            tracing::warn!(link, "an interface that a daemon left half made is deleted");
        }
        Notice::Unreadable { link, reason } => tracing::warn!(
            link, error = %reason,
            "an interface in the group of pods' interfaces is no pod's; it is left alone"
        ),
        Notice::SurveyFailed(error) => {
            tracing::warn!(%error, "interfaces cannot be listed; trying again");
        }
        Notice::NotEnforced(error) => tracing::error!(
            %error, "pods may send what they like until this succeeds; trying again"
        ),
        Notice::Vanished(id) => tracing::info!(
            container_id = id.container_id(),
            ifname = id.ifname(),
            "a pod's network namespace went without a DEL; the rest of its network is removed"
        ),
        Notice::Stuck { id, error } => tracing::warn!(
            container_id = id.container_id(), ifname = id.ifname(), %error,
            "a pod's network cannot be removed; trying again"
        ),
        Notice::Rebuilding { id, found } => tracing::warn!(
            container_id = id.container_id(), ifname = id.ifname(),
            error = %PodError::Differs(found.clone()),
            "a pod was attached again and found damaged; making it anew"
        ),
    }
}

/// Messages waiting for the pump. It never waits for anything itself, so this only evens out
/// bursts: more senders than this wait their turn.
const QUEUE: usize = 256;
