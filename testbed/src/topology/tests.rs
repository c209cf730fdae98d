//! What a topology file becomes, and what is said about a bad one.

use super::*;

const PAIR: &str = r#"
    links = [["tor1", "node1"]]
    [[tors]]
    name = "tor1"
    asn = 4200000001
    [[nodes]]
    name = "node1"
    asn = 4200000011
    pods = ["10.244.1.0/24", "fd00:10:244:1::/64"]
"#;

fn parse(text: &str) -> Result<Topology, TopologyError> {
    Topology::parse("test.toml", text)
}

/// All faults of a file, as printed.
fn faults(text: &str) -> Vec<String> {
    match parse(text) {
        Err(TopologyError::Faulty { faults, .. }) => {
            faults.iter().map(ToString::to_string).collect()
        }
        Ok(_) => Vec::new(),
        Err(other) => panic!("not even read: {other}"),
    }
}

/// [`PAIR`] with one piece of text replaced.
fn pair_with(from: &str, to: &str) -> String {
    assert!(PAIR.contains(from), "{from} is not in the text");
    PAIR.replace(from, to)
}

#[test]
fn every_built_in_topology_is_fine() {
    for name in Topology::built_in() {
        if let Err(error) = Topology::load(name) {
            panic!("{error}");
        }
    }
}

#[test]
fn open_addresses_are_given_in_the_order_of_the_file() {
    let topology = Topology::load("two-racks").unwrap();
    let end = |from: &str, to: &str| {
        let found = topology.neighbours(from).find(|found| found.far.router == to);
        let near = found.expect("they are linked").near;
        let addresses = near.addresses.expect("the link is numbered");
        (near.ifname.clone(), addresses.ipv4.to_string(), addresses.ipv6.to_string())
    };
    let expected = |a: &str, b: &str, c: &str| (a.into(), b.into(), c.into());
    assert_eq!(end("spine1", "tor1"), expected("tor1", "10.1.0.0/31", "fd00:1::/127"));
    assert_eq!(end("tor1", "spine1"), expected("spine1", "10.1.0.1/31", "fd00:1::1/127"));
    assert_eq!(end("rack2-node2", "tor2"), expected("tor2", "10.1.0.19/31", "fd00:1:0:9::1/127"));
}

#[test]
fn loopbacks_come_from_the_pools_unless_written() {
    let topology = parse(PAIR).unwrap();
    let node = topology.router("node1").unwrap();
    let written: Vec<String> = node.loopback.iter().map(ToString::to_string).collect();
    assert_eq!(written, ["10.0.0.2/32", "fd00::2/128"]);
    assert_eq!(node.router_id.to_string(), "10.0.0.2");
}

#[test]
fn the_first_address_of_a_network_answers_on_lo() {
    let topology = Topology::load("two-racks").unwrap();
    let spine = topology.router("spine1").unwrap();
    let lo: Vec<String> = spine.lo_addresses().map(|address| address.to_string()).collect();
    assert_eq!(lo, ["10.0.0.100/32", "fd00::100/128", "192.0.2.1/32", "2001:db8::1/128"]);
}

#[test]
fn a_link_can_say_more_than_its_ends() {
    let text = pair_with(
        r#"["tor1", "node1"]"#,
        r#"{ ends = ["tor1", "node1"], ipv4 = "192.168.0.0/31", ipv6 = "fd99::/127", password = "s3cret", mtu = 9000 }"#,
    );
    let topology = parse(&text).unwrap();
    let link = &topology.links[0];
    let addresses: Vec<_> = link.ends[1].addresses.iter().flat_map(Addresses::iter).collect();
    let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["192.168.0.1/31", "fd99::1/127"]);
    assert_eq!((link.password.as_deref(), link.mtu), (Some("s3cret"), 9000));
}

