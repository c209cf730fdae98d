//! Carries out what the machines of the report ask for.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::{sleep_until, timeout},
};

use super::{
    api::{Api, Written},
    events::Events,
    life::{Deed, Found, Life, Said},
    picture::{Picture, gist},
    pruned,
    status::{Clock, Status},
};
use crate::{Failure, watch::Pace};

/// The way to the report. When it is gone, the report ends.
#[derive(Debug)]
pub struct ReportHandle {
    pictures: watch::Sender<Option<Arc<Picture>>>,
    farewells: mpsc::Sender<oneshot::Sender<()>>,
    reporting: watch::Receiver<Reporting>,
}

/// How reporting goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reporting {
    /// When the status was written last.
    pub written: Option<Instant>,
    /// What fails, and the remedy if there is one, by what is reported.
    pub failing: BTreeMap<&'static str, String>,
}

impl ReportHandle {
    /// Reports of the node of that name, once there is a picture of it. The task ends with the handle, and
    /// may be dropped anywhere.
    pub fn start(client: Client, node: &str) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let pictures = watch::Sender::new(None);
        let seen = pictures.subscribe();
        let (farewells, leaving) = mpsc::channel(1);
        let reporting = watch::Sender::new(Reporting::default());
        let handle = Self { pictures, farewells, reporting: reporting.subscribe() };
        let driver = Driver::new(Api::new(client, node), reporting);
        (handle, driver.run(seen, leaving))
    }

    /// So the node is now.
    pub fn show(&self, picture: Picture) {
        self.pictures.send_if_modified(|before| {
            let differs = before.as_deref() != Some(&picture);
            if differs {
                *before = Some(Arc::new(picture));
            }
            differs
        });
    }

    /// Says that the node has no network from now on, and nothing after that. Returns once it is said,
    /// or after two seconds: who stops does not wait for an API server.
    pub async fn farewell(&self) {
        let (said, done) = oneshot::channel();
        let farewell = async {
            self.farewells.send(said).await.ok()?;
            done.await.ok()
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("the API server did not hear in time that this node has no network now");
        }
    }

    /// How it goes.
    #[must_use]
    pub fn reporting(&self) -> Reporting {
        self.reporting.borrow().clone()
    }
}

struct Driver {
    api: Api,
    status: Status,
    life: Life,
    events: Events,
    paces: [Pace; 3],
    /// The Node that the object is known to go with, if there is one; `None`: nothing is known.
    owner: Option<Option<String>>,
    node_uid: Option<String>,
    /// Whether the condition `NetworkUnavailable` is true, as far as known.
    unavailable: Option<bool>,
    deeds: JoinSet<Done>,
    reporting: watch::Sender<Reporting>,
}

/// What was done.
enum Done {
    Wrote(Option<String>, Result<Written, Failure>),
    /// The object was read, or rid of its taint.
    Found(Deed, Result<Found, Failure>),
    Said(Said, Result<(), Failure>),
    /// An event, and whether it was to be counted in one that there was.
    Sent(bool, Result<String, Failure>),
}

impl Driver {
    fn new(api: Api, reporting: watch::Sender<Reporting>) -> Self {
        let seed = || RandomState::new().build_hasher().finish();
        let now = now();
        Self {
            api,
            status: Status::new(seed()),
            life: Life::new(seed(), now),
            events: Events::new(seed(), now),
            paces: [Pace::new(), Pace::new(), Pace::new()],
            owner: None,
            node_uid: None,
            unavailable: None,
            deeds: JoinSet::new(),
            reporting,
        }
    }

