//! The daemon in a container with exactly what the manifest gives it, nothing of the root filesystem
//! writable: it makes the node a router, installs the plugin and its network, attaches pods, and is
//! replaced without a lost packet; and it runs from a real API server with the rights, the account and
//! the configuration of the manifest.
//!
//! Needs root, podman with runc, iproute2, and the programs of the API server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use routed::manifest::{Choices, NAMESPACE, manifest};
use serde_json::{Value, json};
use tests::{
    cluster::Cluster,
    node::{Node, Pod, on_a_node, program, try_run},
    podman::Podman,
    runtime::{Attachment, Runtime},
};

const PODS: &str = "ipv4 = [\"10.244.1.0/24\"]\nipv6 = [\"fd00:10:244:1::/64\"]\ncooldown = 0\n";

/// Where a pod has its account.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// The object of that kind in the manifest.
fn object(kind: &str) -> Value {
    let text = manifest(&Choices::default()).unwrap();
    let kind = format!("kind: {kind}\n");
    let part = text.split("---\n").find(|part| part.contains(&kind)).unwrap();
    serde_saphyr::from_str(part).unwrap()
}

/// The daemon's container, as the manifest has it.
fn container() -> Value {
    object("DaemonSet")["spec"]["template"]["spec"]["containers"][0].clone()
}

/// The programs, and the libraries that they need where they are not static.
fn root_filesystem(node: &Node) -> PathBuf {
    let root = node.path("image");
    for folder in ["proc", "sys", "dev", "etc/slash32", "run/slash32", "var/lib/slash32", "tmp"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for folder in ["opt/cni/bin", "etc/cni/net.d", ACCOUNT] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for name in ["routed", "slash32"] {
        let binary = program(name);
        fs::copy(&binary, root.join(name)).unwrap();
        let needed = try_run(&format!("ldd {}", binary.display())).unwrap_or_default();
        for library in needed.split_whitespace().filter(|word| word.starts_with('/')) {
            let place = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(library, place).unwrap();
        }
    }
    root
}

/// What `podman run` is told of the manifest's container: its capabilities, mounts and arguments.
fn call(node: &Node, root: &Path, name: &str) -> String {
    let container = container();
    let security = &container["securityContext"];
    let words = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words(&security["capabilities"]["drop"]), ["ALL"]);
    let capabilities = words(&security["capabilities"]["add"]).join(",");
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    let mounts: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| {
            let (name, path) =
                (mount["name"].as_str().unwrap(), mount["mountPath"].as_str().unwrap());
            let on_node = node.path(&format!("host/{name}"));
            fs::create_dir_all(&on_node).unwrap();
            let read_only = if mount["readOnly"] == true { ":ro" } else { "" };
            format!("-v {}:{path}{read_only}", on_node.display())
        })
        .collect();
    format!(
        "run -d --name {name} --network host --read-only --read-only-tmpfs=false \
         --cap-drop ALL --cap-add {capabilities} --security-opt no-new-privileges {} --rootfs {} \
         /routed {}",
        mounts.join(" "),
        root.display(),
        words(&container["args"]).join(" "),
    )
}

fn wait_until(what: &str, podman: &Podman, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        let say = |call: &str| podman.call(call).unwrap_or_else(|error| error);
        let seen = || say("logs routed") + &say("exec routed /routed show cluster");
        assert!(Instant::now() < deadline, "{what}:\n{}", seen());
        thread::sleep(Duration::from_millis(50));
    }
}

/// The container, which is removed even if the test fails.
struct Removed<'p>(&'p Podman);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.call("rm -f -t 0 routed");
    }
}

