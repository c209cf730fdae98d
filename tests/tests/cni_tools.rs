//! `routed pod` and `routed cleanup` on a real node.

use serde_json::{Value, json};
use tests::{
    node::{Pod, on_a_node, program, try_run},
    runtime::{Attachment, Runtime},
};

const DUAL: &str = "ipv4 = [\"10.244.1.0/24\"]\nipv6 = [\"fd00:10:244:1::/64\"]\ncooldown = 0\n";

#[test]
fn pod_is_shown_from_both_sides_whatever_it_is_called_and_without_a_daemon() {
    on_a_node(DUAL, |node| {
        let plugins = json!([{"type": "slash32", "socket": node.path("cni.sock")}]);
        let network = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": plugins});
        let mut runtime = Runtime::default();
        let pod = Pod::new("0f3a55aa");
        let attachment = Attachment {
            args: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0",
            ..Attachment::new(&network, &pod, "eth0")
        };
        let result = runtime.add(&attachment).unwrap();
        let host_end = result["interfaces"][0]["name"].as_str().unwrap().to_owned();
        // A process in the pod, by which its namespace is found.
        let mut process = node.start_inside(&pod, "sleep 100");
        let process_id = process.id().to_string();
        node.ping(None, "10.244.1.1".parse().unwrap()).unwrap();
        for name in [
            "web-0",
            "default/web-0",
            "0f3a55aa",
            "0f3a",
            "10.244.1.1",
            "fd00:10:244:1::1",
            &host_end,
            &process_id,
        ] {
            let shown =
                node.routed(&format!("pod {name}")).unwrap_or_else(|e| panic!("{name}: {e}"));
            for part in [
                "eth0 of default/web-0, network pods, container 0f3a55aa",
                "/ns/net)",
                "route      10.244.1.1/32 dev s32",
                "neighbour  fd00:10:244:1::1 at ",
                "rules      may send from 10.244.1.1, fd00:10:244:1::1",
                "address    fd00:10:244:1::1/128",
                "route      0.0.0.0/0 via 169.254.1.1 dev eth0",
                "neighbour  fe80::1 at ee:ee:ee:ee:ee:ee permanent",
                "host routes      ok",
                "addresses        ok",
                "lease            ok",
            ] {
                assert!(shown.contains(part), "{name}: {part}: {shown}");
            }
        }
        let json: Value = serde_json::from_str(&node.routed("pod web-0 -o json").unwrap()).unwrap();
        assert_eq!(json[0]["checks"].as_array().unwrap().len(), 14);

        node.inside(&pod, "ip -6 route delete default").unwrap();
        let shown = node.routed("pod web-0").unwrap_err();
        assert!(shown.contains("host routes      ok"), "{shown}");
        assert!(shown.contains("the pod has no default ipv6 route via fe80::1"), "{shown}");
        let unknown = node.routed("pod web-1").unwrap_err();
        assert!(unknown.contains("there are 1 (default/web-0)"), "{unknown}");

        node.kill();
        // With a daemon it would be there again at once.
        node.run("ip route delete 10.244.1.1/32");
        let shown = node.routed("pod web-0").unwrap_err();
        assert!(shown.contains("host routes      the host has no route 10.244.1.1/32"), "{shown}");
        assert!(shown.contains("lease            not compared"), "{shown}");
        assert!(shown.contains("pair             ok"), "{shown}");
        process.kill().unwrap();
        process.wait().unwrap();
    });
}

#[test]
fn cleanup_removes_all_that_is_ours_and_nothing_else_with_the_daemon_down() {
    on_a_node(DUAL, |node| {
        let plugins = json!([{"type": "slash32", "socket": node.path("cni.sock")}]);
        let network = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": plugins});
        // What others have, much like ours.
        for command in [
            "ip link add s32stranger type veth peer name stranger",
            "ip link set s32stranger up",
            "ip link set stranger up",
            "ip route add 10.99.0.0/24 dev s32stranger",
            "ip route add 10.98.0.0/24 dev s32stranger proto bird",
            "nft add table inet other",
            "nft add table ip slash32",
        ] {
            node.run(command);
        }
        let mut runtime = Runtime::default();
        let pods = ["a", "b"].map(Pod::new);
        for pod in &pods {
            runtime.add(&Attachment::new(&network, pod, "eth0")).unwrap();
        }
        let config = node.path("routed.toml");
        let cleanup = |more: &str| {
            let command = format!(
                "{} cleanup --config {} {more}",
                program("routed").display(),
                config.display()
            );
            try_run(&command)
        };
        let refused = cleanup("").unwrap_err();
        assert!(refused.contains("routed is running"), "{refused}");
        node.kill();
        let before = node.state();
        let listed = cleanup("--dry-run").unwrap();
        assert_eq!(node.state(), before);
        for part in [
            "route 10.244.1.1/32 proto 133",
            "route 10.244.1.0/24 proto 132",
            "interface s32",
            "nftables table inet slash32",
            "leases",
        ] {
            assert!(
                listed.contains(&format!("would remove {part}")) || listed.contains(part),
                "{part}: {listed}"
            );
        }
        let removed = cleanup("").unwrap();
        assert_eq!(removed.matches("removed interface").count(), 2, "{removed}");
        let routes = node.run("ip -o route show table all");
        for part in ["10.244.1", "proto 132", "proto 133"] {
            assert!(!routes.contains(part), "{routes}");
        }
        assert!(!node.run("ip -6 -o route show table all").contains("fd00:10:244:1"));
        assert!(routes.contains("10.99.0.0/24") && routes.contains("10.98.0.0/24"), "{routes}");
        assert_eq!(node.run("ip -o link").lines().count(), 3);
        assert_eq!(node.run("nft list tables"), "table inet other\ntable ip slash32\n");
        assert!(!node.path("leases").exists() && !node.path("cni.sock").exists());
        assert_eq!(cleanup("").unwrap(), "nothing of ours is here\n");
    });
}
