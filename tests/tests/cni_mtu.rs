//! Pods get the MTU that the ways to the peers have, and the log names ways that do not fit together.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    node::{Node, Pod, on_a_node},
    runtime::{Attachment, Runtime},
};

const CONFIG: &str = "ipv4 = [\"10.244.1.0/26\"]\n\
    [[peers]]\nname = \"tor1\"\naddress = \"10.1.0.1\"\nasn = 4200000001\n\
    [[peers]]\nname = \"tor2\"\naddress = \"10.2.0.1\"\nasn = 4200000002\n";

/// The MTU that a new pod gets, as the result and as the pod have it.
fn of_a_new_pod(node: &Node, network: &Value) -> u64 {
    let pod = Pod::new("a");
    let attachment = Attachment::new(network, &pod, "eth0");
    let mut runtime = Runtime::default();
    let result = runtime.add(&attachment).unwrap();
    runtime.check(&attachment).unwrap();
    let told = result["interfaces"][1]["mtu"].as_u64().unwrap();
    assert!(node.inside(&pod, "ip link show eth0").unwrap().contains(&format!("mtu {told} ")));
    runtime.del(&attachment).unwrap();
    told
}

fn becomes(node: &Node, network: &Value, mtu: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = of_a_new_pod(node, network);
        if now == mtu {
            return;
        }
        assert!(Instant::now() < deadline, "{now} instead of {mtu}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn new_pods_get_the_smallest_mtu_of_the_ways_to_the_peers() {
    on_a_node(CONFIG, |node| {
        let network = json!({
            "cniVersion": "1.1.0", "name": "pods",
            "plugins": [{"type": "slash32", "socket": node.path("cni.sock")}],
        });
        // Nobody knows better: there is no way to the peers.
        assert_eq!(of_a_new_pod(node, &network), 1500);
        let fabric = Pod::new("fabric");
        for number in [1, 2] {
            node.run(&format!(
                "ip link add up{number} mtu 9000 type veth peer name tor{number} mtu 9000 netns {}",
                fabric.netns_path()
            ));
            node.run(&format!("ip address add 10.{number}.0.0/31 dev up{number}"));
            node.run(&format!("ip link set up{number} up"));
            node.inside(&fabric, &format!("ip link set tor{number} up")).unwrap();
        }
        becomes(node, &network, 9000);
        assert!(!node.log().contains("different MTUs"), "{}", node.log());

        node.run("ip link set up2 mtu 1400");
        becomes(node, &network, 1400);
        let named = "9000 on up1 to tor1, 1400 on up2 to tor2); new pods get 1400";
        assert!(node.log().contains(named), "{}", node.log());

        // What the conflist says counts more.
        let mut own = network.clone();
        own["plugins"][0]["mtu"] = json!(1300);
        assert_eq!(of_a_new_pod(node, &own), 1300);

        // A route can say what is behind the interface.
        node.run("ip link set up2 mtu 9000");
        node.run("ip route add 10.2.0.1/32 dev up2 mtu 8000");
        becomes(node, &network, 8000);

        // The first pod after a start as well.
        node.kill();
        node.start();
        assert_eq!(of_a_new_pod(node, &network), 8000);
    });
}
