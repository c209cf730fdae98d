//! The plugin among others: chains of Debian's real plugins, several networks and interfaces a pod,
//! IPAM plugins, called as libcni does, against the real daemon and kernel.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    node::{Node, Pod, on_a_node},
    runtime::{Attachment, Runtime},
};

const DUAL: &str = "ipv4 = [\"10.244.1.0/24\"]\nipv6 = [\"fd00:10:244:1::/64\"]\ncooldown = 0\n";

/// A conflist that begins with ours; `keys` are added to our entry.
fn network(node: &Node, name: &str, version: &str, keys: &Value, others: &[Value]) -> Value {
    let mut ours = json!({
        "type": "slash32",
        "socket": node.path("cni.sock"),
        "capabilities": {"ips": true, "mac": true},
    });
    ours.as_object_mut().unwrap().extend(keys.as_object().cloned().unwrap_or_default());
    let mut plugins = vec![ours];
    plugins.extend_from_slice(others);
    json!({"cniVersion": version, "name": name, "plugins": plugins})
}

fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().unwrap();
    ips.iter()
        .map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn portmap_bandwidth_tuning_and_firewall_follow_and_all_are_content() {
    on_a_node(DUAL, |node| {
        let before = node.state();
        let others = [
            json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}),
            json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}),
            json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}),
            json!({"type": "firewall"}),
        ];
        let network = network(node, "pods", "1.0.0", &json!({}), &others);
        let mut runtime = Runtime::default();
        let pod = Pod::new("a");
        let capabilities = json!({
            "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
            "bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 8_000_000,
                          "egressRate": 8_000_000, "egressBurst": 8_000_000},
        });
        let attachment = Attachment { capabilities, ..Attachment::new(&network, &pod, "eth0") };
        let result = runtime.add(&attachment).unwrap();
        // CHECK of portmap 1.1.1 looks for rules of one family among those of the other.
        let mut checked = network.clone();
        checked["plugins"].as_array_mut().unwrap().remove(1);
        runtime.check(&Attachment { network: &checked, ..attachment.clone() }).unwrap();
        for address in addresses(&result) {
            node.ping(None, address).unwrap();
        }
        assert_eq!(node.inside(&pod, "cat /proc/sys/net/core/somaxconn").unwrap().trim(), "500");
        node.serve(&pod, 80);
        assert!(node.is_greeted("192.0.2.1:8080".parse().unwrap()), "through portmap");
        let host_end = result["interfaces"][0]["name"].as_str().unwrap().to_owned();
        let shaping = node.run(&format!("tc qdisc show dev {host_end}"));
        assert!(shaping.contains("tbf"), "{shaping}");
        runtime.del(&attachment).unwrap();
        runtime.del(&attachment).unwrap();
        assert!(!node.is_greeted("192.0.2.1:8080".parse().unwrap()));
        node.settles_to(&before);
    });
}

#[test]
fn every_version_of_results_is_understood_by_the_next_plugin() {
    on_a_node(DUAL, |node| {
        let before = node.state();
        let portmap = [json!({"type": "portmap", "capabilities": {"portMappings": true}})];
        for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0"] {
            let network = network(node, "pods", version, &json!({}), &portmap);
            let mut runtime = Runtime::default();
            let pod = Pod::new("a");
            let capabilities = json!({
                "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
            });
            let attachment = Attachment { capabilities, ..Attachment::new(&network, &pod, "eth0") };
            let result = runtime.add(&attachment).unwrap_or_else(|e| panic!("{version}: {e}"));
            assert_eq!(result["cniVersion"], version);
            assert_eq!(addresses(&result).len(), 2);
            node.serve(&pod, 80);
            assert!(node.is_greeted("192.0.2.1:8080".parse().unwrap()), "{version}");
            runtime.del(&attachment).unwrap();
            node.settles_to(&before);
        }
    });
}

