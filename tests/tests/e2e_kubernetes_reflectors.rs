//! From a mesh to a reflector and back, while pods of two nodes that are neither ping each other: not one
//! packet is lost. Three nodes of one AS that run from a real API server below a BIRD ToR.
//!
//! Needs the binaries of the workspace, BIRD 2, iproute2 and the programs of the API server; root.

use std::{
    fs,
    net::IpAddr,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tests::{
    cluster::Cluster,
    fabric::{
        Fabric, eventually,
        runtime::{Call, make_netns},
    },
    node::program,
    rack::addresses,
    relay,
};

const NODES: [&str; 3] = ["node1", "node2", "node3"];

struct Nodes {
    children: Vec<Child>,
    fabric: Fabric,
    cluster: Cluster,
}

impl Nodes {
    fn up() -> Self {
        let cluster = Cluster::with_our_kinds();
        let said = cluster.create(&objects());
        assert!(said.good, "{}", said.err);
        for (number, node) in NODES.iter().enumerate() {
            let address = json!([{"type": "InternalIP", "address": format!("10.9.{number}.1")}]);
            let patch = json!({"status": {"addresses": address}}).to_string();
            cluster.must(&["patch", "node", node, "--subresource=status", "-p", &patch]);
        }
        let fabric = Fabric::up(&topology(&cluster.kubeconfig().display().to_string()));
        let socket = cluster.path("relay.sock");
        relay::from_socket(&socket, cluster.port()).expect("a socket");
        let relay = program("relay").display().to_string();
        let (port, socket) = (cluster.port().to_string(), socket.display().to_string());
        let mut nodes = Self { children: Vec::new(), fabric, cluster };
        for (number, node) in NODES.iter().enumerate() {
            // The ToR does not announce its links, and nodes do not take routes of their own AS from it.
            for other in (0..NODES.len()).filter(|other| *other != number) {
                let (link, tor) = (format!("10.9.{other}.0/31"), format!("10.9.{number}.0"));
                let _ = nodes.fabric.ask(node, &["ip", "route", "add", &link, "via", &tor]);
            }
            nodes.spawn(node, &[&relay, &port, &socket]);
            let config = "/etc/slash32/routed.toml";
            nodes.spawn(node, &["routed", "run", "--config", config]);
        }
        nodes
    }

    fn spawn(&mut self, node: &str, argv: &[&str]) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.cluster.path(&format!("{node}.log")))
            .expect("a log");
        let mut command = self.fabric.command(node, argv);
        self.children.push(command.stdin(Stdio::null()).stderr(log).spawn().expect("it starts"));
    }

    /// Names of the sessions of a node that are established, but for those with the ToR.
    fn sessions(&self, node: &str) -> Vec<String> {
        let show = ["routed", "show", "peers", "-o", "json"];
        let output = self.fabric.exec(node, &show).expect("testbed starts");
        let peers: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let up = peers.as_array().into_iter().flatten();
        let up = up.filter(|peer| peer["state"] == "Established");
        let names = up.filter_map(|peer| peer["name"].as_str());
        let mut names: Vec<_> =
            names.filter(|name| !name.starts_with("tor")).map(str::to_owned).collect();
        names.sort();
        names
    }

    fn pod(&self, node: &str, name: &str) -> IpAddr {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
        let said = self.cluster.create(&pod.to_string());
        assert!(said.good, "{}", said.err);
        let uid = self.cluster.get(&["get", "pod", name, "-o", "jsonpath={.metadata.uid}"]);
        make_netns(&self.fabric, node, name);
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID={uid}"
        );
        let call = Call::new(node, "ADD", name).with("CNI_ARGS", &args);
        addresses(&call.run(&self.fabric).result())[0]
    }

    fn configure(&self, spec: &Value) {
        let patch = json!([{"op": "replace", "path": "/spec", "value": spec}]).to_string();
        self.cluster.must(&["patch", "bgpconfiguration", "default", "--type=json", "-p", &patch]);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill().and_then(|()| child.wait());
        }
        if thread::panicking() {
            for node in NODES {
                let log = fs::read_to_string(self.cluster.path(&format!("{node}.log")));
                eprintln!("{node}:\n{}", log.unwrap_or_default());
            }
        }
    }
}

/// One that goes on until it is asked what it saw.
struct Ping(Child);

