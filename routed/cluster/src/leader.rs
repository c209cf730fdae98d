//! The leader: one daemon of the cluster that does what one has to do for all.
//!
//! In: the Lease, and complete listings of claims, reports and objects. Out: conditions of our objects,
//! the claims of nodes that are gone, told of and then freed, and what nobody owns any more, told of.
//!
//! Every daemon can lead, and none holds anything of it while it does not. `election` decides who leads,
//! `orphans`, `verdict` and `leaks` what is to be done; `duties` does it.

mod api;
mod duties;
mod election;
mod leaks;
mod lease;
mod orphans;
mod verdict;

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep_until, timeout},
};

pub use self::orphans::Orphan;
use self::{
    api::Api,
    duties::Duties,
    election::{Answer, Election},
    lease::LeaseApi,
};
use crate::{Failure, Known};

/// Who leads, and what the leader has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The node whose daemon leads, as far as this one knows.
    pub leader: Option<String>,
    /// Whether it is this one.
    pub leads: bool,
    /// Of the leader: blocks whose nodes are gone.
    pub orphans: Vec<Orphan>,
    /// Of the leader: what nobody owns any more.
    pub leaked: Vec<String>,
    /// What fails, and the remedy.
    pub error: Option<String>,
}

/// What the duties find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Findings {
    orphans: Vec<Orphan>,
    leaked: Vec<String>,
    error: Option<String>,
}

/// The way to it. Cheap to clone; when the last one is gone, the task ends.
#[derive(Clone, Debug)]
pub struct LeaderHandle {
    leadership: watch::Receiver<Leadership>,
    leave: mpsc::Sender<oneshot::Sender<()>>,
}

impl LeaderHandle {
    /// Takes part in the election with the Lease of that namespace. `after` is how long a node must be
    /// gone until its blocks are freed. The task may be dropped anywhere; the Lease then ends by itself.
    pub fn start(
        client: Client,
        namespace: &str,
        node: &str,
        known: watch::Receiver<Known>,
        after: Duration,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let chance = RandomState::new().build_hasher().finish();
        // Another one in each run: the Lease of a run that has ended is not this one's.
        let me = format!("{node}{RUN}{chance:016x}");
        let (leave, leaving) = mpsc::channel(1);
        let leadership = watch::Sender::new(Leadership::default());
        let handle = Self { leadership: leadership.subscribe(), leave };
        let driver = Driver {
            election: Election::new(me.clone(), chance, Instant::now()),
            lease: LeaseApi::new(client.clone(), namespace, &me),
            api: Api::new(client, node),
            known,
            after,
            until: watch::Sender::new(None),
            findings: Arc::new(watch::Sender::new(Findings::default())),
            error: None,
            leadership,
        };
        (handle, driver.run(leaving))
    }

    /// Who leads, always current as far as this daemon looks.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Leads no more, and gives the Lease away, so that another one leads at once. Takes 2 s at most.
    pub async fn leave(&self) {
        let (done, is_done) = oneshot::channel();
        if self.leave.send(done).await.is_ok() {
            let _ = timeout(LEAVE, is_done).await;
        }
    }
}

struct Driver {
    election: Election,
    lease: LeaseApi,
    api: Api,
    known: watch::Receiver<Known>,
    after: Duration,
    /// Until when this daemon leads.
    until: watch::Sender<Option<Instant>>,
    findings: Arc<watch::Sender<Findings>>,
    /// Why the Lease cannot be had.
    error: Option<String>,
    leadership: watch::Sender<Leadership>,
}

type Leading = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Driver {
    async fn run(mut self, mut leave: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut questions = JoinSet::new();
        let mut leading: Option<Leading> = None;
        let mut waits = None;
        let mut found = self.findings.subscribe();
        loop {
            let (now, nodes) = (Instant::now(), self.count());
            self.election.nodes(nodes, now);
            if let Some(ask) = self.election.poll(now) {
                let lease = self.lease.clone();
                questions.spawn(async move { lease.ask(&ask).await });
            }
            self.begin_or_end(&mut leading, now);
            self.publish();
            if self.election.has_left() {
                waits.take().map(|done: oneshot::Sender<()>| done.send(()));
            }
            let due = self.election.poll_timeout();
            tokio::select! {
                Some(answer) = questions.join_next() => {
                    self.hear(answer.unwrap_or((Answer::Unanswered, None)));
                }
                () = sleep_until(due.unwrap_or(now).into()), if due.is_some() => {}
                () = duties(&mut leading) => {}
                _ = found.changed() => {}
                changed = self.known.changed() => if changed.is_err() { return },
                asked = leave.recv() => match asked {
                    None => return,
                    Some(done) => {
                        self.election.leave(Instant::now());
                        waits = Some(done);
                    }
                }
            }
        }
    }

    fn count(&mut self) -> usize {
        let known = self.known.borrow_and_update();
        known.objects.as_ref().map_or(0, |objects| objects.nodes.len())
    }

    fn hear(&mut self, (answer, failure): (Answer, Option<Failure>)) {
        self.error = failure.map(|failure| failure.text);
        self.election.handle(answer, Instant::now());
    }

    /// The duties begin with nothing, and nothing is left of them.
    fn begin_or_end(&self, leading: &mut Option<Leading>, now: Instant) {
        let until = self.election.leads_until(now);
        self.until.send_replace(until);
        match (until.is_some(), leading.is_some()) {
            (true, false) => {
                tracing::info!("this daemon leads the cluster");
                let (known, until) = (self.known.clone(), self.until.subscribe());
                let findings = Arc::clone(&self.findings);
                let duties = Duties::new(self.api.clone(), known, until, findings, self.after);
                *leading = Some(Box::pin(duties.run()));
            }
            (false, true) => {
                tracing::info!("this daemon leads the cluster no more");
                *leading = None;
                self.findings.send_replace(Findings::default());
            }
            (true, true) | (false, false) => {}
        }
    }

    fn publish(&self) {
        let Findings { orphans, leaked, error } = self.findings.borrow().clone();
        let holder = self.election.holder().filter(|holder| !holder.is_empty());
        let name =
            |holder: &str| holder.rsplit_once(RUN).map_or(holder, |(node, _)| node).to_owned();
        let now = Leadership {
            leader: holder.map(name),
            leads: self.until.borrow().is_some(),
            orphans,
            leaked,
            error: self.error.clone().or(error),
        };
        self.leadership.send_if_modified(|before| {
            let differs = *before != now;
            *before = now;
            differs
        });
    }
}

/// Does what the leader does, for as long as this one leads.
async fn duties(leading: &mut Option<Leading>) {
    match leading {
        Some(duties) => duties.await,
        None => std::future::pending().await,
    }
}

/// Between the node and the run, in the Lease.
const RUN: char = '_';
/// How long a daemon that ends waits until the Lease is given away.
const LEAVE: Duration = Duration::from_secs(2);