#[test]
fn behind_another_plugin_both_results_are_given_and_checked() {
    on_a_node(DUAL, |node| {
        use std::os::unix::fs::PermissionsExt;
        // A plugin that makes an interface of another name, as an SR-IOV or macvlan one would.
        let first = node.path("first");
        let script = r#"#!/bin/sh
[ "$CNI_COMMAND" = ADD ] || exit 0
echo '{"cniVersion":"1.0.0","interfaces":[{"name":"vf0","sandbox":"'$CNI_NETNS'","pciID":"0000:01"}],'\
'"ips":[{"address":"198.51.100.2/24","interface":0}],"dns":{"nameservers":["198.51.100.53"]}}'
"#;
        std::fs::write(&first, script).unwrap();
        std::fs::set_permissions(&first, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut network = network(node, "pods", "1.0.0", &json!({}), &[]);
        let plugins = network["plugins"].as_array_mut().unwrap();
        plugins.insert(0, json!({"type": first}));
        let mut runtime = Runtime::default();
        let pod = Pod::new("a");
        let attachment = Attachment::new(&network, &pod, "eth0");
        let result = runtime.add(&attachment).unwrap();
        let names: Vec<_> =
            result["interfaces"].as_array().unwrap().iter().map(|i| i["name"].clone()).collect();
        assert_eq!((names.len(), &names[0], &names[2]), (3, &json!("vf0"), &json!("eth0")));
        assert_eq!(result["interfaces"][0]["pciID"], "0000:01");
        assert_eq!(result["dns"]["nameservers"][0], "198.51.100.53");
        assert_eq!(result["ips"][1]["interface"], 2);
        runtime.check(&attachment).unwrap();
        node.ping(None, addresses(&result)[1]).unwrap();
        runtime.del(&attachment).unwrap();
    });
}

#[test]
fn several_networks_of_one_pod_are_kept_apart() {
    let pools = format!("{DUAL}[[pods.pools]]\nname = \"storage\"\nipv4 = [\"10.245.1.0/24\"]\n");
    on_a_node(&pools, |node| {
        let before = node.state();
        let first = network(node, "pods", "1.1.0", &json!({}), &[]);
        let routes = json!([{"dst": "10.64.0.0/10"}]);
        let keys = json!({"pool": "storage", "routes": routes});
        let second = network(node, "storage", "1.1.0", &keys, &[]);
        let mut runtime = Runtime::default();
        let [a, b] = ["a", "b"].map(Pod::new);
        let of =
            |pod| [Attachment::new(&first, pod, "eth0"), Attachment::new(&second, pod, "net1")];
        let mut results = vec![];
        for pod in [&a, &b] {
            for attachment in of(pod) {
                results.push(runtime.add(&attachment).unwrap());
                runtime.check(&attachment).unwrap();
            }
        }
        assert_eq!(addresses(&results[1]), ["10.245.1.1".parse::<IpAddr>().unwrap()]);
        for address in results.iter().flat_map(addresses) {
            node.ping(None, address).unwrap();
        }
        // Between pods over the second network, whose answers take the same way.
        node.ping(Some(&a), "10.245.1.2".parse().unwrap()).unwrap();
        let routes = node.inside(&a, "ip -4 route").unwrap();
        assert_eq!(routes.matches("default").count(), 1, "{routes}");
        assert!(routes.contains("10.64.0.0/10 via 169.254.1.1 dev net1"), "{routes}");
        // A runtime that has forgotten b's second interface collects it, and nothing else.
        runtime.forget(&of(&b)[1]);
        runtime.gc(&second).unwrap();
        runtime.gc(&first).unwrap();
        // The pair goes a moment after the answer.
        let deadline = Instant::now() + Duration::from_secs(30);
        while node.inside(&b, "ip link show net1").is_ok() {
            assert!(Instant::now() < deadline, "net1 is left");
            thread::sleep(Duration::from_millis(5));
        }
        for attachment in [&of(&a)[0], &of(&a)[1], &of(&b)[0]] {
            runtime.check(attachment).unwrap();
        }
        // Of one network only that is removed.
        runtime.del(&of(&a)[1]).unwrap();
        runtime.check(&of(&a)[0]).unwrap();
        runtime.del(&of(&a)[0]).unwrap();
        runtime.del(&of(&b)[0]).unwrap();
        runtime.status(&first).unwrap();
        node.settles_to(&before);
    });
}

#[test]
fn interface_of_another_main_plugin_stands_beside_ours() {
    on_a_node(DUAL, |node| {
        let before = node.state();
        let data = node.path("host-local");
        let ptp = json!({"cniVersion": "1.0.0", "name": "other", "plugins": [
            {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.250.0.0/24",
             "dataDir": data, "routes": [{"dst": "0.0.0.0/0"}]}},
        ]});
        // It has the default route, which only the operator can know.
        let ours = network(node, "pods", "1.0.0", &json!({"defaultRoute": false}), &[]);
        let mut runtime = Runtime::default();
        let pod = Pod::new("a");
        let [other, own] =
            [Attachment::new(&ptp, &pod, "eth0"), Attachment::new(&ours, &pod, "net1")];
        runtime.add(&other).unwrap();
        let result = runtime.add(&own).unwrap();
        node.ping(None, addresses(&result)[0]).unwrap();
        runtime.check(&own).unwrap();
        runtime.check(&other).unwrap();
        // The same name twice is the runtime's mistake, and is told so.
        let twice = Attachment::new(&ours, &pod, "eth0");
        let error = runtime.add(&twice).unwrap_err();
        assert!(error["details"].as_str().unwrap().contains("interface eth0 already"), "{error}");
        runtime.check(&other).unwrap();
        runtime.del(&own).unwrap();
        runtime.del(&other).unwrap();
        node.settles_to(&before);
    });
}

