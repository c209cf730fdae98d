//! One kind of objects, followed for as long as the daemon lives.
//!
//! In: what the API server lists and watches. Out: every object once, and then every change. What was
//! listed comes as a whole or not at all; a failure changes nothing. After one the watch goes on where
//! it was, and only if the server has forgotten that place is everything listed again.
//!
//! Lists come as a stream where the server can do that (it then needs memory for one object, not for
//! all), else in pages. Of each object only what is kept stays in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    pin::pin,
    time::Duration,
};

use futures_util::{TryStream, TryStreamExt as _};
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::{Request, WatchEvent, watch::Bookmark},
};
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{kind::Watched, pace::Pace};
use crate::failure::Failure;

/// What is followed.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As in `bgppeers.slash32.dev`, for messages.
    pub(crate) name: String,
    /// As in `/api/v1/nodes`.
    pub(crate) path: String,
    /// Of all objects only these.
    pub(crate) fields: Option<String>,
    /// Of each only the metadata.
    pub(crate) metadata: bool,
    /// Whether an empty listing is believed only when a second one says the same, if there were objects
    /// before: an API server whose etcd was lost lists nothing as well.
    pub(crate) doubts_nothing: bool,
}

/// What has happened.
pub(crate) enum News<K> {
    /// Everything there is, as of a listing that was asked for then.
    Listed { asked: Instant, all: BTreeMap<String, K> },
    /// One is new or has changed.
    Applied(String, K),
    /// One is gone.
    Gone(String),
    /// The server answers.
    Connected,
    /// It does not, or not well.
    Failing(Failure),
}

/// Follows a target. `wrap` makes what goes into the queue.
pub(crate) struct Follower<R: Watched, E, W> {
    client: Client,
    target: Target,
    queue: mpsc::Sender<E>,
    wrap: W,
    pace: Pace,
    /// Keys of what is there.
    known: BTreeSet<String>,
    /// Whether something was there before the daemon started.
    had_some: bool,
    /// A listing was empty, and is to be asked for again.
    doubts: bool,
    /// The server does not list as a stream.
    in_pages: bool,
    /// Of what is listed.
    kind: PhantomData<fn() -> R>,
}

/// How an attempt ended.
enum End {
    /// Nobody wants to know any more.
    Unheard,
    /// The watch is over, as it is every few minutes; it goes on from here.
    Over(String),
    /// It failed; it goes on from here, or with a listing.
    Failed(Failure, Option<String>),
    /// An empty listing is not believed yet.
    Doubted,
    /// The listing does not come as a stream.
    Unstreamed(Failure),
}

