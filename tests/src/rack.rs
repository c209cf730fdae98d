//! Two nodes that run from a real API server below a BIRD ToR, with all that a test does to them.
//!
//! In: objects of the cluster, beside the nodes and their sessions. Out: the running rack, the plugin's
//! answers, what the ToR and the nodes say. Needs the binaries of the workspace, BIRD 2, iproute2 and the
//! programs of the API server; root.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    fabric::{
        Fabric, bird, eventually,
        runtime::{Call, Outcome, make_netns},
    },
    node::program,
    relay::{self, Line},
};

/// Nodes with their daemons and the API server.
pub struct Rack {
    daemons: Vec<(&'static str, Child)>,
    /// What leads from each node to the API server.
    relays: Vec<Child>,
    /// All that nodes and the API server say to each other.
    pub line: Arc<Line>,
    /// The nodes and the ToR.
    pub fabric: Fabric,
    /// The API server.
    pub cluster: Cluster,
}

/// The nodes, in the order of their numbers.
pub const NODES: [&str; 2] = ["node1", "node2"];

impl Rack {
    /// The nodes run, and have what `objects` says.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    #[must_use]
    pub fn up(objects: &str) -> Self {
        Self::in_cluster(Cluster::with_our_kinds(), objects)
    }

    /// The same in a cluster that knows our kinds already, by definitions of the test's own.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    #[must_use]
    pub fn in_cluster(cluster: Cluster, objects: &str) -> Self {
        let (kubeconfig, port) = (cluster.kubeconfig(), cluster.port());
        Self::over(cluster, objects, &kubeconfig, port)
    }

    /// The same without encryption between the nodes and the API server, so that the line can say what
    /// the server does not.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    #[must_use]
    pub fn in_the_clear(objects: &str) -> Self {
        let cluster = Cluster::with_our_kinds();
        let (proxy, port) = cluster.proxy();
        let kubeconfig = cluster.path("plain");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\n\
             users: [{{name: node, user: {{}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: node}}}}]\n",
            cluster.port()
        );
        fs::write(&kubeconfig, text).expect("write a kubeconfig");
        let mut rack = Self::over(cluster, objects, &kubeconfig, port);
        rack.relays.push(proxy);
        rack
    }

    /// `kubeconfig` leads to the port of the API server, from where it goes on to `far` on the host.
    fn over(cluster: Cluster, objects: &str, kubeconfig: &Path, far: u16) -> Self {
        let said = cluster.create(&format!("{}{objects}", FABRIC));
        assert!(said.good, "{}", said.err);
        for node in NODES {
            give_address(&cluster, node);
        }
        let fabric = Fabric::up(&topology(&kubeconfig.display().to_string()));
        let socket = cluster.path("relay.sock");
        let line = relay::from_socket(&socket, far).expect("a socket");
        let relay = program("relay").display().to_string();
        let (port, socket) = (cluster.port().to_string(), socket.display().to_string());
        let start = |node: &&str| {
            let mut command = fabric.command(node, &[&relay, &port, &socket]);
            command.stdin(Stdio::null()).spawn().expect("testbed starts")
        };
        let relays = NODES.iter().map(start).collect();
        let mut rack = Self { daemons: Vec::new(), relays, line, fabric, cluster };
        for node in NODES {
            rack.start(node);
        }
        rack
    }

    /// Starts the daemon of a node, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    pub fn start(&mut self, node: &'static str) {
        self.start_in(node, &[]);
    }

    /// The same with these variables of its environment, each as in `NAME=value`.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    pub fn start_in(&mut self, node: &'static str, environment: &[&str]) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.cluster.path(&format!("{node}.log")))
            .expect("a log");
        let places = ["bin", "net.d"].map(|folder| self.installed(node, folder));
        let [bin, conf] = places.map(|folder| folder.display().to_string());
        let argv = [
            "routed",
            "run",
            "--install",
            "--cni-bin",
            &bin,
            "--cni-conf",
            &conf,
            "--config",
            "/etc/slash32/routed.toml",
            "--log",
            "debug,h2=info,hyper=info,hyper_util=info,kube_client=info,rustls=info,tower=info",
        ];
        let argv = [&["env"], environment, &argv].concat();
        let mut command = self.fabric.command(node, &argv);
        let daemon = command.stdin(Stdio::null()).stderr(log).spawn().expect("testbed starts");
        self.daemons.push((node, daemon));
        eventually(
            "the daemon answers",
            || self.fabric.exec(node, &["routed", "show", "peers"]).expect("testbed starts"),
            |output| output.status.success(),
        );
    }

    /// Where the daemon of a node puts the plugin (`bin`), or the network (`net.d`).
    #[must_use]
    pub fn installed(&self, node: &str, folder: &str) -> PathBuf {
        self.cluster.path(&format!("{node}/{folder}"))
    }

    /// Forgets the daemon of a node, which has ended or does so now.
    ///
    /// # Panics
    ///
    /// If it runs no daemon.
    pub fn ended(&mut self, node: &str) {
        let at = self.daemons.iter().position(|(name, _)| *name == node).expect("it runs");
        let (_, mut daemon) = self.daemons.remove(at);
        let _ = daemon.wait();
    }

    /// Ends the daemon of a node and starts it again.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    pub fn restart(&mut self, node: &'static str) {
        self.restart_in(node, &[]);
    }

    /// The same in another environment.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    pub fn restart_in(&mut self, node: &'static str, environment: &[&str]) {
        let at = self.daemons.iter().position(|(name, _)| *name == node).expect("it runs");
        let (_, mut daemon) = self.daemons.remove(at);
        let pid = Pid::from_raw(daemon.id().try_into().expect("a process id"));
        signal::kill(pid, Signal::SIGTERM).expect("it runs");
        assert!(daemon.wait().expect("it ends").success());
        self.start_in(node, environment);
    }

    /// Waits until the ToR has a session with each node, and the prefixes that it has from them.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    pub fn tor_has(
        &self,
        what: &str,
        wanted: impl Fn(&[Vec<String>; 2]) -> bool,
    ) -> [Vec<String>; 2] {
        eventually(
            what,
            || {
                NODES.map(|node| {
                    let routes = bird::learned(&self.fabric, "tor1", node);
                    routes.into_iter().map(|route| route.prefix.to_string()).collect()
                })
            },
            |seen| wanted(seen),
        )
    }

    /// What a kubelet does for a pod that is to run on its node: the object is there, the runtime makes
    /// the namespace and calls the plugin.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    #[must_use]
    pub fn create_pod(&self, node: &str, name: &str, annotations: &Value) -> String {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
        let said = self.cluster.create(&pod.to_string());
        assert!(said.good, "{}", said.err);
        self.cluster.get(&["get", "pod", name, "-o", "jsonpath={.metadata.uid}"])
    }

    /// Has the runtime start a pod.
    #[must_use]
    pub fn add(&self, node: &str, name: &str, uid: &str) -> Outcome {
        make_netns(&self.fabric, node, name);
        self.add_again(node, name, uid)
    }

    /// The same once more, in the namespace that is there.
    #[must_use]
    pub fn add_again(&self, node: &str, name: &str, uid: &str) -> Outcome {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID={uid}"
        );
        Call::new(node, "ADD", name).with("CNI_ARGS", &args).run(&self.fabric)
    }

    /// A pod that runs; its addresses.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    #[must_use]
    pub fn pod(&self, node: &str, name: &str) -> Vec<IpAddr> {
        let uid = self.create_pod(node, name, &json!({}));
        addresses(&self.add(node, name, &uid).result())
    }

    /// How a node says that it stands to its cluster.
    ///
    /// # Panics
    ///
    /// If that cannot be.
    #[must_use]
    pub fn show(&self, node: &str) -> Value {
        self.fabric.ask_json(node, &["routed", "show", "cluster", "-o", "json"])[0].clone()
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        for child in self.relays.iter_mut().chain(self.daemons.iter_mut().map(|(_, it)| it)) {
            let _ = child.kill().and_then(|()| child.wait());
        }
        if std::thread::panicking() {
            for node in NODES {
                let log = fs::read_to_string(self.cluster.path(&format!("{node}.log")));
                eprintln!("{node}:\n{}", log.unwrap_or_default());
            }
        }
    }
}