#[test]
fn addresses_and_mac_can_be_asked_for_by_capability_and_by_arguments() {
    on_a_node(DUAL, |node| {
        let network = network(node, "pods", "1.0.0", &json!({}), &[]);
        let mut runtime = Runtime::default();
        let [a, b, c] = ["a", "b", "c"].map(Pod::new);
        let capabilities = json!({
            "ips": ["10.244.1.77/24", "fd00:10:244:1::77"], "mac": "02:00:5e:10:00:01",
        });
        let asked = Attachment { capabilities, ..Attachment::new(&network, &a, "eth0") };
        let result = runtime.add(&asked).unwrap();
        let [four, six] =
            ["10.244.1.77", "fd00:10:244:1::77"].map(|a| a.parse::<IpAddr>().unwrap());
        assert_eq!(addresses(&result), [four, six]);
        assert_eq!(result["interfaces"][1]["mac"], "02:00:5e:10:00:01");
        runtime.check(&asked).unwrap();
        node.ping(None, four).unwrap();
        let taken = Attachment {
            args: "IgnoreUnknown=1;IP=10.244.1.77",
            ..Attachment::new(&network, &b, "eth0")
        };
        let error = runtime.add(&taken).unwrap_err();
        assert!(error["details"].as_str().unwrap().contains("leased to pods/a/eth0"), "{error}");
        let free = Attachment {
            args: "IP=10.244.1.78;MAC=02:00:5e:10:00:02",
            ..Attachment::new(&network, &c, "eth0")
        };
        let result = runtime.add(&free).unwrap();
        assert_eq!(addresses(&result)[0], "10.244.1.78".parse::<IpAddr>().unwrap());
        assert_eq!(result["interfaces"][1]["mac"], "02:00:5e:10:00:02");
    });
}

#[test]
fn damage_that_tuning_does_by_changing_the_mac_is_named_by_check() {
    on_a_node(DUAL, |node| {
        let tuning = json!({"type": "tuning", "mac": "02:00:5e:10:00:09"});
        let network = network(node, "pods", "1.0.0", &json!({}), &[tuning]);
        let mut runtime = Runtime::default();
        let pod = Pod::new("a");
        let attachment = Attachment::new(&network, &pod, "eth0");
        runtime.add(&attachment).unwrap();
        let error = runtime.check(&attachment).unwrap_err();
        let details = error["details"].as_str().unwrap();
        assert!(details.contains("at 02:00:5e:10:00:09 is missing on the host"), "{error}");
    });
}

#[test]
fn host_local_and_static_can_choose_the_addresses() {
    on_a_node(DUAL, |node| {
        let before = node.state();
        let data = node.path("host-local");
        let ipam = json!({"ipam": {"type": "host-local", "dataDir": data, "ranges": [
            [{"subnet": "10.250.0.0/30"}], [{"subnet": "fd00:250::/64"}],
        ]}});
        let network_a = network(node, "a", "1.0.0", &ipam, &[]);
        let mut runtime = Runtime::default();
        let [a, b, c] = ["a", "b", "c"].map(Pod::new);
        let first = Attachment::new(&network_a, &a, "eth0");
        let result = runtime.add(&first).unwrap();
        assert_eq!(result["ips"][0]["address"], "10.250.0.2/32");
        assert_eq!(addresses(&result).len(), 2);
        for address in addresses(&result) {
            node.ping(None, address).unwrap();
        }
        runtime.check(&first).unwrap();
        // 10.250.0.1 is host-local's gateway, so its range is full.
        let full = Attachment::new(&network_a, &b, "eth0");
        let error = runtime.add(&full).unwrap_err();
        assert!(error["msg"].as_str().unwrap().contains("host-local"), "{error}");
        runtime.del(&first).unwrap();
        // A daemon that refuses gives the address back to the other.
        let refused = network(
            node,
            "a",
            "1.0.0",
            &json!({"ipam": ipam["ipam"], "mtu": 1280, "routes":
            [{"dst": "10.0.0.0/8"}], "pool": "unknown"}),
            &[],
        );
        let error = runtime.add(&Attachment::new(&refused, &b, "eth0")).unwrap_err();
        assert!(error["details"].as_str().unwrap().contains("no pool"), "{error}");
        runtime.add(&full).unwrap();
        runtime.del(&full).unwrap();

        let ipam = json!({"ipam": {"type": "static", "addresses": [{"address": "10.251.0.9/24"}],
            "routes": [{"dst": "10.9.0.0/16"}], "dns": {"domain": "example"}}});
        let network_c = network(node, "c", "1.0.0", &ipam, &[]);
        let third = Attachment::new(&network_c, &c, "eth0");
        let result = runtime.add(&third).unwrap();
        assert_eq!(result["ips"][0]["address"], "10.251.0.9/32");
        assert_eq!(result["dns"]["domain"], "example");
        let routes = node.inside(&c, "ip route").unwrap();
        assert!(routes.contains("10.9.0.0/16 via 169.254.1.1"), "{routes}");
        runtime.check(&third).unwrap();
        runtime.del(&third).unwrap();
        node.settles_to(&before);
    });
}