impl<R, E, W> Follower<R, E, W>
where
    R: Watched,
    E: Send + 'static,
    W: Fn(News<R::Kept>) -> E + Send + Sync,
{
    pub(crate) fn new(
        client: Client,
        target: Target,
        had_some: bool,
        queue: mpsc::Sender<E>,
        wrap: W,
    ) -> Self {
        Self {
            client,
            target,
            queue,
            wrap,
            pace: Pace::new(),
            known: BTreeSet::new(),
            had_some,
            doubts: false,
            in_pages: false,
            kind: PhantomData,
        }
    }

    /// Until nobody reads the queue any more. May be dropped anywhere.
    pub(crate) async fn run(mut self) {
        let mut version = None;
        loop {
            let started = Instant::now();
            let end = match version.take() {
                None if self.in_pages => self.list().await,
                version => self.watch(version).await,
            };
            let wait = match end {
                End::Unheard => return,
                End::Unstreamed(failure) => {
                    tracing::debug!(kind = self.target.name, error = %failure, "listed in pages");
                    self.in_pages = true;
                    continue;
                }
                End::Doubted => self.pace.between(DOUBT, DOUBT * 2),
                End::Over(at) => {
                    version = Some(at);
                    if started.elapsed() < SHORT {
                        self.pace.failed(None)
                    } else {
                        self.pace.between(Duration::ZERO, SHORT)
                    }
                }
                End::Failed(failure, at) => {
                    // That it has forgotten where we were is the server's way.
                    let forgotten = at.is_some() && failure.is_expired();
                    version = at.filter(|_| !forgotten);
                    let wait = self.pace.failed(failure.wait);
                    tracing::debug!(kind = self.target.name, error = %failure, ?wait, "watch failed");
                    if !forgotten && !self.send(News::Failing(failure)).await {
                        return;
                    }
                    wait
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.queue.closed() => return,
            }
        }
    }

    /// A listing in pages, and the watch from there.
    async fn list(&mut self) -> End {
        let asked = Instant::now();
        let mut all = BTreeMap::new();
        let mut params = ListParams { field_selector: self.target.fields.clone(), ..page_params() };
        loop {
            let page = match self.page(&params).await {
                Ok(page) => page,
                Err(failure) => return End::Failed(failure, None),
            };
            params.continue_token = page.token();
            let version = page.metadata.resource_version.clone();
            for object in page.into_items() {
                let (key, _) = object.head();
                all.insert(key, object.keep());
            }
            if params.continue_token.is_some() {
                continue;
            }
            let Some(version) = version else {
                let text = format!("{}: the listing has no version", self.target.name);
                return End::Failed(Failure::silent(text), None);
            };
            return match self.listed(asked, all).await {
                Some(end) => end,
                None => self.watch(Some(version)).await,
            };
        }
    }

    async fn page(&self, params: &ListParams) -> Result<Page<R>, Failure> {
        let request = Request::new(&*self.target.path);
        let request = match self.target.metadata {
            true => request.list_metadata(params),
            false => request.list(params),
        };
        let request = request.map_err(|error| self.failure(&kube::Error::BuildRequest(error)))?;
        match timeout(ANSWER, self.client.request(request)).await {
            Ok(page) => page.map_err(|error| self.failure(&error)),
            Err(_) => Err(self.silence(ANSWER)),
        }
    }

    /// A watch from a version on; `None`: which begins with everything there is.
    async fn watch(&mut self, version: Option<String>) -> End {
        let asked = Instant::now();
        let request = match self.watch_request(version.as_deref()) {
            Ok(request) => request,
            Err(failure) => return End::Failed(failure, version),
        };
        let events = match timeout(ANSWER, self.client.request_events::<R>(request)).await {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => {
                let failure = self.failure(&error);
                return match version {
                    None => unlisted(failure),
                    version => End::Failed(failure, version),
                };
            }
            Err(_) => return End::Failed(self.silence(ANSWER), version),
        };
        match version {
            Some(version) => self.follow(pin!(events), version).await,
            None => {
                let mut events = pin!(events);
                match self.listed_by(&mut events).await {
                    Ok((all, version)) => match self.listed(asked, all).await {
                        Some(end) => end,
                        None => self.follow(events, version).await,
                    },
                    Err(failure) => unlisted(failure),
                }
            }
        }
    }

    fn watch_request(&mut self, version: Option<&str>) -> Result<http::Request<Vec<u8>>, Failure> {
        // So that not all of them end at the same time.
        let end = self.pace.between(WATCH, WATCH * 2);
        let params = WatchParams {
            field_selector: self.target.fields.clone(),
            timeout: Some(u32::try_from(end.as_secs()).unwrap_or(u32::MAX)),
            bookmarks: true,
            send_initial_events: version.is_none(),
            ..WatchParams::default()
        };
        let request = Request::new(&*self.target.path);
        // Without a version: what holds now, and not what some server remembers.
        let version = version.unwrap_or_default();
        let request = match self.target.metadata {
            true => request.watch_metadata(&params, version),
            false => request.watch(&params, version),
        };
        request.map_err(|error| self.failure(&kube::Error::BuildRequest(error)))
    }

    /// A listing that comes as a stream, up to its end.
    async fn listed_by(
        &self,
        events: &mut (impl TryStream<Ok = WatchEvent<R>, Error = kube::Error> + Unpin),
    ) -> Result<(BTreeMap<String, R::Kept>, String), Failure> {
        let mut all = BTreeMap::new();
        loop {
            let event = match timeout(ANSWER, events.try_next()).await {
                Ok(event) => event.map_err(|error| self.failure(&error))?,
                Err(_) => return Err(self.silence(ANSWER)),
            };
            let cut = || Failure::silent(format!("{}: the listing was cut off", self.target.name));
            match event.ok_or_else(cut)? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let (key, _) = object.head();
                    all.insert(key, object.keep());
                }
                WatchEvent::Deleted(object) => {
                    all.remove(&object.head().0);
                }
                WatchEvent::Bookmark(mark) if is_end(&mark) => {
                    return Ok((all, mark.metadata.resource_version));
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => {
                    return Err(Failure::answered(&self.target.name, &status));
                }
            }
        }
    }

    /// Passes on what was listed; how the attempt ended if that was all.
    async fn listed(&mut self, asked: Instant, all: BTreeMap<String, R::Kept>) -> Option<End> {
        self.pace.succeeded();
        let had_some = self.had_some || !self.known.is_empty();
        if all.is_empty() && had_some && self.target.doubts_nothing && !self.doubts {
            self.doubts = true;
            let name = &self.target.name;
            tracing::warn!(
                "the API server says that there are no {name} any more; it is asked again"
            );
            let text = format!("{name}: all are gone, says the API server; it is asked again");
            let told = self.send(News::Failing(Failure::silent(text))).await;
            return Some(if told { End::Doubted } else { End::Unheard });
        }
        (self.doubts, self.had_some) = (false, false);
        self.known = all.keys().cloned().collect();
        let told = self.send(News::Listed { asked, all }).await && self.send(News::Connected).await;
        (!told).then_some(End::Unheard)
    }

    /// Passes on every change until the stream ends.
    async fn follow(
        &mut self,
        mut events: impl TryStream<Ok = WatchEvent<R>, Error = kube::Error> + Unpin,
        mut version: String,
    ) -> End {
        if !self.send(News::Connected).await {
            return End::Unheard;
        }
        loop {
            let event = tokio::select! {
                event = timeout(SILENCE, events.try_next()) => event,
                () = self.queue.closed() => return End::Unheard,
            };
            let news = match event {
                Err(_) => return End::Failed(self.silence(SILENCE), Some(version)),
                Ok(Err(error)) => return End::Failed(self.failure(&error), Some(version)),
                Ok(Ok(None)) => return End::Over(version),
                Ok(Ok(Some(WatchEvent::Bookmark(mark)))) => {
                    version = mark.metadata.resource_version;
                    self.pace.succeeded();
                    continue;
                }
                Ok(Ok(Some(WatchEvent::Error(status)))) => {
                    let failure = Failure::answered(&self.target.name, &status);
                    return End::Failed(failure, Some(version));
                }
                Ok(Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                    let (key, at) = object.head();
                    at.unwrap_or_default().clone_into(&mut version);
                    self.known.insert(key.clone());
                    News::Applied(key, object.keep())
                }
                Ok(Ok(Some(WatchEvent::Deleted(object)))) => {
                    let (key, at) = object.head();
                    at.unwrap_or_default().clone_into(&mut version);
                    self.known.remove(&key);
                    News::Gone(key)
                }
            };
            self.pace.succeeded();
            if !self.send(news).await {
                return End::Unheard;
            }
        }
    }

    /// False if nobody wants to know any more.
    async fn send(&self, news: News<R::Kept>) -> bool {
        self.queue.send((self.wrap)(news)).await.is_ok()
    }

    fn failure(&self, error: &kube::Error) -> Failure {
        Failure::new(&self.target.name, error)
    }

    fn silence(&self, patience: Duration) -> Failure {
        let (name, seconds) = (&self.target.name, patience.as_secs());
        Failure::silent(format!("{name}: nothing came from the API server for {seconds} s"))
    }
}

