use std::{convert::Infallible, sync::Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::{Instant as Simulated, sleep};

use super::{
    super::{ReportHandle, TAINT},
    *,
};

/// An API server with one Node and at most one status object.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    node: Value,
    status: Option<Value>,
    has_events: bool,
    /// A field of the status that its definition of the kind lacks.
    drops: Option<&'static str>,
    /// What the next requests are answered with, whatever they ask.
    refusals: Vec<Value>,
    requests: Vec<(Simulated, String, Value)>,
}

impl Server {
    fn new(node: Value) -> Self {
        let server = Self::default();
        {
            let mut inner = server.0.lock().unwrap();
            (inner.node, inner.has_events) = (node, true);
        }
        server
    }

    fn refuses(&self, code: u16, seconds: u32) {
        let refusal = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": "Test", "message": "no", "details": {"retryAfterSeconds": seconds}});
        self.0.lock().unwrap().refusals.push(refusal);
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let octets = body.collect().await.expect("a body").to_bytes();
                let body = serde_json::from_slice(&octets).unwrap_or(Value::Null);
                let (code, said) = server.answer(&head.method, head.uri.path(), body);
                let said = Full::new(Bytes::from(said.to_string()));
                Ok::<_, Infallible>(Response::builder().status(code).body(said).unwrap())
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        let mut inner = self.0.lock().unwrap();
        let drops = inner.drops;
        let name = path.rsplit("/v1alpha1/").next().unwrap_or(path);
        inner.requests.push((Simulated::now(), format!("{method} {name}"), body.clone()));
        if !inner.refusals.is_empty() {
            let refusal = inner.refusals.remove(0);
            let code = u16::try_from(refusal["code"].as_u64().unwrap()).unwrap();
            return (code, refusal);
        }
        let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
            "reason": "NotFound", "message": "no such object"});
        match (method.as_str(), name) {
            ("GET", "bgpnodestatuses/n1") => {
                inner.status.clone().map_or((404, missing), |status| (200, status))
            }
            ("DELETE", "bgpnodestatuses/n1") => {
                inner.status = None;
                (200, json!({}))
            }
            ("POST", "bgpnodestatuses") => {
                let mut made = body;
                made["metadata"]["uid"] = json!("s1");
                inner.status = Some(made.clone());
                (201, made)
            }
            ("PATCH", "bgpnodestatuses/n1/status") => match &mut inner.status {
                Some(status) => {
                    status["status"] = body[0]["value"].clone();
                    if let Some(fields) = status["status"].as_object_mut() {
                        fields.retain(|field, _| Some(field.as_str()) != drops);
                    }
                    (200, status.clone())
                }
                None => (404, missing),
            },
            ("GET", "/api/v1/nodes/n1") => (200, inner.node.clone()),
            ("PATCH", "/api/v1/nodes/n1") => {
                inner.node["spec"]["taints"] = json!([]);
                (200, inner.node.clone())
            }
            ("PATCH", "/api/v1/nodes/n1/status") => {
                inner.node["status"]["conditions"] = body["status"]["conditions"].clone();
                (200, inner.node.clone())
            }
            ("POST", path) if path.ends_with("/events") && inner.has_events => (201, json!({})),
            _ => (404, missing),
        }
    }

    fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.iter().map(|(_, asked, _)| asked.clone()).collect()
    }

    /// When such requests came, and with what.
    fn asked(&self, what: &str) -> Vec<(Simulated, Value)> {
        let inner = self.0.lock().unwrap();
        let such = inner.requests.iter().filter(|(_, asked, _)| asked == what);
        such.map(|(at, _, body)| (*at, body.clone())).collect()
    }
}

fn node(uid: &str) -> Value {
    let other = json!({"key": "example.com/x", "effect": "NoSchedule"});
    json!({"metadata": {"name": "n1", "uid": uid},
        "spec": {"taints": [other, {"key": TAINT, "effect": "NoSchedule"}]}, "status": {}})
}

fn report(server: &Server) -> ReportHandle {
    let (handle, task) = ReportHandle::start(server.client(), "n1");
    tokio::spawn(task);
    handle
}

const PATCH: &str = "PATCH bgpnodestatuses/n1/status";