/// The node as it was before us, which is no router yet, and the call that runs the container.
fn prepared(node: &mut Node) -> (Podman, String) {
    node.kill();
    node.run("sysctl -q -w net.ipv4.ip_forward=0");
    node.run("sysctl -q -w net.ipv6.conf.all.forwarding=0");
    let root = root_filesystem(node);
    let run = call(node, &root, "routed");
    let text = fs::read_to_string(node.path("routed.toml")).unwrap();
    // Sockets and BGP's port where they are in a cluster.
    let (before, rest) = text.split_once("[sockets]").unwrap();
    let (_, pods) = rest.split_once("[pods]").unwrap();
    let before = before.replace("listen = []", "");
    let file = node.path("host/config/routed.toml");
    fs::write(&file, format!("{before}[pods]{pods}")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    (Podman::new(node), run)
}

#[test]
fn without_a_capability_the_daemon_does_not_start_and_says_why() {
    on_a_node(PODS, |node| {
        let (podman, run) = prepared(node);
        let run = run.replace("run -d ", "run --rm --timeout 30 ");
        for (capability, complaint) in [
            ("NET_ADMIN,", "ip_forward: Operation not permitted"),
            ("NET_BIND_SERVICE,", "CAP_NET_BIND_SERVICE"),
            ("SYS_ADMIN,", "/proc/sys"),
        ] {
            assert!(run.contains(capability), "{run}");
            let said = podman.call(&run.replace(capability, "")).expect_err(capability);
            assert!(said.contains(complaint), "without {capability} {said}");
        }
    });
}

#[test]
fn daemon_with_the_manifests_capabilities_serves_pods_and_is_replaced() {
    on_a_node(PODS, |node| {
        let (podman, run) = prepared(node);
        let _removed = Removed(&podman);
        podman.must(&run);
        let conflist = node.path("host/cni-conf/10-slash32.conflist");
        wait_until("the network is installed", &podman, || conflist.is_file());
        assert_eq!(node.run("cat /proc/sys/net/ipv4/ip_forward").trim(), "1");
        assert_eq!(node.run("cat /proc/sys/net/ipv6/conf/all/forwarding").trim(), "1");
        assert!(node.path("host/cni-bin/slash32").is_file());
        let seen = podman.run("exec routed /routed show pools");
        assert!(seen.contains("10.244.1.0/24"), "{seen}");

        let socket = node.path("host/run/cni.sock");
        let ours = json!({"type": "slash32", "socket": socket});
        let network = json!({"cniVersion": "1.1.0", "name": "slash32", "plugins": [ours]});
        let mut runtime = Runtime::default();
        let pod = Pod::new("a");
        let attachment = Attachment::new(&network, &pod, "eth0");
        let result = runtime.add(&attachment).unwrap();
        let address = |i: usize| {
            result["ips"][i]["address"].as_str().unwrap().split_once('/').unwrap().0.to_owned()
        };
        for i in [0, 1] {
            node.ping(None, address(i).parse().unwrap()).unwrap();
        }

        // As a rolling update does it: SIGTERM, then a new container. Meanwhile somebody pings.
        let pings = Command::new("ping")
            .args(["-q", "-i", "0.01", "-c", "500", "-W", "1", &address(0)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        podman.must("stop -t 15 routed");
        podman.must("rm -f -t 0 routed");
        assert!(conflist.is_file(), "the node stays ready");
        podman.must(&run);
        wait_until("the new daemon serves", &podman, || runtime.check(&attachment).is_ok());
        let pings = pings.wait_with_output().unwrap();
        let summary = String::from_utf8_lossy(&pings.stdout).into_owned();
        assert!(summary.contains("500 packets transmitted, 500 received"), "{summary}");
        runtime.del(&attachment).unwrap();
        podman.must("stop -t 15 routed");

        // The node leaves the cluster: everything goes.
        podman.must("rm -f -t 0 routed");
        let cleanup = run.replace(" run --install --unlock-sysctls", " uninstall");
        let cleanup = cleanup.replace("run -d ", "run --rm ");
        let removed = podman.run(&cleanup);
        for part in
            ["/etc/cni/net.d/10-slash32.conflist", "/opt/cni/bin/slash32", "table inet slash32"]
        {
            assert!(removed.contains(part), "{part}: {removed}");
        }
        assert!(!conflist.exists());
        assert_eq!(node.run("nft list tables"), "");
        assert_eq!(node.run("ip route show type blackhole"), "");
    });
}

/// What a kubelet gives to the pod of the manifest: where the API server is, the account, the node's name.
fn in_cluster(node: &Node, cluster: &Cluster, run: &str) -> String {
    let folder = node.path("account");
    fs::create_dir_all(&folder).unwrap();
    let token = cluster.get(&["create", "token", "slash32", "-n", NAMESPACE]);
    fs::write(folder.join("token"), token.trim()).unwrap();
    fs::write(folder.join("namespace"), NAMESPACE).unwrap();
    fs::copy(cluster.path("certificates/apiserver.crt"), folder.join("ca.crt")).unwrap();
    let port = cluster.port();
    let given = format!(
        "run -d -e NODE_NAME=node -e KUBERNETES_SERVICE_HOST=127.0.0.1 \
         -e KUBERNETES_SERVICE_PORT={port} -v {}:/{ACCOUNT}:ro ",
        folder.display()
    );
    run.replace("run -d ", &given)
}

/// The node, which waits for its network, a pool, and a pod.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: node}
spec: {taints: [{key: slash32.dev/agent-not-ready, effect: NoSchedule}]}
---
apiVersion: slash32.dev/v1alpha1
kind: IPPool
metadata: {name: pods}
spec: {cidr: 10.244.0.0/16}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec: {nodeName: node, containers: [{name: c, image: i}]}
"#;

#[test]
fn daemon_of_the_manifest_runs_from_the_cluster_with_the_account_of_the_manifest() {
    on_a_node(PODS, |node| {
        let cluster = Cluster::start();
        cluster.define(&routed_api::manifest());
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let said = cluster.kubectl_with(&apply, &manifest(&Choices::default()).unwrap());
        assert!(said.good, "{}", said.err);
        let said = cluster.create(OBJECTS);
        assert!(said.good, "{}", said.err);
        let address = r#"{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}]}}"#;
        cluster.must(&["patch", "node", "node", "--subresource=status", "-p", address]);

        let (podman, run) = prepared(node);
        let config = object("ConfigMap")["data"]["routed.toml"].as_str().unwrap().to_owned();
        fs::write(node.path("host/config/routed.toml"), config).unwrap();
        let _removed = Removed(&podman);
        podman.must(&in_cluster(node, &cluster, &run));
        let conflist = node.path("host/cni-conf/10-slash32.conflist");
        wait_until("the network is installed", &podman, || conflist.is_file());
        let of_node = |path: &str| cluster.get(&["get", "node", "node", "-o", path]);
        wait_until("the taint is gone", &podman, || {
            !of_node("jsonpath={.spec.taints[*].key}").contains("slash32.dev")
        });
        let condition = r#"jsonpath={.status.conditions[?(@.type=="NetworkUnavailable")].status}"#;
        wait_until("the network is there", &podman, || of_node(condition) == "False");
        let accepted = r#"jsonpath={.status.conditions[?(@.type=="Accepted")].status}"#;
        wait_until("the pool is accepted", &podman, || {
            cluster.get(&["get", "ippool", "pods", "-o", accepted]) == "True"
        });

        let uid = cluster.get(&["get", "pod", "web", "-o", "jsonpath={.metadata.uid}"]);
        let args =
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID={uid}");
        let ours = json!({"type": "slash32", "socket": node.path("host/run/cni.sock")});
        let network = json!({"cniVersion": "1.1.0", "name": "slash32", "plugins": [ours]});
        let mut runtime = Runtime::default();
        let pod = Pod::new("web");
        let attachment = Attachment { args: &args, ..Attachment::new(&network, &pod, "eth0") };
        let result = runtime.add(&attachment).unwrap();
        let address = result["ips"][0]["address"].as_str().unwrap();
        let address = address.split('/').next().unwrap();
        node.ping(None, address.parse().unwrap()).unwrap();
        let blocks = ["get", "ipblocks", "-o", "jsonpath={.items[*].spec.node}"];
        assert!(cluster.get(&blocks).split(' ').all(|owner| owner == "node"));
        let peers = cluster.kubectl(&["slash32", "nodes"]);
        assert!(peers.good && peers.out.contains("node"), "{} {}", peers.out, peers.err);
        let log = podman.run("logs routed");
        assert!(!log.contains("forbidden"), "{log}");
        runtime.del(&attachment).unwrap();
        podman.must("stop -t 15 routed");
        podman.must("rm -f -t 0 routed");
    });
}