/// Why a listing did not come as a stream: with some of the codes a server says that it cannot do that,
/// or that its etcd is too old for it.
fn unlisted(failure: Failure) -> End {
    match failure.code {
        Some(400 | 422 | 500) => End::Unstreamed(failure),
        _ => End::Failed(failure, None),
    }
}

/// The end of a listing that comes as a stream.
fn is_end(mark: &Bookmark) -> bool {
    mark.metadata.annotations.contains_key("k8s.io/initial-events-end")
}

/// One page of a list.
#[derive(Deserialize)]
#[serde(bound = "R: Deserialize<'de>")]
pub(crate) struct Page<R> {
    #[serde(default)]
    metadata: PageHead,
    /// `null` where there are none and only metadata was asked for.
    #[serde(default)]
    items: Option<Vec<R>>,
}

impl<R> Page<R> {
    /// With which the next page is asked for, if there is one.
    pub(crate) fn token(&self) -> Option<String> {
        self.metadata.continue_.clone().filter(|token| !token.is_empty())
    }

    pub(crate) fn into_items(self) -> Vec<R> {
        self.items.unwrap_or_default()
    }
}

/// Of every object, a page at a time.
pub(crate) fn page_params() -> ListParams {
    ListParams { limit: Some(PAGE), ..ListParams::default() }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageHead {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    continue_: Option<String>,
}

/// Objects in a page: what other clients ask for.
const PAGE: u32 = 500;
/// How long an answer may take, or the next object of a listing.
const ANSWER: Duration = Duration::from_secs(30);
/// After so long the server ends a watch, or up to twice as long.
const WATCH: Duration = Duration::from_secs(300);
/// How long a watch may be silent. The server sends a bookmark about every minute; a connection that
/// brings none is dead.
const SILENCE: Duration = Duration::from_secs(150);
/// A watch that the server ends sooner was none.
const SHORT: Duration = Duration::from_secs(1);
/// Until a second listing has to say that everything is gone, or up to twice as long.
const DOUBT: Duration = Duration::from_secs(15);