impl Ping {
    fn start(fabric: &Fabric, pod: &str, to: IpAddr) -> Self {
        let to = to.to_string();
        let mut command: Command = fabric.command(pod, &["ping", "-i", "0.05", "-w", "125", &to]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.spawn().expect("testbed starts"))
    }

    /// What it prints in the end.
    fn summary(self) -> String {
        let output = self.0.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| line.contains("packets transmitted")).collect()
    }
}

fn topology(kubeconfig: &str) -> String {
    let link = |(number, node): (usize, &&str)| {
        format!("  {{ ends = [\"tor1\", \"{node}\"], ipv4 = \"10.9.{number}.0/31\" }},\n")
    };
    let node = |node: &&str| {
        format!(
            "[[nodes]]\nname = \"{node}\"\nasn = {ASN}\nruns = \"none\"\n[nodes.files]\n\
             \"/etc/slash32/routed.toml\" = \"\"\"\n[node]\nname = \"{node}\"\n[kubernetes]\n\
             kubeconfig = \"{kubeconfig}\"\n\"\"\"\n"
        )
    };
    let links: String = NODES.iter().enumerate().map(link).collect();
    let nodes: String = NODES.iter().map(node).collect();
    format!(
        "links = [\n{links}]\n[[tors]]\nname = \"tor1\"\nasn = 4200000001\nruns = \"bird\"\n{nodes}"
    )
}

fn objects() -> String {
    let ours = |kind: &str, name: &str, spec: Value| {
        json!({"apiVersion": "slash32.dev/v1alpha1", "kind": kind, "metadata": {"name": name},
            "spec": spec})
    };
    let mut all = vec![
        ours("BGPConfiguration", "default", mesh()),
        ours("IPPool", "four", json!({"cidr": "10.244.0.0/16"})),
    ];
    for (number, node) in NODES.iter().enumerate() {
        let labels = json!({"number": number.to_string()});
        all.push(json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node, "labels": labels}}));
        let tor = json!({"nodeSelector": {"matchLabels": labels},
            "peerIP": format!("10.9.{number}.0"), "asNumber": 4_200_000_001_u32});
        all.push(ours("BGPPeer", &format!("tor-{number}"), tor));
    }
    let documents: Vec<_> = all.iter().map(Value::to_string).collect();
    documents.join("\n---\n")
}

fn mesh() -> Value {
    json!({"asNumber": ASN, "holdTimeSeconds": 9, "connectRetrySeconds": 1})
}

#[test]
fn no_packet_is_lost_between_mesh_and_reflector_and_back() {
    let nodes = Nodes::up();
    let are = |node: &str, wanted: &[&str]| {
        eventually(
            &format!("{node} has sessions {wanted:?}"),
            || nodes.sessions(node),
            |seen| seen.iter().map(String::as_str).eq(wanted.iter().copied()),
        );
    };
    are("node2", &["node:node1", "node:node3"]);
    are("node3", &["node:node1", "node:node2"]);
    let (two, three) = (nodes.pod("node2", "two"), nodes.pod("node3", "three"));
    for (pod, to) in [("node2/two", three), ("node3/three", two)] {
        let ping = ["ping", "-c", "1", "-W", "1", &to.to_string()];
        eventually(
            &format!("{pod} reaches {to}"),
            || nodes.fabric.exec(pod, &ping).expect("testbed starts"),
            |output| output.status.success(),
        );
    }
    let pings = [
        Ping::start(&nodes.fabric, "node2/two", three),
        Ping::start(&nodes.fabric, "node3/three", two),
    ];

    let reflectors = json!({"nodeSelector": {"matchLabels": {"number": "0"}}});
    let mut spec = mesh();
    spec["routeReflectors"] = reflectors;
    nodes.configure(&spec);
    are("node2", &["node:node3", "reflector:node1"]);
    // Until the session with the reflector has been established for a minute.
    thread::sleep(Duration::from_secs(80));
    are("node2", &["reflector:node1"]);
    are("node3", &["reflector:node1"]);

    nodes.configure(&mesh());
    are("node2", &["node:node1", "node:node3"]);
    are("node3", &["node:node1", "node:node2"]);
    // That the reflector goes on for two minutes is for the tests of the text; here they would be two more.
    thread::sleep(Duration::from_secs(10));
    for ping in pings {
        let summary = ping.summary();
        assert!(summary.contains(" 0% packet loss"), "{summary}");
    }
}

/// Of every node.
const ASN: u32 = 4_200_000_011;
