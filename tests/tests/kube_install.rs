//! The manifest and the Helm chart: the real API server takes what they say, and allows the daemon what
//! it needs and no more; both are the same; an installation leaves the node as it should.
//!
//! Needs etcd and Go (see `src/cluster.rs`); the node's part needs root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use routed::manifest::{CHART, Choices, FILE, NAMESPACE, manifest};
use serde_json::Value;
use tests::{
    cluster::Cluster,
    node::{Node, on_a_node, program},
};

/// The account that the daemon runs as.
const ACCOUNT: &str = "system:serviceaccount:slash32-system:slash32";

fn in_routed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../routed").join(name)
}

/// The cluster, with the manifest applied to it once.
fn installed() -> Arc<Cluster> {
    static ONCE: Mutex<()> = Mutex::new(());
    let _one = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Cluster::shared();
    let file = in_routed(FILE).display().to_string();
    cluster.must(&["apply", "--server-side", "--force-conflicts", "-f", &file]);
    cluster
}

/// Objects by kind, namespace and name.
fn objects(yaml: &str) -> BTreeMap<String, Value> {
    let documents = yaml.split("\n---\n").map(|part| part.trim_start_matches("---\n"));
    let parsed = documents.map(|document| {
        serde_saphyr::from_str::<Value>(document)
            .unwrap_or_else(|error| panic!("{error}:\n{document}"))
    });
    let named = parsed.filter(|object| !object.is_null()).map(|mut object| {
        without_nothing(&mut object);
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = ["/kind", "/metadata/namespace", "/metadata/name"].map(text).join("/");
        (name, object)
    });
    named.collect()
}

/// An empty value and none mean the same to the API server.
fn without_nothing(value: &mut Value) {
    if let Value::Object(table) = value {
        table.values_mut().for_each(without_nothing);
        table.retain(|_, value| !value.is_null());
    } else if let Value::Array(list) = value {
        list.iter_mut().for_each(without_nothing);
    }
}

#[test]
fn the_api_server_takes_the_manifest_and_refuses_a_spoiled_one() {
    let cluster = installed();
    let json = cluster.get(&["get", "daemonset", "slash32", "-n", NAMESPACE, "-o", "json"]);
    let daemon: Value = serde_json::from_str(&json).unwrap();
    let container = &daemon["spec"]["template"]["spec"]["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["capabilities"]["drop"][0], "ALL");
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    assert!(security["privileged"].is_null());
    assert!(daemon["spec"]["template"]["spec"]["hostPID"].is_null());
    let text = manifest(&Choices::default()).unwrap();
    for (good, bad, complaint) in [
        ("periodSeconds: 5", "periodSeconds: -5", "must be greater than or equal to 0"),
        ("maxUnavailable: 1", "maxUnavailable: 0", "cannot be 0"),
        ("mountPath: /run/slash32", "mountPath: /etc/slash32", "duplicate entries"),
        ("fieldPath: spec.nodeName", "fieldPath: spec.node", "spec.node"),
        ("readOnlyRootFilesystem", "readOnlyRoot", "readOnlyRoot"),
    ] {
        assert!(text.contains(good), "{good}");
        let dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];
        let said = cluster.kubectl_with(&dry, &text.replace(good, bad));
        assert!(!said.good, "{bad} was taken");
        assert!(said.err.contains(complaint), "{bad}: {}", said.err);
    }
}

