//! What a node knows of its cluster, from the real API server: all that it needs and nothing else, also
//! after the API server was away; and its claims to blocks, which no two nodes share.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use bgp::prefix::Prefix;
use routed_cluster::{Access, Blocks, ClaimsHandle, Known, Objects, Store, Watch, connect};
use routed_core::claims::Pool;
use tempfile::TempDir;
use tests::cluster::Cluster;
use tokio::{sync::watch::Receiver, task::JoinHandle, time::timeout};

async fn client(cluster: &Cluster) -> kube::Client {
    let access = Access { kubeconfig: Some(cluster.kubeconfig()), namespace: None };
    let (client, namespace) = connect(&access).await.expect("a client");
    assert_eq!(namespace, "kube-system");
    client
}

#[track_caller]
fn create(cluster: &Cluster, yaml: &str) {
    let said = cluster.create(yaml);
    assert!(said.good, "{}", said.err);
}

fn pool(name: &str, cidr: &str) -> String {
    format!(
        "---\napiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{cidr: {cidr}}}\n"
    )
}

fn node(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{rack: r1}}, annotations: {{slash32.dev/x: here, other: there}}}}\nspec: {spec}\n"
    )
}

fn pod(name: &str, node: &str, annotations: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, annotations: {annotations}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: c, image: i}}]}}\n"
    )
}

async fn until(known: &mut Receiver<Known>, what: &str, wanted: impl Fn(&Known) -> bool) -> Known {
    let found = timeout(PATIENCE, known.wait_for(wanted)).await;
    let found = found.map(|found| found.expect("it is watched").clone());
    found.unwrap_or_else(|_| panic!("waited in vain for: {what}; last: {:#?}", known.borrow()))
}

fn has(known: &Known, look: impl Fn(&Objects) -> bool) -> bool {
    known.objects.as_ref().is_some_and(look)
}

fn keys<T>(map: &BTreeMap<String, T>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_knows_what_it_needs_also_after_the_api_server_was_away() {
    let mut cluster = Cluster::with_our_kinds();
    create(
        &cluster,
        &[
            node("n1", "{podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24], unschedulable: true}"),
            node("n2", "{}"),
            pool("pods", "10.244.0.0/16"),
            pod("here", "n1", "{slash32.dev/ippools: pods, other: there}"),
            pod("there", "n2", "{}"),
            "---\napiVersion: v1\nkind: Secret\nmetadata: {name: tor, namespace: kube-system}\n\
             stringData: {key: geheim}\n"
                .to_owned(),
            "---\napiVersion: v1\nkind: Secret\nmetadata: {name: other, namespace: kube-system}\n\
             stringData: {key: geheim}\n"
                .to_owned(),
        ]
        .concat(),
    );
    let addresses = r#"{"status":{"addresses":[{"type":"Hostname","address":"n1"},
        {"type":"InternalIP","address":"192.0.2.1"},{"type":"InternalIP","address":"2001:db8::1"}]}}"#;
    cluster.must(&["patch", "node", "n1", "--subresource=status", "-p", addresses]);

    let (watch, task) = Watch::start(client(&cluster).await, "kube-system", "n1", None);
    let task = tokio::spawn(task);
    let mut known = watch.known();
    let seen = until(&mut known, "everything", |known| known.connection.since.is_some()).await;
    let objects = seen.objects.expect("they are known");
    assert!(seen.is_live);
    assert_eq!(keys(&objects.pools), ["pods"]);
    assert_eq!(objects.pools["pods"].metadata.managed_fields, None);
    assert_eq!(keys(&objects.nodes), ["n1", "n2"]);
    let n1 = &objects.nodes["n1"];
    assert_eq!(n1.addresses, ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    assert_eq!(n1.pod_cidrs, ["10.1.0.0/24".parse::<Prefix>().unwrap()]);
    assert!(n1.unschedulable && n1.labels["rack"] == "r1");
    assert_eq!(keys(&n1.annotations), ["slash32.dev/x"]);
    assert!(objects.namespaces["kube-system"].labels.contains_key("kubernetes.io/metadata.name"));
    assert_eq!(keys(&objects.pods), ["default/here"]);
    assert_eq!(keys(&objects.pods["default/here"].annotations), ["slash32.dev/ippools"]);
    assert!(objects.secrets.is_empty());

    watch.want_secrets(&BTreeSet::from(["tor".to_owned(), "none".to_owned()]));
    let seen =
        until(&mut known, "the Secret", |known| has(known, |it| !it.secrets.is_empty())).await;
    assert_eq!(seen.objects.expect("they are known").secrets["tor"]["key"], b"geheim");
    until(&mut known, "both were looked for", |known| known.seen_secrets.len() == 2).await;

    cluster.stop_api_server();
    let down = until(&mut known, "it is down", |known| !known.connection.failing.is_empty()).await;
    assert_eq!(down.connection.since, None);
    assert!(has(&down, |it| keys(&it.pools) == ["pods"] && keys(&it.pods) == ["default/here"]));

    cluster.start_api_server();
    create(&cluster, &pool("more", "10.245.0.0/16"));
    cluster.must(&["delete", "pod", "here", "--force", "--grace-period=0"]);
    let back = until(&mut known, "what has changed", |known| {
        has(known, |it| keys(&it.pools) == ["more", "pods"] && it.pods.is_empty())
    });
    let back = back.await;
    assert!(has(&back, |it| it.secrets.contains_key("tor") && it.nodes.len() == 2));
    until(&mut known, "all is watched again", |known| known.connection.since.is_some()).await;

    drop((watch, known));
    timeout(PATIENCE, task).await.expect("it ends with the last handle").expect("no panic");
}

