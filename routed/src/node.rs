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
    num::NonZeroU64,
    os::fd::OwnedFd,
    sync::Arc,
    time::Instant,
};

use routed_core::{
    ipam::PoolUse,
    pod::{
        Command, Event, Notice, PodState, Pods, Settings,
        verb::{NotReady, OpId, PodError, Reply, Request},
        wiring::Wiring,
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time,
};

use crate::kernel::{
    netlink::NetlinkError,
    pods::{Executor, Job, Removal, spawn as spawn_executor},
};

/// Asks the pump. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    inputs: mpsc::Sender<Input>,
}

/// The pump has ended: the daemon is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is stopping; try again when it runs again")]
pub struct Stopped;

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
        self.put(|answer| Input::Ask { request, netns, answer }).await
    }

    /// Every pod, by network, container and interface.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn pods(&self) -> Result<Vec<PodStatus>, Stopped> {
        self.put(Input::Pods).await
    }

    /// Every pool, in the order of the configuration.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn pools(&self) -> Result<Vec<PoolUse>, Stopped> {
        self.put(Input::Pools).await
    }

    /// Can ADD be served, and will its pod be reached? `None` if all is well.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn readiness(&self) -> Result<Option<NotReady>, Stopped> {
        self.put(Input::Readiness).await
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
        Self { inputs: mpsc::channel(1).0 }
    }

    async fn put<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(input(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

/// Starts the kernel's threads and the pump. The calling thread must be in the host's network
/// namespace and in the context of a tokio runtime.
///
/// # Errors
///
/// If netlink cannot be used or a thread cannot be started.
pub fn spawn(settings: Settings) -> Result<(NodeHandle, JoinHandle<()>), NetlinkError> {
    let (inputs, input_queue) = mpsc::channel(QUEUE);
    let (events, event_queue) = mpsc::channel(QUEUE);
    let Executor { jobs, removals } = spawn_executor(events)?;
    let pump = Pump {
        pods: Pods::new(settings),
        jobs: Outbox::new(jobs),
        removals: Outbox::new(removals),
        asked: BTreeMap::new(),
        last_op: 0,
    };
    Ok((NodeHandle { inputs }, tokio::spawn(pump.run(input_queue, event_queue))))
}

/// What comes in from the rest of the daemon.
#[derive(Debug)]
enum Input {
    Ask { request: Request, netns: Option<Arc<OwnedFd>>, answer: oneshot::Sender<Reply> },
    Pods(oneshot::Sender<Vec<PodStatus>>),
    Pools(oneshot::Sender<Vec<PoolUse>>),
    Readiness(oneshot::Sender<Option<NotReady>>),
    Sessions { configured: usize, established: usize },
}

/// Who waits for a reply, and the namespace that came along.
#[derive(Debug)]
struct Asked {
    answer: oneshot::Sender<Reply>,
    netns: Option<Arc<OwnedFd>>,
}

struct Pump {
    pods: Pods,
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
                    None => return tracing::error!("the threads that serve pods have ended"),
                },
                () = self.jobs.flush(), if self.jobs.waits() => {}
                () = self.removals.flush(), if self.removals.waits() => {}
                () = until(due) => self.handle(Event::Due),
            }
        }
    }

    fn input(&mut self, input: Input) {
        // Whoever does not wait any longer need not be answered: the results of sending are of no
        // interest here.
        match input {
            Input::Ask { request, netns, answer } => {
                self.last_op += 1;
                let op = OpId(NonZeroU64::new(self.last_op).expect("counts up from 1"));
                self.asked.insert(op, Asked { answer, netns });
                self.handle(Event::Asked(op, request));
            }
            Input::Pods(answer) => {
                let pods = self.pods.pods();
                let pods = pods.map(|(wiring, state)| PodStatus { wiring: wiring.clone(), state });
                let _ = answer.send(pods.collect());
            }
            Input::Pools(answer) => {
                let _ = answer.send(self.pods.pools().collect());
            }
            Input::Readiness(answer) => {
                let _ = answer.send(self.pods.readiness().err());
            }
            Input::Sessions { configured, established } => {
                self.handle(Event::Sessions { configured, established });
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.pods.handle(event, Instant::now());
        self.carry_out();
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
                Command::Sweep(id) => self.removals.push(Removal::Sweep(id)),
                Command::Discard(link) => self.removals.push(Removal::Discard(link)),
                Command::Reply(op, reply) => {
                    if let Some(asked) = self.asked.remove(&op) {
                        let _ = asked.answer.send(reply);
                    }
                }
                Command::Notice(notice) => log(&notice),
            }
        }
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

    /// Sends the first that waits as soon as there is room. May be cancelled anywhere.
    async fn flush(&mut self) {
        // If the thread has ended, the loop hears of it by the events' channel.
        if let Ok(permit) = self.sender.reserve().await
            && let Some(item) = self.waiting.pop_front()
        {
            permit.send(item);
        }
    }
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
