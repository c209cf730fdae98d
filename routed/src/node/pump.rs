//! The pump itself: see the module above.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU64,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::prefix::Prefix;
use routed_core::pod::{
    Command, Event, Notice, Pods, RuleTable, Settings,
    verb::{OpId, PodError, Reply, Request},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

use super::{Stopped, journal::Journal};
use crate::{
    deadline::until,
    kernel::pods::{Job, Removal, Worker, guard, nat},
};

/// What comes in from the rest of the daemon.
pub(super) enum Input {
    Ask { request: Box<Request>, netns: Option<Arc<OwnedFd>>, answer: oneshot::Sender<Reply> },
    Look(Look),
    Sessions { configured: usize, established: usize },
    PathMtu(Option<u32>),
    PutRight,
    Configured(Box<Settings>),
    Beside(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// A look into the machine, at this moment.
pub(super) type Look = Box<dyn FnOnce(&Pods, Instant) + Send>;

/// Where the pump's own things go.
pub(super) struct Ends {
    pub(super) ranges: watch::Sender<Vec<Prefix>>,
    pub(super) announced: watch::Sender<Vec<Prefix>>,
    pub(super) removals: mpsc::Sender<Removal>,
}

/// What comes to the pump.
pub(super) struct Queues {
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) events: mpsc::Receiver<Event>,
    /// What others than the machine want done.
    pub(super) jobs: mpsc::Receiver<Job>,
}

/// Who waits for a reply, and the namespace that came along.
#[derive(Debug)]
struct Asked {
    answer: oneshot::Sender<Reply>,
    netns: Option<Arc<OwnedFd>>,
}

pub(super) struct Pump {
    pods: Pods,
    ranges: watch::Sender<Vec<Prefix>>,
    announced: watch::Sender<Vec<Prefix>>,
    journal: Journal,
    worker: Worker,
    jobs: VecDeque<Job>,
    /// When to remove what interfaces that are gone have left in the rules.
    tidy: Option<Instant>,
    removals: Outbox<Removal>,
    asked: BTreeMap<OpId, Asked>,
    last_op: u64,
}

impl Pump {
    pub(super) fn new(pods: Pods, journal: Journal, worker: Worker, ends: Ends) -> Self {
        Self {
            pods,
            ranges: ends.ranges,
            announced: ends.announced,
            journal,
            worker,
            jobs: VecDeque::new(),
            tidy: None,
            removals: Outbox::new(ends.removals),
            asked: BTreeMap::new(),
            last_op: 0,
        }
    }

    /// Until nobody can ask any more.
    pub(super) async fn run(mut self, mut queues: Queues) {
        self.carry_out();
        loop {
            if let Some(job) = self.jobs.pop_front() {
                self.work(job);
                // Whoever has an answer now, and whoever asks, gets a turn on this thread.
                tokio::task::yield_now().await;
                while let Ok(input) = queues.inputs.try_recv() {
                    self.input(input);
                }
                continue;
            }
            let due = self.pods.poll_timeout();
            tokio::select! {
                input = queues.inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => return,
                },
                event = queues.events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return ended(),
                },
                Some(job) = queues.jobs.recv() => self.work(job),
                sent = self.removals.flush(), if self.removals.waits() => {
                    if sent.is_err() { return ended() }
                }
                () = until(due) => self.handle(Event::Due),
                () = until(self.tidy) => self.tidy(),
            }
        }
    }

    fn work(&mut self, job: Job) {
        if let Some(event) = self.worker.work(job) {
            self.handle(event);
        }
    }

    fn tidy(&mut self) {
        self.tidy = None;
        if let Err(error) = self.worker.tidy() {
            tracing::warn!(%error, "rules of pods that are gone cannot be removed; trying again");
            self.tidy = Some(Instant::now() + AGAIN);
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
            Input::PathMtu(mtu) => self.handle(Event::PathMtu(mtu)),
            Input::Beside(task) => drop(tokio::spawn(task)),
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
        publish(&self.ranges, self.pods.ipam().prefixes());
        publish(&self.announced, self.pods.ipam().announced());
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.pods.poll_command() {
            match command {
                Command::Survey => self.jobs.push_back(Job::Survey),
                Command::Attach(op, id, steps) => {
                    let netns = self.netns(op);
                    self.jobs.push_back(Job::Attach(id, netns, steps));
                }
                Command::Observe(op, wiring) => {
                    let netns = self.netns(op);
                    self.jobs.push_back(Job::Observe(netns, wiring));
                }
                Command::Inspect(wiring) => self.jobs.push_back(Job::Inspect(wiring)),
                Command::Mend(id, steps) => self.jobs.push_back(Job::Mend(id, steps)),
                Command::Cut(id, steps) => self.jobs.push_back(Job::Cut(id, steps)),
                Command::Enforce(rules) => self.jobs.push_back(Job::Enforce(rules)),
                Command::Translate(wanted) => self.jobs.push_back(Job::Translate(wanted)),
                Command::Sweep(id) => self.removals.push(Removal::Sweep(id)),
                Command::Discard(link) => self.removals.push(Removal::Discard(link)),
                Command::Reply(op, reply) => {
                    if let Some(asked) = self.asked.remove(&op) {
                        // Whoever does not wait any longer need not be answered.
                        let _ = asked.answer.send(reply);
                    }
                }
                Command::Unpermit(index) => {
                    if self.worker.unpermit(index) {
                        self.tidy.get_or_insert_with(|| Instant::now() + PAUSE);
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

    /// At once if there is room and nothing waits. That nobody takes it any more is noticed by
    /// [`flush`](Self::flush).
    fn push(&mut self, item: T) {
        if self.waiting.is_empty() {
            if let Err(TrySendError::Full(item) | TrySendError::Closed(item)) =
                self.sender.try_send(item)
            {
                self.waiting.push_back(item);
            }
        } else {
            self.waiting.push_back(item);
        }
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
        Notice::NotTranslated(error) => tracing::error!(%error, "trying again"),
        Notice::Restored(table) => {
            let table = match table {
                RuleTable::Guard => guard::NAME,
                RuleTable::Nat => nat::NAME,
            };
            tracing::warn!(table, "somebody has changed a table of rules; it is as it was");
        }
        Notice::Vanished(id) => tracing::info!(
            container_id = id.container_id(),
            ifname = id.ifname(),
            "a pod's interface went without a DEL, with its namespace or deleted by another program; \
             the rest of its network is removed"
        ),
        Notice::Mended { id, what, more } => tracing::warn!(
            container_id = id.container_id(), ifname = id.ifname(), error = %what, more,
            "another program changed a pod's network on the host; restored"
        ),
        Notice::Unmended { id, what, more } => tracing::warn!(
            container_id = id.container_id(), ifname = id.ifname(), error = %what, more,
            "a pod's network on the host is not as it was made, and stays so for now"
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

/// Tells of the ranges if they are others.
fn publish(to: &watch::Sender<Vec<Prefix>>, ranges: impl Iterator<Item = Prefix>) {
    let ranges: Vec<_> = ranges.collect();
    to.send_if_modified(|published| {
        let changed = *published != ranges;
        *published = ranges;
        changed
    });
}

/// From the first interface that is gone to tidying up: more are, and a pod that comes takes it along.
const PAUSE: Duration = Duration::from_millis(10);
/// Between attempts to tidy up.
const AGAIN: Duration = Duration::from_secs(1);