/// A node as far as claims go, with what it has on disk.
struct Claimant {
    handle: ClaimsHandle,
    blocks: Receiver<Blocks>,
    task: JoinHandle<()>,
}

impl Claimant {
    async fn start(cluster: &Cluster, name: &str, folder: &Path) -> Self {
        let store = Store::open(folder, name).expect("a folder");
        let (handle, task) = ClaimsHandle::start(client(cluster).await, name, store);
        Self { blocks: handle.blocks(), handle, task: tokio::spawn(task) }
    }

    async fn pool(&self, name: &str, cidr: &str, block: u8, spare: usize) {
        let cidr = cidr.parse().expect("a prefix");
        self.handle.pools(vec![Pool { name: name.to_owned(), cidr, block, spare }], None).await;
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Blocks) -> bool) -> Blocks {
        let found = timeout(PATIENCE, self.blocks.wait_for(wanted)).await;
        let found = found.map(|blocks| blocks.expect("it runs").clone());
        let last = || self.blocks.borrow().clone();
        found.unwrap_or_else(|_| panic!("waited in vain for: {what}; last: {:#?}", last()))
    }

    async fn stop(self) {
        let Self { handle, blocks, task } = self;
        drop((handle, blocks));
        timeout(PATIENCE, task).await.expect("it ends").expect("no panic");
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The claims of a pool: block and node.
fn claims(cluster: &Cluster, pool: &str) -> Vec<String> {
    let form = format!(
        "jsonpath={{range .items[?(@.spec.pool==\"{pool}\")]}}{{.spec.cidr}} {{.spec.node}}{{\"\\n\"}}{{end}}"
    );
    cluster.get(&["get", "ipblocks", "-o", &form]).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_gets_the_last_block_and_the_other_is_told() {
    let cluster = Cluster::shared();
    let (one, two) = (folder(), folder());
    let mut first = Claimant::start(&cluster, "race-1", one.path()).await;
    let mut second = Claimant::start(&cluster, "race-2", two.path()).await;
    tokio::join!(
        first.pool("race", "10.77.0.0/26", 26, 1),
        second.pool("race", "10.77.0.0/26", 26, 1),
    );
    let settled = |blocks: &Blocks| !blocks.leasable.is_empty() || !blocks.exhausted.is_empty();
    let first_has = first.until("a block or none", settled).await;
    let second_has = second.until("a block or none", settled).await;
    let (winner, loser) = match first_has.leasable.is_empty() {
        false => (first_has, second_has),
        true => (second_has, first_has),
    };
    assert_eq!(winner.leasable.len(), 1);
    assert_eq!((loser.leasable.len(), loser.announced.len()), (0, 0));
    assert_eq!(loser.exhausted, BTreeSet::from(["race".to_owned()]));
    assert_eq!(claims(&cluster, "race").len(), 1);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_at_once_list_blocks_of_other_sizes_alone_and_do_not_overlap_them() {
    let cluster = Cluster::with_our_kinds();
    let folders: Vec<_> = (0..40).map(|_| folder()).collect();
    // A pool that was made anew since, with smaller blocks.
    let mut former = Claimant::start(&cluster, "former", folders[0].path()).await;
    former.pool("before", "10.76.0.0/25", 25, 1).await;
    former.until("a block", |blocks| blocks.leasable.len() == 1).await;
    former.stop().await;
    let lists = |what: &str| -> f64 {
        let metrics = cluster.get(&["get", "--raw", "/metrics"]);
        let ours = metrics.lines().filter(|line| {
            line.starts_with(what)
                && line.contains("resource=\"ipblocks\"")
                && line.contains("verb=\"LIST\"")
        });
        ours.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let (before, octets) =
        (lists("apiserver_request_total"), lists("apiserver_response_sizes_sum"));
    let mut nodes = Vec::new();
    for (number, folder) in folders.iter().enumerate().skip(1) {
        nodes.push(Claimant::start(&cluster, &format!("join-{number}"), folder.path()).await);
    }
    for node in &nodes {
        node.pool("joined", "10.76.0.0/18", 26, 1).await;
    }
    let mut seen: Vec<Prefix> = vec!["10.76.0.0/25".parse().expect("a prefix")];
    for node in &mut nodes {
        let block =
            node.until("a block", |blocks| blocks.leasable.len() == 1).await.leasable[0].prefix;
        assert!(!seen.iter().any(|other| other.covers(block)), "{block} of {seen:?}");
        seen.push(block);
    }
    // Each asks for its own claims too.
    let (all, octets) =
        (lists("apiserver_request_total") - before, lists("apiserver_response_sizes_sum") - octets);
    let joined = nodes.len() as f64;
    assert!(all <= 4.0 * joined && octets <= 2000.0 * joined, "{all} listings, {octets} octets");
    eprintln!("{joined} nodes: {all} listings with {octets} octets");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_one_empty_block_more_than_it_needs_and_asks_again_for_what_vanishes() {
    let cluster = Cluster::shared();
    let folder = folder();
    let mut node = Claimant::start(&cluster, "spare-1", folder.path()).await;
    node.pool("spare", "10.78.0.0/24", 26, 1).await;
    let had = node.until("the first block", |blocks| blocks.leasable.len() == 1).await;
    let first = had.leasable[0].prefix;
    assert_eq!(claims(&cluster, "spare"), [format!("{first} spare-1")]);

    node.handle.used(BTreeMap::from([(first, 1)])).await;
    node.until("a second one", |blocks| blocks.leasable.len() == 2).await;

    // Somebody deletes the claim by hand: it is asked for again, as another object.
    let name = first.to_string().replace(['.', '/'], "-");
    let uid = || cluster.get(&["get", "ipblock", &name, "-o", "jsonpath={.metadata.uid}"]);
    let before = uid();
    cluster.must(&["delete", "ipblock", &name]);
    let is_back = || {
        let said = cluster.kubectl(&["get", "ipblock", &name, "-o", "jsonpath={.metadata.uid}"]);
        said.good && said.out != before
    };
    for _ in 0..300 {
        if is_back() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_back(), "{:?}", node.blocks.borrow());
    node.until("both are in use", |blocks| blocks.leasable.len() == 2).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_known_while_the_api_server_is_down_and_claimed_once_it_is_back() {
    let mut cluster = Cluster::with_our_kinds();
    let folder = folder();
    let mut node = Claimant::start(&cluster, "down-1", folder.path()).await;
    node.pool("down", "10.79.0.0/24", 26, 1).await;
    let had = node.until("a block", |blocks| blocks.leasable.len() == 1).await;
    node.stop().await;

    cluster.stop_api_server();
    let mut node = Claimant::start(&cluster, "down-1", folder.path()).await;
    assert_eq!(node.blocks.borrow().leasable, had.leasable, "from the disk, at once");
    node.pool("down", "10.79.0.0/24", 26, 1).await;
    node.handle.used(BTreeMap::from([(had.leasable[0].prefix, 1)])).await;
    let down = node.until("it says what is wrong", |blocks| blocks.error.is_some()).await;
    assert_eq!(down.leasable, had.leasable);

    cluster.start_api_server();
    node.until("one more", |blocks| blocks.leasable.len() == 2).await;
    assert_eq!(claims(&cluster, "down").len(), 2);
    node.stop().await;
}

/// Only what hangs takes so long, even where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(120);
