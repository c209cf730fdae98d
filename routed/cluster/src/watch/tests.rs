//! Against an API server that answers as each test has it say, in simulated time.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::*;

/// What the server says to one request.
struct Reply {
    status: u16,
    lines: Vec<Value>,
    /// Whether the connection is held after that.
    holds: bool,
}

/// The replies that are left, and the requests that came with the time of each.
#[derive(Clone, Default)]
struct Server {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Server {
    fn says(self, status: u16, lines: Vec<Value>, holds: bool) -> Self {
        self.replies.lock().unwrap().push_back(Reply { status, lines, holds });
        self
    }

    /// Events of a watch, which then ends or is held.
    fn streams(self, lines: Vec<Value>, holds: bool) -> Self {
        self.says(200, lines, holds)
    }

    fn fails(self, code: u16) -> Self {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": "no",
            "reason": "Test"});
        self.says(code, vec![status], false)
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(&request)) }
        });
        Client::new(service, "default")
    }

    /// Once it has nothing to say any more, it does not answer.
    fn answer(&self, request: &Request<Body>) -> Response<Said> {
        let asked = request.uri().to_string();
        self.requests.lock().unwrap().push((Instant::now(), asked));
        let reply = self.replies.lock().unwrap().pop_front();
        let Reply { status, lines, holds } =
            reply.unwrap_or(Reply { status: 200, lines: Vec::new(), holds: true });
        Response::builder().status(status).body(said(lines, holds)).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(_, asked)| asked.clone()).collect()
    }

    /// From each request to the next.
    fn pauses(&self) -> Vec<Duration> {
        let requests = self.requests.lock().unwrap();
        requests.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

/// The body of an answer.
type Said = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

fn said(lines: Vec<Value>, holds: bool) -> Said {
    let frame = |line: Value| Ok(Frame::data(Bytes::from(format!("{line}\n"))));
    let said = stream::iter(lines.into_iter().map(frame));
    StreamBody::new(match holds {
        true => Box::pin(said.chain(stream::pending())),
        false => Box::pin(said),
    })
}

fn node(name: &str, version: u32) -> Value {
    json!({"metadata": {"name": name, "uid": name, "resourceVersion": version.to_string()}})
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn added(name: &str, version: u32) -> Value {
    event("ADDED", &node(name, version))
}

fn bookmark(version: u32, annotations: &Value) -> Value {
    event(
        "BOOKMARK",
        &json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"resourceVersion": version.to_string(), "annotations": annotations}}),
    )
}

fn end(version: u32) -> Value {
    bookmark(version, &json!({"k8s.io/initial-events-end": "true"}))
}

fn page(items: &[Value], token: &str) -> Vec<Value> {
    vec![json!({"metadata": {"resourceVersion": "7", "continue": token}, "items": items})]
}

/// News in words; the queue, for as long as somebody listens.
fn follow(server: &Server, had_some: bool) -> mpsc::Receiver<String> {
    let (queue, news) = mpsc::channel(16);
    let wrap = |news| match news {
        News::Listed { all, .. } => {
            format!("listed {}", all.into_keys().collect::<Vec<_>>().join(","))
        }
        News::Applied(name, _) => format!("applied {name}"),
        News::Gone(name) => format!("gone {name}"),
        News::Connected => "connected".to_owned(),
        News::Failing(Failure { text, .. }) => format!("failing {text}"),
    };
    let follower =
        Follower::<RawNode, _, _>::new(server.client(), core("nodes"), had_some, queue, wrap);
    tokio::spawn(follower.run());
    news
}