#[test]
fn an_unnumbered_link_has_no_addresses_and_nothing_that_needs_some() {
    let link = |more: &str| {
        let table = format!(r#"{{ ends = ["tor1", "node1"], unnumbered = true{more} }}"#);
        pair_with(r#"["tor1", "node1"]"#, &table)
    };
    let topology = parse(&link("")).unwrap();
    assert!(topology.ends("node1").all(|end| end.addresses.is_none()));
    assert_eq!(topology.neighbours("node1").count(), 1);
    for key in [r#"ipv4 = "192.168.0.0/31""#, r#"ipv6 = "fd99::/127""#, r#"password = "x""#] {
        let error = parse(&link(&format!(", {key}"))).unwrap_err().to_string();
        let place = format!("links[0].{}: an unnumbered link", key.split(' ').next().unwrap());
        assert!(error.contains(&place), "{error}");
    }
}

#[test]
fn members_of_a_lan_peer_with_its_hub_or_with_each_other() {
    let mut topology = Topology::load("route-server").unwrap();
    let peers = |topology: &Topology, name: &str| {
        let found = topology.neighbours(name).map(|found| found.router.name.clone());
        found.collect::<Vec<_>>()
    };
    assert_eq!(peers(&topology, "rs1"), ["node1", "node2"]);
    assert_eq!(peers(&topology, "node2"), ["rs1"]);
    topology.lans[0].hub = None;
    assert_eq!(peers(&topology, "node2"), ["rs1", "node1"]);
    let ends: Vec<&End> = topology.ends("node2").collect();
    assert_eq!(ends.len(), 1);
    let ipv4 = ends[0].addresses.map(|addresses| addresses.ipv4.to_string());
    assert_eq!((&ends[0].ifname[..], ipv4.as_deref()), ("lan1", Some("10.2.0.3/24")));
}

#[test]
fn faults_of_a_lan_are_told() {
    let lan = |name: &str, members: &str, ipv4: &str| {
        let text = format!(
            "{PAIR}\n[[lans]]\nname = \"{name}\"\nipv4 = \"{ipv4}\"\nipv6 = \"fd00:2::/64\"\n\
             members = {members}\nhub = \"tor1\"\n"
        );
        faults(&text)
    };
    assert_eq!(lan("lan1", r#"["tor1", "node1"]"#, "10.2.0.0/24"), [""; 0]);
    for (name, members, ipv4, fault) in [
        ("tor1", r#"["tor1", "node1"]"#, "10.2.0.0/24", "lans[0].name: \"tor1\" cannot name a LAN"),
        ("lan1", r#"["tor1"]"#, "10.2.0.0/24", "lans[0].members: a LAN joins two"),
        ("lan1", r#"["tor1", "tor1"]"#, "10.2.0.0/24", "lans[0].members[1]: \"tor1\" is a member"),
        (
            "lan1",
            r#"["tor1", "node9"]"#,
            "10.2.0.0/24",
            "lans[0].members[1]: \"node9\" is no router",
        ),
        ("lan1", r#"["node1", "node9"]"#, "10.2.0.0/24", "lans[0].hub: \"tor1\" is no member"),
        (
            "lan1",
            r#"["tor1", "node1"]"#,
            "10.2.0.0/31",
            "lans[0].ipv4: the pool 10.2.0.0/31 is used",
        ),
        ("lan1", r#"["tor1", "node1"]"#, "10.244.0.0/16", "lans[0].ipv4: 10.244.0.0/16 overlaps"),
    ] {
        let faults = lan(name, members, ipv4);
        assert!(faults.iter().any(|told| told.starts_with(fault)), "no {fault:?} in {faults:#?}");
    }
}

#[test]
fn other_software_drops_configuration_written_for_the_former() {
    let text = pair_with("asn = 4200000001", "asn = 4200000001\nconfig = \"# mine\"");
    let mut topology = parse(&text).unwrap();
    topology.set_fabric(Runs::Routed);
    assert_eq!(topology.router("tor1").unwrap().config.as_deref(), Some("# mine"));
    topology.set_fabric(Runs::Bird);
    assert_eq!(topology.router("tor1").unwrap().config, None);
    assert_eq!(topology.router("node1").unwrap().runs, Runs::Routed);
}

#[test]
fn all_faults_are_told_at_once_each_with_its_place() {
    let text = r#"
        links = [
          ["tor1", "node1"],
          ["node1", "tor1"],
          ["tor1", "tor1"],
          ["tor1", "elsewhere"],
        ]
        [[tors]]
        name = "tor1"
        asn = 0
        pods = ["10.244.9.0/24"]
        [[nodes]]
        name = "Node 1"
        asn = 64512
        loopback = ["10.0.0.9/24"]
        pods = ["10.244.1.7/24"]
    "#;
    let faults = faults(text);
    for part in [
        "tors[0].asn: AS number 0",
        "tors[0].pods: only nodes have pods",
        "nodes[0].name: \"Node 1\" cannot name",
        "nodes[0].loopback[0]: 10.0.0.9/24 is not a single address",
        "nodes[0].pods[0]: 10.244.1.7/24 has bits set beyond its length; write 10.244.1.0/24",
        "links[1]: node1 and tor1 are linked already, by links[0]",
        "links[2]: both ends are \"tor1\"",
        "links[3]: \"elsewhere\" is no router of this file",
        "links: \"Node 1\" has no link",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(part)), "no {part:?} in {faults:#?}");
    }
}

#[test]
fn overlapping_addresses_are_refused() {
    let twice = pair_with("fd00:10:244:1::/64", "10.244.0.0/16");
    assert_eq!(
        faults(&twice),
        ["nodes[0].pods[1]: 10.244.0.0/16 overlaps 10.244.1.0/24 of nodes[0].pods[0]; \
          give each its own"]
    );
    // An open link address never lands on a written one.
    let text = pair_with("10.244.1.0/24", "10.1.0.0/24");
    assert_eq!(faults(&text).len(), 1);
}

#[test]
fn a_pool_that_is_too_small_is_told() {
    let text = format!("loopback_ipv4 = \"10.0.0.0/31\"\n{PAIR}");
    assert_eq!(
        faults(&text)[0],
        "nodes[0].loopback: the pool 10.0.0.0/31 is used up; write a larger one"
    );
}

#[test]
fn link_prefixes_must_be_point_to_point() {
    let text = pair_with(
        r#"["tor1", "node1"]"#,
        r#"{ ends = ["tor1", "node1"], ipv4 = "192.168.0.0/30", ipv6 = "fd99::/64" }"#,
    );
    let faults = faults(&text);
    assert!(faults[0].starts_with("links[0].ipv4: 192.168.0.0/30 is not a point-to-point"));
    assert!(faults[1].starts_with("links[0].ipv6: fd99::/64 is not a point-to-point"));
}

#[test]
fn files_stay_within_what_a_router_has_for_itself() {
    for path in ["/usr/bin/ls", "/etc", "/etc/../root/x", "etc/x"] {
        let text = pair_with(
            "asn = 4200000001",
            &format!("asn = 4200000001\nfiles = {{ \"{path}\" = \"x\" }}"),
        );
        assert_eq!(faults(&text).len(), 1, "{path} was let through");
    }
    let text = pair_with(
        "asn = 4200000001",
        "asn = 4200000001\nfiles = { \"/etc/gobgp/gobgpd.toml\" = \"x\" }",
    );
    assert_eq!(faults(&text), [""; 0]);
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    for (from, to) in [
        ("asn = 4200000001", "asn = 4200000001\nspeed = 3"),
        (r#"["tor1", "node1"]"#, r#"{ ends = ["tor1", "node1"], speed = 3 }"#),
    ] {
        let Err(error) = parse(&pair_with(from, to)) else { panic!("taken as fine") };
        let text = error.to_string();
        assert!(text.contains("unknown field `speed`") && text.contains("line"), "{text}");
    }
}

#[test]
fn a_link_of_three_names_is_refused() {
    let Err(error) = parse(&pair_with(r#""node1"]"#, r#""node1", "node2"]"#)) else {
        panic!("taken as fine")
    };
    assert!(error.to_string().contains("two router names"), "{error}");
}

#[test]
fn bfd_is_no_quicker_than_all_daemons_can() {
    let bfd = |bfd: &str| pair_with("links", &format!("bfd = {{ {bfd} }}\nlinks"));
    assert_eq!(parse(&bfd("interval = 50, multiplier = 3")).unwrap().bfd.unwrap().interval, 50);
    for wrong in ["interval = 49, multiplier = 3", "interval = 50, multiplier = 1"] {
        let told = faults(&bfd(wrong));
        assert_eq!(told, ["bfd: use an interval of at least 50 ms and a multiplier of at least 2"]);
    }
}
