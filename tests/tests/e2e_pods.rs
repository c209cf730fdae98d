//! Pods through the real plugin and the real daemon: every verb does what the runtime is told, the
//! kernel is afterwards as it was before, and whatever is wrong gets one document that says so and
//! changes nothing.
//!
//! Needs the binaries of the workspace, iproute2 and nftables; root or user namespaces.

use plugin::cni::code;
use serde_json::{Value, json};
use tests::fabric::runtime::{Call, configuration, make_netns, remove_netns};
use tests::fabric::{Fabric, eventually, kernel, routed};

const NODE: &str = "node1";

#[test]
fn add_check_del_do_what_they_say_and_leave_the_kernel_as_it_was() {
    let fabric = node();
    make_netns(&fabric, NODE, "c1");
    let before = kernel::state(&fabric, NODE);
    let pod_before = kernel::state(&fabric, "node1/c1");

    let result = Call::new(NODE, "ADD", "c1").run(&fabric).result();

    let with_pod = kernel::state(&fabric, NODE);
    let host_end = result["interfaces"][0]["name"].as_str().expect("a name").to_owned();
    for part in [&host_end, "10.244.11.1", "fd00:10:244:11::1"] {
        assert!(with_pod.contains(part), "{part} is not in the node's kernel:\n{with_pod}");
    }
    assert_eq!(result["ips"][0]["address"], "10.244.11.1/32");
    assert_eq!(result["ips"][1]["address"], "fd00:10:244:11::1/128");
    assert_eq!(result["interfaces"][1]["sandbox"], "/run/netns/c1");
    result_is_true(&fabric, &result);
    pods_are(&fabric, &["c1"]);
    let check = with_prev_result(&result);
    assert_eq!(
        Call::new(NODE, "CHECK", "c1").configured(&check).run(&fabric).result(),
        Value::Null
    );
    // ADD again is answered the same, and CHECK changes nothing.
    assert_eq!(Call::new(NODE, "ADD", "c1").run(&fabric).result(), result);
    kernel::is_still(&fabric, NODE, &with_pod);

    let del = Call::new(NODE, "DEL", "c1").configured(&check);
    assert_eq!(del.run(&fabric).result(), Value::Null);

    kernel::settles_to(&fabric, NODE, &before);
    kernel::is_still(&fabric, "node1/c1", &pod_before);
    pods_are(&fabric, &[]);
    let gone = Call::new(NODE, "CHECK", "c1").configured(&check).run(&fabric);
    assert!(gone.refusal(code::UNKNOWN_CONTAINER).contains("send ADD first"));
    // DEL of what is gone succeeds, with and without the namespace.
    assert_eq!(del.run(&fabric).result(), Value::Null);
    remove_netns(&fabric, NODE, "c1");
    assert_eq!(del.run(&fabric).result(), Value::Null);
    assert_eq!(del.with("CNI_NETNS", "").run(&fabric).result(), Value::Null);
}

/// The interface, addresses and routes are in the pod as the result says.
fn result_is_true(fabric: &Fabric, result: &Value) {
    let inside = |argv: &[&str]| fabric.ask_json("node1/c1", argv);
    let links = inside(&["ip", "-j", "address", "show", "dev", "eth0"]);
    assert_eq!(links[0]["address"], result["interfaces"][1]["mac"]);
    assert_eq!(links[0]["mtu"], result["interfaces"][1]["mtu"]);
    for ip in result["ips"].as_array().expect("a list") {
        let address = ip["address"].as_str().expect("an address");
        let held = links[0]["addr_info"].as_array().into_iter().flatten();
        let mut held = held.map(|info| {
            format!("{}/{}", info["local"].as_str().unwrap_or_default(), info["prefixlen"])
        });
        assert!(held.any(|other| other == address), "{address}: {links}");
    }
    for (family, gateway) in [("-4", "169.254.1.1"), ("-6", "fe80::1")] {
        let routes = inside(&["ip", "-j", family, "route", "show", "default"]);
        assert_eq!(routes[0]["gateway"], gateway, "{routes}");
    }
}