/// What comes next that is of interest.
async fn next(news: &mut mpsc::Receiver<String>) -> String {
    loop {
        let next = timeout(Duration::from_secs(1000), news.recv()).await;
        let next = next.expect("some news").expect("the follower runs");
        if next != "connected" {
            return next;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_streams_comes_whole_and_then_every_change() {
    let server = Server::default().streams(
        vec![
            added("n1", 1),
            added("n2", 2),
            end(2),
            event("MODIFIED", &node("n1", 3)),
            event("DELETED", &node("n2", 4)),
        ],
        true,
    );
    let mut news = follow(&server, false);
    assert_eq!(next(&mut news).await, "listed n1,n2");
    assert_eq!(next(&mut news).await, "applied n1");
    assert_eq!(next(&mut news).await, "gone n2");
    let asked = server.requests();
    assert!(asked[0].starts_with("/api/v1/nodes?&watch=true"), "{asked:?}");
    assert!(asked[0].contains("sendInitialEvents=true"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_is_cut_off_says_nothing_and_is_asked_for_again() {
    let server = Server::default()
        .streams(vec![added("n1", 1)], false)
        .streams(vec![added("n1", 1), added("n2", 2), end(2)], true);
    let mut news = follow(&server, false);
    assert_eq!(next(&mut news).await, "failing nodes: the listing was cut off");
    assert_eq!(next(&mut news).await, "listed n1,n2");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_stream_listings_is_asked_for_pages() {
    // Without the feature; with an etcd that lacks what it takes, which only the stream says.
    let lacks = event("ERROR", &json!({"code": 500, "message": "a feature is disabled"}));
    for server in [
        Server::default().fails(422),
        Server::default().fails(500),
        Server::default().streams(vec![lacks], false),
    ] {
        let server = server
            .says(200, page(&[node("n1", 1)], "more"), false)
            .says(200, page(&[node("n2", 2)], ""), false)
            .streams(vec![added("n3", 8)], true);
        let mut news = follow(&server, false);
        assert_eq!(next(&mut news).await, "listed n1,n2");
        assert_eq!(next(&mut news).await, "applied n3");
        let asked = server.requests();
        assert!(asked[1].contains("limit=500"), "{asked:?}");
        assert!(asked[2].contains("continue=more"), "{asked:?}");
        let watch = &asked[3];
        assert!(watch.contains("watch=true") && watch.contains("resourceVersion=7"), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_it_ended() {
    let server = Server::default()
        .streams(vec![added("n1", 1), end(4), bookmark(9, &json!({}))], false)
        .streams(vec![added("n2", 11)], false)
        .streams(vec![added("n3", 12)], true);
    let mut news = follow(&server, false);
    for expected in ["listed n1", "applied n2", "applied n3"] {
        assert_eq!(next(&mut news).await, expected);
    }
    let asked = server.requests();
    assert!(asked[1].ends_with("resourceVersion=9"), "{asked:?}");
    assert!(!asked[1].contains("sendInitialEvents"), "{asked:?}");
    assert!(asked[2].ends_with("resourceVersion=11"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_server_has_forgotten_is_listed_again_without_a_word() {
    let expired = event("ERROR", &json!({"code": 410, "message": "too old", "reason": "Expired"}));
    let server = Server::default()
        .streams(vec![added("n1", 1), end(1), expired], false)
        .streams(vec![added("n2", 5), end(5)], false)
        .fails(410)
        .streams(vec![added("n3", 6), end(6)], true);
    let mut news = follow(&server, false);
    for expected in ["listed n1", "listed n2", "listed n3"] {
        assert_eq!(next(&mut news).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_of_nothing_is_one() {
    // As the API server lists no Pods to those who ask for metadata.
    let nothing = json!({"metadata": {"resourceVersion": "7"}, "items": null});
    let server = Server::default()
        .fails(422)
        .says(200, vec![nothing], false)
        .streams(vec![added("n1", 8)], true);
    let mut news = follow(&server, false);
    assert_eq!(next(&mut news).await, "listed ");
    assert_eq!(next(&mut news).await, "applied n1");
}

#[tokio::test(start_paused = true)]
async fn a_server_in_trouble_is_asked_less_and_less_often() {
    let mut server = Server::default();
    for code in [429, 503, 429, 500, 500, 500, 500, 500, 500] {
        server = server.fails(code);
    }
    let server = server.says(200, page(&[node("n1", 1)], ""), false);
    let mut news = follow(&server, false);
    for _ in 0..8 {
        assert!(next(&mut news).await.starts_with("failing nodes: no ("));
    }
    assert_eq!(next(&mut news).await, "listed n1");
    let pauses = server.pauses();
    assert!(pauses[0] <= Duration::from_millis(501), "{pauses:?}");
    assert!((15..=31).contains(&pauses[8].as_secs()), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_not_asked_all_the_time() {
    let mut server = Server::default().streams(vec![added("n1", 1), end(1)], false);
    for _ in 0..6 {
        server = server.streams(Vec::new(), false);
    }
    let mut news = follow(&server, false);
    assert_eq!(next(&mut news).await, "listed n1");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let pauses = server.pauses();
    assert!(pauses[5] >= Duration::from_secs(4), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_brings_nothing_for_long_is_begun_anew() {
    let server = Server::default()
        .streams(vec![added("n1", 1), end(1)], true)
        .streams(vec![added("n2", 2)], true);
    let mut news = follow(&server, false);
    assert_eq!(next(&mut news).await, "listed n1");
    let failing = next(&mut news).await;
    assert_eq!(failing, "failing nodes: nothing came from the API server for 150 s");
    assert_eq!(next(&mut news).await, "applied n2");
}

#[tokio::test(start_paused = true)]
async fn that_everything_is_gone_must_be_said_twice() {
    // Known from the disk.
    let server = Server::default().streams(vec![end(1)], true).streams(vec![end(1)], true);
    let mut news = follow(&server, true);
    assert!(next(&mut news).await.contains("all are gone, says the API server"));
    assert_eq!(next(&mut news).await, "listed ");
    assert!(server.pauses()[0] >= Duration::from_secs(15));
    // Known from this run, and there after all.
    let server = Server::default()
        .streams(vec![added("n1", 1), end(1)], false)
        .fails(410)
        .streams(vec![end(2)], false)
        .streams(vec![added("n1", 1), end(3)], true);
    let mut news = follow(&server, false);
    assert_eq!(next(&mut news).await, "listed n1");
    assert!(next(&mut news).await.contains("all are gone, says the API server"));
    assert_eq!(next(&mut news).await, "listed n1");
    // Where nothing was, nothing is doubted.
    let mut news = follow(&Server::default().streams(vec![end(1)], true), false);
    assert_eq!(next(&mut news).await, "listed ");
}

/// One that says to each kind what there is of it, but only to those named.
fn cluster(kinds: &'static [&'static str]) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| async move {
        let path = request.uri().path();
        let is_open = kinds.iter().any(|kind| path.ends_with(kind));
        let lines = match path.ends_with("nodes") {
            true => vec![added("n1", 1), end(1)],
            false => vec![end(1)],
        };
        let status = if is_open { 200 } else { 503 };
        let answer = Response::builder().status(status).body(said(lines, is_open));
        Ok::<_, Infallible>(answer.unwrap())
    });
    Client::new(service, "default")
}

const ALL: &[&str] = &[
    "ippools",
    "ipreservations",
    "bgppeers",
    "bgppolicies",
    "bgpconfigurations",
    "nodes",
    "namespaces",
    "pods",
];

#[tokio::test(start_paused = true)]
async fn until_every_kind_was_listed_what_was_saved_holds() {
    let saved = Objects {
        nodes: BTreeMap::from([("old".to_owned(), crate::Node::default())]),
        ..Objects::default()
    };
    let (watch, task) = Watch::start(cluster(&ALL[1..]), "ns", "n1", Some(saved.clone()));
    tokio::spawn(task);
    let mut known = watch.known();
    tokio::time::sleep(Duration::from_secs(300)).await;
    {
        let known = known.borrow_and_update();
        assert_eq!((known.objects.as_ref(), known.is_live), (Some(&saved), false));
        assert_eq!(known.connection.since, None);
        let failing: Vec<_> = known.connection.failing.keys().collect();
        assert_eq!(failing, ["ippools.slash32.dev"]);
    }
    let (watch, task) = Watch::start(cluster(ALL), "ns", "n1", Some(saved));
    tokio::spawn(task);
    let mut known = watch.known();
    let known = known.wait_for(|known| known.connection.since.is_some()).await.unwrap();
    assert!(known.is_live);
    let nodes: Vec<_> = known.objects.iter().flat_map(|objects| objects.nodes.keys()).collect();
    assert_eq!(nodes, ["n1"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_known_before_everything_is() {
    let (watch, task) = Watch::start(cluster(&ALL[..7]), "ns", "n1", None);
    tokio::spawn(task);
    let mut known = watch.known();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(known.borrow_and_update().objects, None);
}