/// Says where a node is, as its kubelet does.
///
/// # Panics
///
/// If there is no such node.
pub fn give_address(cluster: &Cluster, node: &str) {
    let number = NODES.iter().position(|known| *known == node).expect("it is one of the rack");
    let address = json!({"type": "InternalIP", "address": format!("10.9.{number}.1")});
    let patch = json!({"status": {"addresses": [address]}}).to_string();
    cluster.must(&["patch", "node", node, "--subresource=status", "-p", &patch]);
}

/// The addresses in a result of the plugin.
///
/// # Panics
///
/// If one is none.
#[must_use]
pub fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().into_iter().flatten();
    let address = |ip: &Value| {
        let text = ip["address"].as_str().unwrap_or_default();
        text.split('/').next().and_then(|text| text.parse().ok()).expect("an address")
    };
    ips.map(address).collect()
}

fn topology(kubeconfig: &str) -> String {
    let node = |name: &str, asn: u32| {
        format!(
            r#"
[[nodes]]
name = "{name}"
asn = {asn}
runs = "none"
[nodes.files]
"/etc/slash32/routed.toml" = """
[node]
name = "{name}"
[kubernetes]
kubeconfig = "{kubeconfig}"
"""
"#
        )
    };
    format!(
        r#"
links = [
  {{ ends = ["tor1", "node1"], ipv4 = "10.9.0.0/31" }},
  {{ ends = ["tor1", "node2"], ipv4 = "10.9.1.0/31" }},
]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "bird"
{}{}"#,
        node("node1", 4_200_000_011),
        node("node2", 4_200_000_012)
    )
}

/// The nodes of the rack, which wait for their network, and their sessions with the ToR.
const FABRIC: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: node1, labels: {example.com/as: "4200000011", side: left}}
spec:
  taints:
  - {key: example.com/other, effect: NoSchedule}
  - {key: slash32.dev/agent-not-ready, effect: NoSchedule}
---
apiVersion: v1
kind: Node
metadata: {name: node2, labels: {example.com/as: "4200000012", side: right}}
spec:
  taints:
  - {key: example.com/other, effect: NoSchedule}
  - {key: slash32.dev/agent-not-ready, effect: NoSchedule}
---
apiVersion: slash32.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {nodeASNumberLabel: example.com/as, nodeToNodeMeshEnabled: false, holdTimeSeconds: 9, connectRetrySeconds: 1}
---
apiVersion: slash32.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor-left}
spec: {nodeSelector: {matchLabels: {side: left}}, peerIP: 10.9.0.0, asNumber: 4200000001}
---
apiVersion: slash32.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor-right}
spec: {nodeSelector: {matchLabels: {side: right}}, peerIP: 10.9.1.0, asNumber: 4200000001}
---
"#;
