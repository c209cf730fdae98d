//! What the daemons of a lab are told, compared with files that people can read.
//!
//! `UPDATE=1 cargo test -p testbed` rewrites the files; look at the difference before committing.

use std::path::{Path, PathBuf};

use super::*;

fn lab() -> Topology {
    Topology::parse(
        "golden.toml",
        r#"
        links = [["spine1", "tor1"], { ends = ["tor1", "node-1"], password = "s3cret" }]
        [[spines]]
        name = "spine1"
        asn = 4200000000
        networks = ["192.0.2.0/24", "2001:db8::/48"]
        [[tors]]
        name = "tor1"
        asn = 4200000001
        [[nodes]]
        name = "node-1"
        asn = 4200000011
        pods = ["10.244.1.0/24", "fd00:10:244:1::/64"]
        "#,
    )
    .unwrap()
}

fn file_of(setup: &Setup, path: &str) -> String {
    let found = setup.files.iter().find(|file| file.path == Path::new(path));
    found.unwrap_or_else(|| panic!("no {path} in {setup:#?}")).text.clone()
}

#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/speaker").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} differs:\n{text}", path.display());
}

fn rendered(runs: Runs, router: &str) -> Setup {
    let mut topology = lab();
    topology.set_fabric(runs);
    topology.set_nodes(runs);
    setup(&topology, topology.router(router).unwrap())
}

#[test]
fn routed_is_told_its_peers_pods_and_keys() {
    let node = rendered(Runs::Routed, "node-1");
    assert_golden("node.routed.toml", &file_of(&node, "/etc/slash32/routed.toml"));
    assert_eq!(file_of(&node, "/etc/slash32/tor1.key"), "s3cret\n");
    let spine = rendered(Runs::Routed, "spine1");
    assert_golden("spine.routed.toml", &file_of(&spine, "/etc/slash32/routed.toml"));
}

#[test]
fn bird_is_told_its_peers_and_networks() {
    let tor = rendered(Runs::Bird, "tor1");
    assert_golden("tor.bird.conf", &file_of(&tor, "/etc/bird/bird.conf"));
    let spine = rendered(Runs::Bird, "spine1");
    assert_golden("spine.bird.conf", &file_of(&spine, "/etc/bird/bird.conf"));
}

#[test]
fn frr_is_told_its_peers_and_networks() {
    let tor = rendered(Runs::Frr, "tor1");
    assert_golden("tor.frr.conf", &file_of(&tor, "/etc/frr/frr.conf"));
    let spine = rendered(Runs::Frr, "spine1");
    assert_golden("spine.frr.conf", &file_of(&spine, "/etc/frr/frr.conf"));
}

#[test]
fn a_route_server_and_its_clients_are_told_so() {
    for (runs, path, kind) in [
        (Runs::Routed, "/etc/slash32/routed.toml", "routed.toml"),
        (Runs::Bird, "/etc/bird/bird.conf", "bird.conf"),
        (Runs::Frr, "/etc/frr/frr.conf", "frr.conf"),
    ] {
        let mut topology = Topology::load("route-server").unwrap();
        topology.set_fabric(runs);
        topology.set_nodes(runs);
        for router in ["rs1", "node1"] {
            let setup = setup(&topology, topology.router(router).unwrap());
            assert_golden(&format!("{router}.{kind}"), &file_of(&setup, path));
        }
    }
}

#[test]
fn routers_on_an_unnumbered_link_are_told_of_their_interface() {
    for (runs, path, name) in [
        (Runs::Routed, "/etc/slash32/routed.toml", "unnumbered.routed.toml"),
        (Runs::Bird, "/etc/bird/bird.conf", "unnumbered.bird.conf"),
        (Runs::Frr, "/etc/frr/frr.conf", "unnumbered.frr.conf"),
    ] {
        let mut topology = Topology::load("unnumbered").unwrap();
        topology.set_fabric(runs);
        let setup = setup(&topology, topology.router("tor1").unwrap());
        assert_golden(name, &file_of(&setup, path));
    }
}

#[test]
fn a_speaker_of_the_same_as_is_a_reflector() {
    let mut topology = Topology::load("route-server").unwrap();
    for router in &mut topology.routers {
        router.asn = 64512;
    }
    let text = |topology: &Topology, path: &str| {
        file_of(&setup(topology, topology.router("rs1").unwrap()), path)
    };
    assert!(text(&topology, "/etc/slash32/routed.toml").contains("route_reflector_client = true"));
    topology.set_fabric(Runs::Bird);
    assert!(text(&topology, "/etc/bird/bird.conf").contains("rr client;"));
    topology.set_fabric(Runs::Frr);
    assert!(text(&topology, "/etc/frr/frr.conf").contains("10.2.0.2 route-reflector-client"));
}