    async fn run(
        mut self,
        mut pictures: watch::Receiver<Option<Arc<Picture>>>,
        mut leaving: mpsc::Receiver<oneshot::Sender<()>>,
    ) {
        loop {
            let due = self.due();
            tokio::select! {
                changed = pictures.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let picture = pictures.borrow_and_update().clone();
                    if let Some(picture) = picture {
                        self.see(&picture);
                    }
                }
                Some(done) = self.deeds.join_next() => self.done(done),
                Some(said) = leaving.recv() => {
                    self.farewell().await;
                    // Who asked may have gone.
                    let _ = said.send(());
                    return std::future::pending().await;
                }
                () = sleep_until(due.unwrap_or_else(far).into()), if due.is_some() => {}
            }
            self.act();
        }
    }

    fn due(&self) -> Option<Instant> {
        let due =
            [self.status.poll_timeout(), self.life.poll_timeout(), self.events.poll_timeout()];
        due.into_iter().flatten().min()
    }

    fn see(&mut self, picture: &Arc<Picture>) {
        let now = now();
        if self.node_uid != picture.node_uid {
            self.node_uid.clone_from(&picture.node_uid);
            self.unavailable = None;
        }
        self.status.see(picture, now);
        self.life.see(picture, now);
        self.events.see(picture, now);
    }

    fn act(&mut self) {
        let clock = Clock { now: now(), wall: Timestamp::now() };
        if let Some(status) = self.status.take(clock) {
            let (api, uid) = (self.api.clone(), self.node_uid.clone());
            let is_known = self.owner.as_ref() == Some(&uid);
            self.deeds.spawn(async move {
                let written = api.write(status, uid.as_deref(), is_known).await;
                Done::Wrote(uid, written)
            });
        }
        let Some(uid) = self.node_uid.clone() else { return };
        if let Some(deed) = self.life.take(clock.now) {
            let (api, uid) = (self.api.clone(), uid.clone());
            let before = self.unavailable;
            self.deeds.spawn(async move {
                match deed {
                    Deed::Look => Done::Found(deed, api.look().await),
                    Deed::Untaint => Done::Found(deed, api.untaint(&uid).await),
                    Deed::Say(said) => {
                        let turned = before != Some(said.unavailable);
                        let outcome = api.say(&said, Some(&uid), turned).await;
                        Done::Said(said, outcome)
                    }
                }
            });
        }
        if let Some(notice) = self.events.take(clock.now) {
            let api = self.api.clone();
            self.deeds.spawn(async move {
                let sent = api.send(&notice, &uid).await;
                Done::Sent(notice.series.is_some(), sent)
            });
        }
    }

    fn done(&mut self, done: Result<Done, JoinError>) {
        let now = now();
        match done {
            Ok(Done::Wrote(uid, Ok(written))) => {
                self.owner = Some(uid);
                self.status.written(written.conditions, now);
                self.reporting.send_modify(|reporting| reporting.written = Some(now));
                self.good(STATUS);
                self.complain(pruned::complaint(&written.missing));
            }
            Ok(Done::Wrote(_, Err(failure))) => {
                self.owner = None;
                let wait = self.bad(STATUS, &failure);
                self.status.failed(now + wait);
            }
            Ok(Done::Found(_, Ok(found))) => {
                self.unavailable = found.condition.as_ref().map(|said| said.unavailable);
                self.life.found(found, now);
                self.good(LIFE);
            }
            Ok(Done::Found(deed, Err(failure))) => self.life_failed(&deed, &failure, now),
            Ok(Done::Said(said, Ok(()))) => {
                tell(self.unavailable, &said);
                self.unavailable = Some(said.unavailable);
                self.life.said(said, now);
                self.good(LIFE);
            }
            Ok(Done::Said(said, Err(failure))) => {
                self.life_failed(&Deed::Say(said), &failure, now);
            }
            Ok(Done::Sent(_, Ok(name))) => {
                self.events.sent(name, now);
                self.good(EVENTS);
            }
            Ok(Done::Sent(counts, Err(failure))) => {
                let wait = self.bad(EVENTS, &failure);
                match failure.code {
                    Some(400 | 422) => self.events.refused(),
                    // The one that was to be counted is gone by its age.
                    Some(404) if counts => self.events.failed(now),
                    _ => self.events.failed(now + wait),
                }
            }
            Err(error) => {
                tracing::error!(%error, "a report has ended; please report it");
            }
        }
    }

    fn life_failed(&mut self, deed: &Deed, failure: &Failure, now: Instant) {
        let wait = self.bad(LIFE, failure);
        self.life.failed(deed, now + wait);
    }

    /// Reporting this works.
    fn good(&mut self, what: usize) {
        self.paces[what].succeeded();
        self.reporting.send_if_modified(|reporting| {
            let failed = reporting.failing.remove(NAMES[what]);
            if failed.is_some() {
                tracing::info!("{} is reported to the API server again", NAMES[what]);
            }
            failed.is_some()
        });
    }

    /// The status is written, but not all of it: what the definition there lacks, or nothing.
    fn complain(&self, complaint: Option<String>) {
        self.reporting.send_if_modified(|reporting| match complaint {
            Some(text) if reporting.failing.get(FIELDS) == Some(&text) => false,
            Some(text) => {
                tracing::warn!(error = text, "{FIELDS} are not reported");
                reporting.failing.insert(FIELDS, text);
                true
            }
            None => reporting.failing.remove(FIELDS).is_some(),
        });
    }

    /// It does not; how long it is not tried again.
    fn bad(&mut self, what: usize, failure: &Failure) -> Duration {
        self.reporting.send_if_modified(|reporting| {
            let before = reporting.failing.insert(NAMES[what], failure.text.clone());
            if before.is_none_or(|before| gist(&before) != gist(&failure.text)) {
                tracing::warn!(error = %failure, "{} cannot be reported to the API server; it is tried again", NAMES[what]);
            }
            true
        });
        let wait = self.paces[what].failed(failure.wait);
        // Somebody has to change something there first.
        let is_refusal = matches!(failure.code, Some(403 | 404));
        if is_refusal { wait.max(self.paces[what].between(REFUSED, REFUSED * 2)) } else { wait }
    }

    async fn farewell(&mut self) {
        self.deeds.abort_all();
        let Some(uid) = self.node_uid.clone() else { return };
        let turned = self.unavailable != Some(true);
        if let Err(error) = self.api.say(&Said::farewell(), Some(&uid), turned).await {
            tracing::warn!(%error, "the API server could not be told that this node has no network now");
        }
    }
}

/// What an operator would want to know.
fn tell(before: Option<bool>, said: &Said) {
    if before == Some(said.unavailable) {
        return;
    }
    match said.unavailable {
        false => tracing::info!("the cluster is told that this node has a network"),
        true => tracing::warn!(
            error = said.message,
            "the cluster is told that this node has no network"
        ),
    }
}

/// The clock of the runtime, which tests set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn far() -> Instant {
    now() + Duration::from_secs(3600)
}

/// What is reported, as places in lists.
const STATUS: usize = 0;
const LIFE: usize = 1;
const EVENTS: usize = 2;
const NAMES: [&str; 3] = ["the node's BGPNodeStatus", "the Node's condition or taint", "events"];
/// Those that the API server drops.
const FIELDS: &str = "fields of the node's BGPNodeStatus";
/// After a refusal, half to all of this.
const REFUSED: Duration = Duration::from_secs(60);
/// How long a stop may wait for the API server.
const FAREWELL: Duration = Duration::from_secs(2);