#[test]
fn result_has_the_form_of_the_version_that_the_conflist_names() {
    let fabric = node();
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let pod = format!("v{version}");
        make_netns(&fabric, NODE, &pod);
        let add = Call::new(NODE, "ADD", &pod).configured(&configuration(version).to_string());
        let result = add.run(&fabric).result();
        assert_eq!(result["cniVersion"], version);
        let new = version >= "1.0.0";
        assert_eq!(result["ips"][0]["version"], if new { Value::Null } else { json!("4") });
        assert_eq!(result["ips"][1]["version"], if new { Value::Null } else { json!("6") });
        assert_eq!(result["ips"][0]["gateway"], "169.254.1.1");
        let mtu = if version >= "1.1.0" { json!(1500) } else { Value::Null };
        assert_eq!(result["interfaces"][1]["mtu"], mtu, "{version}");
        let del = Call::new(NODE, "DEL", &pod).configured(&configuration(version).to_string());
        assert_eq!(del.run(&fabric).result(), Value::Null);
    }
    pods_are(&fabric, &[]);
}

#[test]
fn gc_and_status_and_version_are_served_by_the_real_daemon() {
    let fabric = node();
    let status = Call::new(NODE, "STATUS", "");
    eventually("ready", || status.run(&fabric).succeeded, |ready| *ready);
    for pod in ["c1", "c2"] {
        make_netns(&fabric, NODE, pod);
        let _ = Call::new(NODE, "ADD", pod).run(&fabric).result();
    }
    let mut valid = configuration("1.1.0");
    valid["cni.dev/valid-attachments"] = json!([{ "containerID": "c2", "ifname": "eth0" }]);
    let gc = Call::new(NODE, "GC", "").configured(&valid.to_string());
    assert_eq!(gc.run(&fabric).result(), Value::Null);
    pods_are(&fabric, &["c2"]);
    let version = Call::new(NODE, "VERSION", "").run(&fabric).result();
    assert_eq!(version["cniVersion"], "1.1.0");
}

#[test]
fn full_pool_is_named_with_its_remedy_and_a_freed_address_cools_down() {
    let fabric = Fabric::established(&topology("10.244.11.0/30", "fd00:10:244:11::/126"));
    for pod in ["c1", "c2", "c3"] {
        make_netns(&fabric, NODE, pod);
    }
    for pod in ["c1", "c2"] {
        let _ = Call::new(NODE, "ADD", pod).run(&fabric).result();
    }
    let before = kernel::state(&fabric, NODE);
    let pod_before = kernel::state(&fabric, "node1/c3");

    let refused = Call::new(NODE, "ADD", "c3").run(&fabric).refusal(code::POOL_EXHAUSTED);

    assert!(
        refused.contains("no free ipv4 address (pool default, ipv4 10.244.11.0/30: 2 of 2"),
        "{refused}"
    );
    assert!(refused.contains("add a prefix to the pool in routed.toml"), "{refused}");
    kernel::is_still(&fabric, NODE, &before);
    kernel::is_still(&fabric, "node1/c3", &pod_before);
    let pools = fabric.ask_json(NODE, &["routed", "show", "pools", "-o", "json"]);
    assert_eq!(pools[0]["prefix"], "10.244.11.0/30");
    assert_eq!((&pools[0]["leased"], &pools[0]["free"]), (&json!(2), &json!(0)), "{pools}");
    let _ = Call::new(NODE, "DEL", "c1").run(&fabric).result();
    let later = Call::new(NODE, "ADD", "c3").run(&fabric).refusal(code::TRY_AGAIN);
    assert!(later.contains("1 cooling down"), "{later}");
    assert!(later.contains("the next is free in "), "{later}");
}

