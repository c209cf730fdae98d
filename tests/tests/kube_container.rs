//! The daemon in a container with exactly what the manifest gives it, nothing of the root filesystem
//! writable: it makes the node a router, installs the plugin and its network, attaches pods, and is
//! replaced without a lost packet.
//!
//! Needs root, podman with runc, and iproute2.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use routed::manifest::{Choices, manifest};
use serde_json::{Value, json};
use tests::{
    node::{Node, Pod, on_a_node, program, try_run},
    podman::Podman,
    runtime::{Attachment, Runtime},
};

const PODS: &str = "ipv4 = [\"10.244.1.0/24\"]\nipv6 = [\"fd00:10:244:1::/64\"]\ncooldown = 0\n";

/// The daemon's container, as the manifest has it.
fn container() -> Value {
    let text = manifest(&Choices::default()).unwrap();
    let daemon = text.split("---\n").find(|part| part.contains("kind: DaemonSet")).unwrap();
    let daemon: Value = serde_saphyr::from_str(daemon).unwrap();
    daemon["spec"]["template"]["spec"]["containers"][0].clone()
}

/// The programs, and the libraries that they need where they are not static.
fn root_filesystem(node: &Node) -> PathBuf {
    let root = node.path("image");
    for folder in ["proc", "sys", "dev", "etc/slash32", "run/slash32", "var/lib/slash32", "tmp"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for folder in ["opt/cni/bin", "etc/cni/net.d"] {
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
        let log = || podman.call("logs routed").unwrap_or_else(|error| error);
        assert!(Instant::now() < deadline, "{what}:\n{}", log());
        thread::sleep(Duration::from_millis(50));
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