#[test]
fn a_topologys_own_words_replace_or_follow_the_generated_ones() {
    let mut topology = lab();
    topology.set_fabric(Runs::Bird);
    topology.routers[0].config = Some("# all mine\n".into());
    topology.routers[1].extra_config = Some("# and this\n".into());
    let spine = setup(&topology, &topology.routers[0]);
    assert_eq!(file_of(&spine, "/etc/bird/bird.conf"), "# all mine\n");
    let tor = file_of(&setup(&topology, &topology.routers[1]), "/etc/bird/bird.conf");
    assert!(tor.contains("protocol bgp spine1") && tor.ends_with("# and this\n"), "{tor}");
}

#[test]
fn a_topologys_own_file_wins_over_a_generated_one() {
    let mut topology = lab();
    let path = PathBuf::from("/etc/cni/net.d/10-slash32.conflist");
    topology.routers[2].files.insert(path.clone(), "broken".into());
    let node = setup(&topology, &topology.routers[2]);
    let all: Vec<&File> = node.files.iter().filter(|file| file.path == path).collect();
    assert_eq!(all, [&File { path, text: "broken".into() }]);
}

#[test]
fn a_program_of_ones_own_is_started_as_written() {
    let mut topology = lab();
    topology.set_fabric(Runs::None);
    topology.routers[0].command =
        ["/opt/x/gobgpd", "-f", "/etc/gobgpd.toml"].map(String::from).into();
    let spine = setup(&topology, &topology.routers[0]);
    assert_eq!(spine.programs[0].name, "gobgpd");
    assert_eq!(spine.programs[0].argv, ["/opt/x/gobgpd", "-f", "/etc/gobgpd.toml"]);
    let idle = setup(&topology, &topology.routers[1]);
    assert_eq!(idle.programs, []);
}

#[test]
fn sessions_are_read_from_each_daemons_own_words() {
    let bird = "BIRD 2.0.12 ready.\n\
        Name       Proto      Table      State  Since         Info\n\
        kernel4    Kernel     master4    up     04:46:14.882  \n\
        tor1       BGP        ---        up     04:46:14.882  Established   \n\
        tor2       BGP        ---        start  04:46:14.882  Active        Socket: Connection refused\n";
    let found = sessions(Runs::Bird, bird);
    assert_eq!(found.len(), 2);
    assert!(found[0].established && !found[1].established);
    assert_eq!(found[1].state, "Active Socket: Connection refused");

    let frr = r#"{"ipv4Unicast":{"peers":{"10.1.0.1":{"state":"Established"},"10.1.0.3":{"state":"Idle"}}}}"#;
    let found = sessions(Runs::Frr, frr);
    let told: Vec<(&str, bool)> =
        found.iter().map(|session| (&session.peer[..], session.established)).collect();
    assert_eq!(told, [("10.1.0.1", true), ("10.1.0.3", false)]);

    assert_eq!(sessions(Runs::Frr, "% not running"), []);
}

#[test]
fn all_daemons_watch_their_neighbours_and_restart_gracefully_where_the_topology_says_so() {
    let text = |runs, path| {
        let mut topology = lab();
        topology.bfd = Some(crate::topology::Bfd { interval: 50, multiplier: 4 });
        topology.set_fabric(runs);
        let spine = topology.routers.iter_mut().find(|router| router.name == "spine1").unwrap();
        spine.graceful_restart = true;
        let setup = setup(&topology, topology.router("spine1").unwrap());
        let argv: Vec<_> = setup.programs.iter().flat_map(|program| program.argv.clone()).collect();
        file_of(&setup, path) + &argv.join(" ")
    };
    let has = |text: String, parts: &[&str]| {
        parts.iter().for_each(|part| assert!(text.contains(part), "no {part:?} in {text}"));
    };
    let routed = ["[peers.bfd]\n", "transmit_interval = 50\n", "detect_multiplier = 4\n"];
    has(text(Runs::Routed, "/etc/slash32/routed.toml"), &routed);
    let bird =
        ["interval 50 ms; multiplier 4;", "bfd on;", "graceful restart on;", "persist;", " -R"];
    has(text(Runs::Bird, "/etc/bird/bird.conf"), &bird);
    let frr = [
        "detect-multiplier 4\n  receive-interval 50",
        "bfd profile fabric",
        "bgp graceful-restart\n",
        "zebra -u root -g root --log stdout -r -K 120",
        "bfdd",
    ];
    has(text(Runs::Frr, "/etc/frr/frr.conf"), &frr);
}