#[test]
fn the_daemon_may_what_it_needs_and_no_more() {
    let cluster = installed();
    let may = |verb: &str, what: &str, namespace: &str| {
        let mut arguments = vec!["auth", "can-i", verb];
        // A resource with what belongs to it: nodes/status.
        let (resource, sub) = what.split_once('/').map_or((what, None), |(a, b)| (a, Some(b)));
        arguments.push(resource);
        let sub = sub.map(|sub| format!("--subresource={sub}"));
        arguments.extend(sub.as_deref());
        arguments.extend(["--as", ACCOUNT, "-n", namespace]);
        cluster.kubectl(&arguments).out.trim() == "yes"
    };
    let ours = ["bgpconfigurations", "bgppeers", "bgppolicies", "ippools", "ipreservations"];
    let ours = ours.map(|kind| format!("{kind}.slash32.dev"));
    let mut allowed = vec![
        ("create", "ipblocks.slash32.dev", "default"),
        ("delete", "ipblocks.slash32.dev", "default"),
        ("watch", "ipblocks.slash32.dev", "default"),
        ("create", "bgpnodestatuses.slash32.dev", "default"),
        ("patch", "bgpnodestatuses.slash32.dev/status", "default"),
        ("get", "bgpnodestatuses.slash32.dev", "default"),
        ("delete", "bgpnodestatuses.slash32.dev", "default"),
        ("patch", "nodes", "default"),
        ("patch", "nodes/status", "default"),
        ("create", "events.events.k8s.io", "default"),
        ("patch", "events.events.k8s.io", "default"),
        ("get", "secrets", NAMESPACE),
        ("list", "secrets", NAMESPACE),
        ("watch", "secrets", NAMESPACE),
        // The leader's.
        ("list", "ipblocks.slash32.dev", "default"),
        ("patch", "ipblocks.slash32.dev/status", "default"),
        ("list", "bgpnodestatuses.slash32.dev", "default"),
        ("get", "leases.coordination.k8s.io", NAMESPACE),
        ("create", "leases.coordination.k8s.io", NAMESPACE),
        ("update", "leases.coordination.k8s.io", NAMESPACE),
    ];
    for kind in ["pods", "nodes", "namespaces"] {
        allowed.extend(["get", "list", "watch"].map(|verb| (verb, kind, "default")));
    }
    for verb in ["list", "watch"] {
        allowed.extend(ours.iter().map(|kind| (verb, kind.as_str(), "default")));
    }
    let status: Vec<_> = ours.iter().map(|kind| format!("{kind}/status")).collect();
    allowed.extend(status.iter().map(|kind| ("patch", kind.as_str(), "default")));
    for (verb, what, namespace) in allowed {
        assert!(may(verb, what, namespace), "may not {verb} {what} in {namespace}");
    }
    let mut forbidden = vec![
        ("get", "secrets", "default"),
        ("watch", "secrets", "kube-system"),
        ("create", "secrets", NAMESPACE),
        ("update", "leases.coordination.k8s.io", "kube-system"),
        ("delete", "leases.coordination.k8s.io", NAMESPACE),
        ("list", "leases.coordination.k8s.io", NAMESPACE),
        ("create", "pods", "default"),
        ("delete", "pods", "default"),
        ("create", "pods/exec", "default"),
        ("patch", "pods", "default"),
        ("update", "nodes", "default"),
        ("update", "nodes/status", "default"),
        ("create", "nodes", "default"),
        ("delete", "nodes", "default"),
        ("patch", "bgpnodestatuses.slash32.dev", "default"),
        ("delete", "events.events.k8s.io", "default"),
        ("list", "events.events.k8s.io", "default"),
        ("update", "ipblocks.slash32.dev", "default"),
        ("patch", "ipblocks.slash32.dev", "default"),
        ("get", "configmaps", "kube-system"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", "default"),
        ("impersonate", "users", "default"),
    ];
    for verb in ["create", "update", "patch", "delete"] {
        forbidden.extend(ours.iter().map(|kind| (verb, kind.as_str(), "default")));
    }
    for (verb, what, namespace) in forbidden {
        assert!(!may(verb, what, namespace), "may {verb} {what} in {namespace}");
    }
}

#[test]
fn the_chart_comes_to_the_manifest() {
    let chart = in_routed(CHART).display().to_string();
    helm(&["lint", "--strict", &chart]);
    let of_helm = |more: &[&str]| {
        let mut arguments = vec!["template", "slash32", &chart, "--namespace", NAMESPACE];
        arguments.extend(["--include-crds", "--kube-version", "1.37.0"]);
        arguments.extend(more);
        objects(&helm(&arguments))
    };
    let ours = |choices: &Choices| {
        let mut ours = objects(&manifest(choices).unwrap());
        // Helm makes the namespace by itself.
        ours.remove(&format!("Namespace//{NAMESPACE}")).expect("the namespace");
        ours
    };
    let (here, there) = (ours(&Choices::default()), of_helm(&[]));
    assert!(here.len() >= 14, "{:?}", here.keys());
    assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
    for (name, object) in &here {
        assert_eq!(*object, there[name], "{name}");
    }
    let choices =
        Choices { image: Some("registry.test/slash32:9".to_owned()), ..Choices::default() };
    assert_eq!(ours(&choices), of_helm(&["--set", "image=registry.test/slash32:9"]));
    // What the program does not offer, Helm does.
    let more = of_helm(&["--set", "env[0].name=A,env[0].value=b", "--set", "podAnnotations.c=d"]);
    let pod = &more[&format!("DaemonSet/{NAMESPACE}/slash32")]["spec"]["template"];
    assert_eq!(
        pod["spec"]["containers"][0]["env"][2],
        serde_json::json!({"name": "A", "value": "b"})
    );
    assert_eq!(pod["metadata"]["annotations"]["c"], "d");
}

/// What Helm prints.
fn helm(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/run");
    let made = Command::new(script).arg("helm").output().expect("run testbed/run");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_owned();
    assert!(made.status.success(), "no Helm to test with:\n{}", text(&made.stderr));
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(text(&made.stdout)).args(arguments).env("HOME", home.path()).output();
    let output = output.expect("run helm");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

const PODS: &str = "ipv4 = [\"10.244.1.0/24\"]\ncooldown = 0\n";

/// Commands of `routed` on the node.
fn routed(arguments: &str) -> Result<String, String> {
    tests::node::try_run(&format!("{} {arguments}", program("routed").display()))
}

fn places(node: &Node) -> String {
    let at = |name: &str| node.path(name).display().to_string();
    format!("--cni-bin {} --cni-conf {}", at("bin"), at("net.d"))
}

#[test]
fn network_comes_when_the_daemon_serves_and_goes_first() {
    on_a_node(PODS, |node| {
        let socket = node.path("cni.sock").display().to_string();
        let install = format!("install {} --socket {socket} --wait 20", places(node));
        let conflist = node.path("net.d/10-slash32.conflist");
        let plugin = node.path("bin/slash32");
        node.kill();
        let error = routed(&install.replace("--wait 20", "--wait 0")).unwrap_err();
        assert!(error.contains("is not written"), "{error}");
        assert!(plugin.is_file());
        assert!(!conflist.exists());
        node.start();
        let said = routed(&install).unwrap();
        assert!(said.contains("wrote") && said.contains("10-slash32.conflist"), "{said}");
        let network: Value = serde_json::from_str(&fs::read_to_string(&conflist).unwrap()).unwrap();
        assert_eq!(network["plugins"][0]["socket"], socket.as_str());
        assert!(!routed(&install).unwrap().contains("wrote"), "nothing is left to do");

        let uninstall =
            format!("uninstall {} --config {}", places(node), node.path("routed.toml").display());
        let error = routed(&uninstall).unwrap_err();
        assert!(error.contains("routed is running"), "{error}");
        assert!(!conflist.exists(), "no new pods come");
        assert!(plugin.is_file());
        let before = node.run("nft list tables");
        assert!(before.contains("slash32"), "{before}");
        node.kill();
        let removed = routed(&uninstall).unwrap();
        assert!(removed.contains("nftables table inet slash32"), "{removed}");
        assert!(!plugin.exists());
        assert_eq!(node.run("nft list tables"), "");
        assert_eq!(node.run("ip route show type blackhole"), "");
        assert!(!node.path("leases").exists() && !node.path("cni.sock").exists());
        assert_eq!(routed(&uninstall).unwrap(), "nothing of ours is here\n");

        // The node's folders as a container sees them.
        let files = [
            "etc/cni/net.d/10-slash32.conflist",
            "opt/cni/bin/slash32",
            "run/slash32/leases",
            "var/lib/slash32/cluster/objects.json",
        ];
        let root = node.path("root");
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        let removed = routed(&format!("uninstall --root {}", root.display())).unwrap();
        assert_eq!(removed.lines().count(), files.len(), "{removed}");
        assert!(!files.iter().any(|file| root.join(file).exists()));
        assert!(root.join("etc/cni/net.d").is_dir(), "others may have networks");
    });
}

#[test]
fn daemon_that_installs_puts_back_what_others_take() {
    on_a_node(PODS, |node| {
        node.kill();
        let mut daemon = Command::new(program("routed"))
            .args(["run", "--install", "--config"])
            .arg(node.path("routed.toml"))
            .args(places(node).split(' '))
            .stderr(fs::File::create(node.path("log")).unwrap())
            .spawn()
            .unwrap();
        let conflist = node.path("net.d/10-slash32.conflist");
        let appears = |file: &Path| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !file.is_file() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(50));
            }
            file.is_file()
        };
        let first = appears(&conflist);
        let plugin = node.path("bin/slash32");
        let whole = fs::read(&plugin).unwrap_or_default();
        let _ = fs::remove_file(&conflist);
        let again = appears(&conflist);
        let _ = daemon.kill().and_then(|()| daemon.wait());
        assert!(first && again, "{}", node.log());
        assert_eq!(whole, fs::read(program("slash32")).unwrap());
    });
}