#[tokio::test(start_paused = true)]
async fn a_node_makes_its_object_and_takes_its_taint_off() {
    let server = Server::new(node("u1"));
    let handle = report(&server);
    handle.show(fine());
    sleep(secs(3)).await;
    let requests = server.requests();
    for expected in ["GET bgpnodestatuses/n1", "POST bgpnodestatuses", PATCH] {
        assert_eq!(requests.iter().filter(|asked| *asked == expected).count(), 1, "{requests:?}");
    }
    let inner = server.0.lock().unwrap();
    let status = inner.status.as_ref().unwrap();
    assert_eq!(status["metadata"]["ownerReferences"][0]["uid"], "u1");
    assert_eq!(status["status"]["sessions"][0]["peer"], "tor");
    drop(inner);
    let untaint = server.asked("PATCH /api/v1/nodes/n1");
    let expected = json!([
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": "/spec/taints/1/key", "value": TAINT},
        {"op": "remove", "path": "/spec/taints/1"},
    ]);
    assert_eq!(untaint.len(), 1);
    assert_eq!(untaint[0].1, expected);
    let said = server.asked("PATCH /api/v1/nodes/n1/status");
    assert_eq!(said[0].1["status"]["conditions"][0]["status"], "False");
    assert_eq!(said[0].1["metadata"]["uid"], "u1");
    assert!(handle.reporting().written.is_some() && handle.reporting().failing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_object_of_a_former_node_is_replaced_and_conditions_keep_their_times() {
    let server = Server::new(node("u1"));
    let time = "2026-01-01T00:00:00Z";
    let ready = json!({"type": "Ready", "status": "True", "reason": "Ready", "message": "",
        "lastTransitionTime": time});
    let former = json!({"metadata": {"name": "n1", "uid": "s0", "ownerReferences": [{"uid": "u0"}]},
        "status": {"conditions": [ready]}});
    server.0.lock().unwrap().status = Some(former);
    let handle = report(&server);
    handle.show(fine());
    sleep(secs(3)).await;
    assert_eq!(server.asked("DELETE bgpnodestatuses/n1").len(), 1);
    assert_eq!(server.asked("DELETE bgpnodestatuses/n1")[0].1["preconditions"]["uid"], "s0");
    let patch = server.asked(PATCH)[0].1.clone();
    assert_eq!(patch[0]["value"]["conditions"][0]["lastTransitionTime"], time);
    handle.show(Picture { sessions: Vec::new(), ..fine() });
    sleep(secs(10)).await;
    assert_eq!(server.asked("GET bgpnodestatuses/n1").len(), 1, "it is known to be ours");
    assert_eq!(server.asked(PATCH).len(), 2);
    assert_eq!(server.asked(PATCH)[1].1[0]["value"]["conditions"][0]["lastTransitionTime"], time);
    // Somebody deletes it.
    server.0.lock().unwrap().status = None;
    handle.show(fine());
    sleep(secs(200)).await;
    assert!(server.0.lock().unwrap().status.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_node_is_gone_says_that_it_is_there() {
    let server = Server::new(node("u1"));
    let handle = report(&server);
    handle.show(fine());
    sleep(secs(10)).await;
    // With the Node goes what is owned by it.
    server.0.lock().unwrap().status = None;
    let gone = Picture { node_uid: None, ..fine() };
    let before = server.requests().len();
    handle.show(gone);
    sleep(secs(300)).await;
    let made = server.asked("POST bgpnodestatuses").last().unwrap().1.clone();
    assert_eq!(made["metadata"]["ownerReferences"], json!([]));
    assert!(server.requests()[before..].iter().all(|asked| !asked.contains("/nodes/")));
    server.0.lock().unwrap().node = node("u2");
    handle.show(Picture { node_uid: Some("u2".to_owned()), ..fine() });
    sleep(secs(10)).await;
    let inner = server.0.lock().unwrap();
    assert_eq!(inner.status.as_ref().unwrap()["metadata"]["ownerReferences"][0]["uid"], "u2");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_left_alone_as_long_as_it_asks() {
    let server = Server::new(node("u1"));
    for _ in 0..2 {
        server.refuses(429, 40);
    }
    let handle = report(&server);
    handle.show(fine());
    sleep(secs(20)).await;
    assert_eq!(server.requests().len(), 2, "the object and the Node: {:?}", server.requests());
    assert!(handle.reporting().failing.len() == 2, "{:?}", handle.reporting());
    sleep(secs(40)).await;
    assert_eq!(server.asked(PATCH).len(), 1);
    assert!(handle.reporting().failing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn fields_that_the_server_drops_are_named_until_it_keeps_them() {
    let server = Server::new(node("u1"));
    server.0.lock().unwrap().drops = Some("problems");
    let handle = report(&server);
    handle.show(fine());
    sleep(secs(3)).await;
    assert!(handle.reporting().failing.is_empty(), "nothing is missed");
    handle.show(Picture { problems: vec![problem("IPPool/a")], ..fine() });
    sleep(secs(30)).await;
    let failing = handle.reporting().failing;
    let text = failing.values().next().expect("it says so");
    assert!(text.contains("drops status.problems:"), "{text}");
    assert_eq!(server.asked(PATCH).len(), 2, "it is not tried over and over");
    server.0.lock().unwrap().drops = None;
    handle.show(Picture { problems: vec![problem("IPPool/b")], ..fine() });
    sleep(secs(30)).await;
    assert!(handle.reporting().failing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_forbidden_is_asked_for_once_in_a_minute_or_two() {
    let server = Server::new(node("u1"));
    for _ in 0..20 {
        server.refuses(403, 0);
    }
    let handle = report(&server);
    handle.show(fine());
    sleep(secs(300)).await;
    let requests = server.requests().len();
    assert!((4..=12).contains(&requests), "{requests}");
    let failing = handle.reporting().failing;
    assert!(failing.values().all(|why| why.contains("ClusterRole")), "{failing:?}");
}

#[tokio::test(start_paused = true)]
async fn a_farewell_is_the_last_word() {
    let server = Server::new(node("u1"));
    let handle = report(&server);
    handle.show(fine());
    sleep(secs(3)).await;
    handle.farewell().await;
    let said = server.asked("PATCH /api/v1/nodes/n1/status");
    assert_eq!(said.last().unwrap().1["status"]["conditions"][0]["reason"], "RoutedIsDown");
    let count = server.requests().len();
    handle.show(Picture { sessions: Vec::new(), ..fine() });
    sleep(secs(1_000)).await;
    assert_eq!(server.requests().len(), count);
}

#[tokio::test(start_paused = true)]
async fn a_farewell_does_not_wait_for_a_server_that_is_down() {
    let service = tower::service_fn(|_: Request<Body>| async {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
    });
    let (handle, task) = ReportHandle::start(Client::new(service, "default"), "n1");
    tokio::spawn(task);
    handle.show(fine());
    sleep(secs(3)).await;
    let before = Simulated::now();
    handle.farewell().await;
    assert_eq!(before.elapsed(), secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_events_is_not_asked_again_at_once() {
    let server = Server::new(node("u1"));
    server.0.lock().unwrap().has_events = false;
    let handle = report(&server);
    handle.show(with(vec![failed("tor", SessionState::Idle, "connection refused")]));
    sleep(secs(300)).await;
    let asked = server.requests().iter().filter(|asked| asked.ends_with("/events")).count();
    assert!((2..=6).contains(&asked), "{asked}");
    assert!(handle.reporting().failing.contains_key("events"));
    server.0.lock().unwrap().has_events = true;
    sleep(secs(130)).await;
    assert!(handle.reporting().failing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_to_be_counted_and_is_gone_is_made_anew() {
    let server = Server::new(node("u1"));
    let handle = report(&server);
    for _ in 0..2 {
        handle.show(with(vec![failed("tor", SessionState::Idle, "connection refused")]));
        sleep(secs(20)).await;
        handle.show(fine());
        sleep(secs(20)).await;
    }
    let requests = server.requests();
    let made = requests.iter().filter(|asked| asked.ends_with("/events")).count();
    let counted = requests.iter().filter(|asked| asked.contains("/events/")).count();
    assert_eq!((made, counted), (4, 2), "{requests:?}");
}
