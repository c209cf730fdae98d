//! The leader with the real API server: one at a time, whoever ends; what it tells of objects and of blocks
//! whose nodes are gone, and that it takes nothing from a node or a machine that is there.

use std::time::{Duration, Instant};

use routed_cluster::{Access, LeaderHandle, Leadership, Watch, connect};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tokio::{
    sync::watch::Receiver,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// A daemon as far as leading goes.
struct Daemon {
    handle: LeaderHandle,
    leadership: Receiver<Leadership>,
    tasks: Vec<JoinHandle<()>>,
    /// Ends the watch.
    _watch: Watch,
}

impl Daemon {
    async fn start(cluster: &Cluster, node: &str, after: Duration) -> Self {
        let access = Access { kubeconfig: Some(cluster.kubeconfig()), namespace: None };
        let (client, namespace) = connect(&access).await.expect("a client");
        let (watch, watching) = Watch::start(client.clone(), &namespace, node, None);
        let (handle, leading) = LeaderHandle::start(client, &namespace, node, watch.known(), after);
        let tasks = vec![tokio::spawn(watching), tokio::spawn(leading)];
        Self { leadership: handle.leadership(), handle, tasks, _watch: watch }
    }

    fn leads(&self) -> bool {
        self.leadership.borrow().leads
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Leadership) -> bool) -> Leadership {
        let found = timeout(PATIENCE, self.leadership.wait_for(wanted)).await;
        let found = found.map(|it| it.expect("it runs").clone());
        let last = || self.leadership.borrow().clone();
        found.unwrap_or_else(|_| panic!("waited in vain for: {what}; last: {:#?}", last()))
    }

    /// As SIGKILL does.
    fn kill(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Which of them lead.
fn leaders(daemons: &[Daemon]) -> Vec<usize> {
    let leading = daemons.iter().enumerate().filter(|(_, daemon)| daemon.leads());
    leading.map(|(number, _)| number).collect()
}

/// The one that leads, once it does; never are there two.
async fn one_leads(what: &str, daemons: &[Daemon]) -> usize {
    let begin = Instant::now();
    loop {
        match leaders(daemons)[..] {
            [one] => return one,
            [] => {}
            ref more => panic!("{more:?} lead at once"),
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn eventually<T>(what: &str, look: impl Fn() -> T, wanted: impl Fn(&T) -> bool) -> T
where
    T: std::fmt::Debug,
{
    let begin = Instant::now();
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for: {what}; last: {seen:#?}");
        sleep(Duration::from_millis(500)).await;
    }
}

fn object(cluster: &Cluster, kind: &str, name: &str) -> Value {
    let said = cluster.kubectl(&["get", kind, name, "-o", "json"]);
    serde_json::from_str(&said.out).unwrap_or(Value::Null)
}

fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|it| it["type"] == kind);
    found.cloned().unwrap_or(Value::Null)
}

fn create(cluster: &Cluster, object: &Value) {
    let said = cluster.create(&object.to_string());
    assert!(said.good, "{}", said.err);
}

fn ours(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "slash32.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn node(cluster: &Cluster, name: &str) {
    create(cluster, &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}));
}

fn block(cluster: &Cluster, node: &str, cidr: &str) -> String {
    let name = cidr.replace(['.', '/'], "-");
    let spec = json!({"cidr": cidr, "pool": "pods", "node": node});
    create(cluster, &ours("IPBlock", &name, &spec));
    name
}

/// What a daemon says of itself.
fn report(cluster: &Cluster, node: &str, status: &Value) {
    if object(cluster, "bgpnodestatus", node).is_null() {
        create(cluster, &ours("BGPNodeStatus", node, &json!({"node": node})));
    }
    let patch = json!({"status": status}).to_string();
    cluster.must(&[
        "patch",
        "bgpnodestatus",
        node,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_another_one_does_when_it_leaves_is_killed_or_cannot_be_heard() {
    let mut cluster = Cluster::with_our_kinds();
    let after = Duration::from_secs(600);
    let mut daemons = Vec::new();
    for name in ["n1", "n2", "n3", "n4"] {
        daemons.push(Daemon::start(&cluster, name, after).await);
    }
    let first = one_leads("the first", &daemons).await;
    let lease = object_of_lease(&cluster);
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    assert!(holder.starts_with(&format!("n{}_", first + 1)), "{lease:#}");
    let named = format!("n{}", first + 1);
    for daemon in &mut daemons {
        daemon.until("its name", |it| it.leader.as_deref() == Some(&named)).await;
    }

    // A planned stop: another one leads as soon as it looks.
    daemons[first].handle.leave().await;
    assert!(!daemons[first].leads(), "it does not act any more");
    assert_eq!(object_of_lease(&cluster)["spec"]["holderIdentity"], "");
    drop(daemons.remove(first));
    let second = one_leads("one after it has left", &daemons).await;

    // A daemon that is killed: its Lease has to end.
    let killed = daemons.remove(second);
    killed.kill();
    drop(killed);
    let begin = Instant::now();
    let third = one_leads("one after it was killed", &daemons).await;
    assert!(begin.elapsed() >= Duration::from_secs(9), "{:?}", begin.elapsed());

    cluster.stop_api_server();
    let begin = Instant::now();
    daemons[third].until("it stops", |it| !it.leads).await;
    assert!(begin.elapsed() < Duration::from_secs(13), "{:?}", begin.elapsed());
    assert!(daemons[third].leadership.borrow().error.is_some(), "it says why");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(leaders(&daemons), [0_usize; 0]);
    cluster.start_api_server();
    let _ = one_leads("one once it is back", &daemons).await;
}

fn object_of_lease(cluster: &Cluster) -> Value {
    let said = cluster.get(&["get", "lease", "-n", "kube-system", "slash32-leader", "-o", "json"]);
    serde_json::from_str(&said).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_dead_nodes_are_told_of_and_freed_and_objects_have_conditions() {
    let cluster = Cluster::with_our_kinds();
    for name in ["lead", "here", "gone", "back", "runs"] {
        node(&cluster, name);
    }
    create(&cluster, &ours("IPPool", "pods", &json!({"cidr": "10.244.0.0/16"})));
    create(&cluster, &ours("IPPool", "twice", &json!({"cidr": "10.244.128.0/17"})));
    create(&cluster, &ours("BGPPeer", "tor", &json!({"peerIP": "192.0.2.1", "asNumber": 64513})));
    let [here, gone, back, runs] = [
        ("here", "10.244.0.0/26"),
        ("gone", "10.244.0.64/26"),
        ("back", "10.244.0.128/26"),
        ("runs", "10.244.0.192/26"),
    ]
    .map(|(node, cidr)| block(&cluster, node, cidr));
    let after = Duration::from_secs(24);
    let mut leader = Daemon::start(&cluster, "lead", after).await;
    leader.until("it leads", |it| it.leads).await;

    conditions(&cluster).await;

    let reason =
        |block: &str| condition(&object(&cluster, "ipblock", block), "Orphaned")["reason"].clone();
    let status =
        |block: &str| condition(&object(&cluster, "ipblock", block), "Orphaned")["status"].clone();
    report(&cluster, "runs", &json!({"lastUpdated": "2026-11-01T00:00:00Z"}));
    for name in ["gone", "back", "runs"] {
        cluster.must(&["delete", "node", name]);
    }
    let deleted = Instant::now();
    eventually("it is told", || reason(&gone), |reason| reason == "NodeGone").await;
    let told = Instant::now();
    let orphans = leader.until("it is shown", |it| it.orphans.len() == 3).await.orphans;
    assert!(orphans.iter().all(|orphan| orphan.freed.is_some()), "{orphans:?}");
    let events = cluster.get(&["get", "events", "-o", "jsonpath={.items[*].reason}"]);
    assert!(events.contains("BlockOrphaned"), "{events}");

    // One comes back, and of another one the machine is there.
    node(&cluster, "back");
    eventually("it is back", || status(&back), |status| status == "False").await;
    report(&cluster, "runs", &json!({"lastUpdated": "2026-11-01T00:05:00Z"}));
    eventually("it runs", || reason(&runs), |reason| reason == "MachineRuns").await;

    eventually("it is freed", || object(&cluster, "ipblock", &gone), Value::is_null).await;
    assert!(deleted.elapsed() >= after && told.elapsed() >= after - Duration::from_secs(10));
    let events = cluster.get(&["get", "events", "-o", "jsonpath={.items[*].reason}"]);
    assert!(events.contains("BlockFreed"), "{events}");
    report(&cluster, "runs", &json!({"lastUpdated": "2026-11-01T00:10:00Z"}));
    sleep(after / 2).await;
    for block in [&here, &back, &runs] {
        assert!(!object(&cluster, "ipblock", block).is_null(), "{block}");
    }
    assert_eq!(reason(&here), Value::Null);
    let leaked = leader.until("the report", |it| !it.leaked.is_empty()).await.leaked;
    assert!(leaked.iter().any(|leak| leak.contains("BGPNodeStatus/gone")), "{leaked:?}");

    // Its machine ends for good, and now it is freed.
    eventually("it is freed too", || object(&cluster, "ipblock", &runs), Value::is_null).await;
    assert!(!object(&cluster, "ipblock", &back).is_null());
}

/// Conditions follow what nodes say.
async fn conditions(cluster: &Cluster) {
    let overlap =
        json!({"object": "IPPool/twice", "reason": "Overlap", "message": "spec.cidr: overlaps"});
    let label =
        json!({"object": "BGPPeer/tor", "reason": "NodeLabelMissing", "message": "label it"});
    let up = json!({"peer": "tor", "address": "192.0.2.1", "state": "Established"});
    let down = json!({"peer": "tor", "address": "192.0.2.1", "state": "Active"});
    report(cluster, "lead", &json!({"problems": [overlap, label]}));
    report(cluster, "here", &json!({"problems": [overlap], "sessions": [up]}));
    report(cluster, "gone", &json!({"problems": [overlap], "sessions": [down]}));
    let accepted = |kind: &str, name: &str| condition(&object(cluster, kind, name), "Accepted");
    let is = |status: &'static str| move |condition: &Value| condition["status"] == status;
    let good = eventually("it is accepted", || accepted("ippool", "pods"), is("True")).await;
    assert_eq!((&good["reason"], &good["observedGeneration"]), (&json!("Accepted"), &json!(1)));
    let bad = eventually("it is not", || accepted("ippool", "twice"), is("False")).await;
    assert_eq!(
        (&bad["reason"], &bad["message"]),
        (&json!("Overlap"), &json!("spec.cidr: overlaps"))
    );
    let some = eventually("it is not everywhere", || accepted("bgppeer", "tor"), is("False")).await;
    assert_eq!(some["message"], "not heeded on 1 of 3 nodes (lead): label it");
    let counts = || {
        let status = &object(cluster, "bgppeer", "tor")["status"];
        (status["sessions"].clone(), status["established"].clone())
    };
    eventually("its sessions are counted", counts, |counts| *counts == (json!(2), json!(1))).await;

    // A field of the pool changes, and the peer is mended.
    let patch = r#"{"spec":{"natOutgoing":true}}"#;
    cluster.must(&["patch", "ippool", "pods", "--type=merge", "-p", patch]);
    report(cluster, "lead", &json!({"problems": [overlap]}));
    let mended = eventually("it is accepted", || accepted("bgppeer", "tor"), is("True")).await;
    assert!(mended["lastTransitionTime"].as_str() >= some["lastTransitionTime"].as_str());
    let again = eventually(
        "of the new generation",
        || accepted("ippool", "pods"),
        |condition| condition["observedGeneration"] == 2,
    );
    assert_eq!(
        again.await["lastTransitionTime"],
        good["lastTransitionTime"],
        "it held all the time"
    );
    // Nothing is written that says the same.
    let version = || object(cluster, "ippool", "twice")["metadata"]["resourceVersion"].clone();
    let before = version();
    sleep(Duration::from_secs(12)).await;
    assert_eq!(version(), before);
}

/// Only what hangs takes so long, even where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(180);