#[test]
fn del_with_the_daemon_dead_succeeds_and_is_settled_when_it_is_back() {
    on_a_node(DUAL, |node| {
        let before = node.state();
        let network = network(node, "pods", "1.1.0", &json!({}), &[]);
        let mut runtime = Runtime::default();
        let [a, b] = ["a", "b"].map(Pod::new);
        let [first, second] = [&a, &b].map(|pod| Attachment::new(&network, pod, "eth0"));
        runtime.add(&first).unwrap();
        runtime.add(&second).unwrap();
        node.kill();
        assert_eq!(runtime.status(&network).unwrap_err()["code"], 50);
        assert_eq!(runtime.add(&Attachment::new(&network, &a, "eth1")).unwrap_err()["code"], 11);
        runtime.del(&first).unwrap();
        node.start();
        // The same id again, at once: what is owed comes first.
        let again = runtime.add(&first).unwrap();
        runtime.check(&first).unwrap();
        runtime.check(&second).unwrap();
        assert_eq!(addresses(&again).len(), 2);
        runtime.del(&first).unwrap();
        runtime.del(&second).unwrap();
        node.settles_to(&before);
        assert_eq!(std::fs::read_dir(node.path("owed-detaches")).unwrap().count(), 0);
    });
}

#[test]
fn leases_are_shown_and_compared_with_kernel_and_journal() {
    on_a_node(DUAL, |node| {
        let network = network(node, "pods", "1.1.0", &json!({}), &[]);
        let mut runtime = Runtime::default();
        let [a, b] = ["a", "b"].map(Pod::new);
        let [first, second] = [&a, &b].map(|pod| Attachment::new(&network, pod, "eth0"));
        runtime.add(&first).unwrap();
        let result = runtime.add(&second).unwrap();
        runtime.del(&first).unwrap();
        let check = format!("ipam check --journal {}", node.path("leases").display());
        assert_eq!(node.routed(&check).unwrap(), "leases, interfaces and journal agree\n");
        let leases = node.routed("show leases").unwrap();
        let words = |line| leases.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(1)[..3], ["10.244.1.1", "idle", "for"], "{leases}");
        assert_eq!(words(2), ["10.244.1.2", "leased", "eth0", "pods", "b"], "{leases}");
        let blocks = node.routed("show blocks").unwrap();
        assert!(blocks.contains("10.244.1.0/26"), "{blocks}");

        // The kernel's alias is changed, and the journal lost.
        let host_end = result["interfaces"][0]["name"].as_str().unwrap();
        let alias = node.run(&format!("ip -j link show {host_end}"));
        let alias: Value = serde_json::from_str(&alias).unwrap();
        let alias = alias[0]["ifalias"].as_str().unwrap().replace("10.244.1.2", "10.244.1.9");
        std::fs::write(format!("/sys/class/net/{host_end}/ifalias"), &alias).unwrap();
        std::fs::remove_file(node.path("leases")).unwrap();
        let found = node.routed(&check).unwrap_err();
        for part in [
            "10.244.1.2 is leased to pods/b/eth0, which has no interface",
            "pods/b/eth0 on this host has 10.244.1.9, which the daemon has leased to nobody",
            "cannot be used",
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
        let alias = alias.replace("10.244.1.9", "10.244.1.2");
        std::fs::write(format!("/sys/class/net/{host_end}/ifalias"), &alias).unwrap();
        let fixed = node.routed(&format!("{check} --fix")).unwrap();
        assert_eq!(fixed, "leases, interfaces and journal agree\n");
        runtime.check(&second).unwrap();
    });
}