#[test]
fn wrong_calls_get_one_document_with_the_specs_code_and_change_nothing() {
    let fabric = node();
    make_netns(&fabric, NODE, "c1");
    let before = kernel::state(&fabric, NODE);
    let pod_before = kernel::state(&fabric, "node1/c1");
    let add = || Call::new(NODE, "ADD", "c1");
    let conf = |key: &str, value: Value| {
        let mut conf = configuration("1.1.0");
        conf[key] = value;
        add().configured(&conf.to_string())
    };
    for (call, code, word) in [
        // The namespace.
        (
            add().with("CNI_NETNS", "/run/netns/no"),
            code::UNKNOWN_CONTAINER,
            "CNI_NETNS=/run/netns/no",
        ),
        (
            add().with("CNI_NETNS", "/proc/1/root/proc/self/ns/net"),
            code::INVALID_ENVIRONMENT,
            "CNI_NETNS is the host's own",
        ),
        (
            add().with("CNI_NETNS", "/etc/passwd"),
            code::INVALID_ENVIRONMENT,
            "CNI_NETNS cannot be entered",
        ),
        (
            add().with("CNI_NETNS", "/proc/self/ns/mnt"),
            code::INVALID_ENVIRONMENT,
            "CNI_NETNS cannot be entered",
        ),
        (add().with("CNI_NETNS", ""), code::INVALID_ENVIRONMENT, "CNI_NETNS is not set"),
        // The other variables.
        (add().with("CNI_IFNAME", "lo"), code::ALREADY_ATTACHED, "has an interface lo already"),
        (add().with("CNI_IFNAME", "much-too-long-a-name"), code::INVALID_ENVIRONMENT, "CNI_IFNAME"),
        (add().with("CNI_CONTAINERID", "../c1"), code::INVALID_ENVIRONMENT, "CNI_CONTAINERID"),
        (add().with("CNI_COMMAND", "UPDATE"), code::INVALID_ENVIRONMENT, "CNI_COMMAND"),
        // The conflist.
        (add().configured(""), code::DECODING_FAILURE, "conflist"),
        (add().configured(r#"{"cniVersion":"1.1.0","name":"sla"#), code::DECODING_FAILURE, "EOF"),
        (conf("cniVersion", json!("2.0.0")), code::INCOMPATIBLE_VERSION, "cniVersion"),
        (conf("name", json!("a network")), code::INVALID_CONFIG, "name"),
        (conf("mtu", json!(68)), code::INVALID_CONFIG, "mtu"),
        (conf("mtu", json!("1500")), code::DECODING_FAILURE, "1500"),
        (conf("socket", json!("cni.sock")), code::INVALID_CONFIG, "socket"),
        (conf("prevResult", json!({ "ips": 7 })), code::DECODING_FAILURE, "ips is no list"),
        (conf("pool", json!("no")), code::INVALID_CONFIG, "pools of this node are default"),
        (conf("ipam", json!({ "type": "no" })), code::INVALID_CONFIG, "CNI_PATH"),
        (
            conf("runtimeConfig", json!({ "ips": ["10.9.9.9/24"] })),
            code::ADDRESS_REFUSED,
            "10.244.11.0/24",
        ),
    ] {
        let details = call.run(&fabric).refusal(code);
        assert!(details.contains(word), "{call:?}: {details:?} has no {word:?}");
    }
    kernel::is_still(&fabric, NODE, &before);
    kernel::is_still(&fabric, "node1/c1", &pod_before);
    pods_are(&fabric, &[]);
    let _ = add().run(&fabric).result();
}

#[test]
fn without_a_daemon_del_succeeds_and_is_made_good_while_add_and_status_say_how_to_start_it() {
    let fabric = node();
    for pod in ["c1", "c2"] {
        make_netns(&fabric, NODE, pod);
    }
    let before = kernel::state(&fabric, NODE);
    let result = Call::new(NODE, "ADD", "c1").run(&fabric).result();
    fabric.kill(NODE).expect("the daemon dies");

    let add = Call::new(NODE, "ADD", "c2");
    let refused = add.run(&fabric).refusal(code::TRY_AGAIN);
    assert!(
        refused.contains("/run/slash32/cni.sock") && refused.contains("routed run"),
        "{refused}"
    );
    let status = Call::new(NODE, "STATUS", "");
    let refused = status.run(&fabric).refusal(code::NOT_AVAILABLE);
    assert!(refused.contains("routed run"), "{refused}");
    let check = Call::new(NODE, "CHECK", "c1").configured(&with_prev_result(&result));
    let _ = check.run(&fabric).refusal(code::TRY_AGAIN);
    let elsewhere = json!({
        "cniVersion": "1.1.0", "name": "slash32", "type": "slash32", "socket": "/run/no.sock",
    });
    let refused =
        add.clone().configured(&elsewhere.to_string()).run(&fabric).refusal(code::TRY_AGAIN);
    assert!(refused.contains("/run/no.sock"), "{refused}");
    assert_eq!(Call::new(NODE, "DEL", "c1").run(&fabric).result(), Value::Null);

    fabric.start(NODE).expect("the daemon starts");
    // The pod of the DEL is gone, of which the daemon only now hears; its address is free.
    kernel::settles_to(&fabric, NODE, &before);
    pods_are(&fabric, &[]);
    let owed = fabric.ask(NODE, &["ls", "/run/slash32/owed-detaches"]);
    assert_eq!(owed, "", "the note is gone");
    let _ = add.run(&fabric).result();
    pods_are(&fabric, &["c2"]);
}

#[test]
fn pods_outlive_a_killed_daemon_and_the_next_one_knows_them() {
    let fabric = node();
    make_netns(&fabric, NODE, "c1");
    let result = Call::new(NODE, "ADD", "c1").run(&fabric).result();
    let with_pod = kernel::state(&fabric, NODE);
    fabric.kill(NODE).expect("the daemon dies");
    fabric.pings(NODE, &["10.244.11.1", "fd00:10:244:11::1"]);

    fabric.start(NODE).expect("the daemon starts");

    pods_are(&fabric, &["c1"]);
    let check = Call::new(NODE, "CHECK", "c1").configured(&with_prev_result(&result));
    assert_eq!(check.run(&fabric).result(), Value::Null);
    kernel::is_still(&fabric, NODE, &with_pod);
}

#[test]
fn half_written_configuration_keeps_the_daemon_from_starting_and_names_the_place() {
    let fabric = node();
    let path = "/etc/slash32/routed.toml";
    let file = fabric.path_of(NODE, path).expect("a router's own file");
    let whole = std::fs::read_to_string(&file).expect("it is there");
    let half = &whole[..whole.find("router_id = ").expect("a key") + "router_id = \"10".len()];
    let line = half.lines().count();
    std::fs::write(&file, half).expect("it can be written");

    // The daemon that runs is not disturbed.
    make_netns(&fabric, NODE, "c1");
    let _ = Call::new(NODE, "ADD", "c1").run(&fabric).result();
    let check = fabric.exec(NODE, &["routed", "check"]).expect("testbed starts");
    assert_eq!(check.status.code(), Some(1));
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(said.contains(&format!("{path}:{line}")), "{said}");
    assert!(said.contains("was it written to its end?"), "{said}");
    let reload = fabric.exec(NODE, &["routed", "reload"]).expect("testbed starts");
    assert_eq!(reload.status.code(), Some(1));
    let said = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert!(said.contains("nothing has changed"), "{said}");
    assert!(said.contains(&format!("{path}:{line}")), "{said}");
    assert_eq!(routed::peer(&fabric, NODE, "tor1")["established_count"], 1);
    fabric.pings(NODE, &["10.244.11.1", "fd00:10:244:11::1"]);
    let refused = fabric.restart(NODE).expect_err("a daemon without configuration");
    let refused = format!("{refused:#}");
    assert!(refused.contains(&format!("{path}:{line}")), "{refused}");
    assert!(refused.contains("was it written to its end?"), "{refused}");
    fabric.pings(NODE, &["10.244.11.1", "fd00:10:244:11::1"]);

    std::fs::write(&file, whole).expect("it can be written");
    fabric.start(NODE).expect("the daemon starts");
    pods_are(&fabric, &["c1"]);
}

#[test]
fn metrics_and_health_tell_of_pods_and_peers() {
    let fabric = Fabric::established(&topology("10.244.11.0/24", "fd00:10:244:11::/64"));
    make_netns(&fabric, NODE, "c1");
    let _ = Call::new(NODE, "ADD", "c1").run(&fabric).result();
    let get = |path: &str| routed::http(&fabric, NODE, path);
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    eventually("ready", || get("/readyz"), |answer| answer.starts_with("HTTP/1.1 200"));
    let metrics = get("/metrics");
    for line in [
        "slash32_bgp_session_up{peer=\"tor1\",peer_asn=\"4200000001\"} 1",
        "slash32_cni_operation_duration_seconds_count{result=\"ok\",verb=\"add\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let tor1 = routed::peer(&fabric, NODE, "tor1");
    assert_eq!(tor1["state"], "Established");
}

/// A node with pod ranges below a ToR; its kernel has come to rest.
fn node() -> Fabric {
    Fabric::established(&topology("10.244.11.0/24", "fd00:10:244:11::/64"))
}

fn topology(ipv4: &str, ipv6: &str) -> String {
    format!(
        r#"
links = [["tor1", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["{ipv4}", "{ipv6}"]
"#
    )
}

/// Waits until the daemon knows exactly the pods of these container ids: DEL and GC are answered
/// before the last of a pod is gone.
fn pods_are(fabric: &Fabric, container_ids: &[&str]) {
    eventually(
        "the pods that the daemon knows",
        || -> Vec<String> {
            let pods = fabric.ask_json(NODE, &["routed", "show", "pods", "-o", "json"]);
            let pods = pods.as_array().into_iter().flatten();
            pods.filter_map(|pod| pod["container_id"].as_str().map(str::to_owned)).collect()
        },
        |seen| seen == container_ids,
    );
}

/// The configuration of CHECK and DEL: with what ADD has returned.
fn with_prev_result(result: &Value) -> String {
    let mut conf = configuration("1.1.0");
    conf["prevResult"] = result.clone();
    conf.to_string()
}
