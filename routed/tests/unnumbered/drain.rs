//! A router that is drained by its operator, as its neighbour sees it.

use std::fs;

use serde_json::Value;

use crate::lab::{Host, pair, text, until};

const PEER: &str = "[[peers]]\ninterface = \"eth1\"\n";
const RANGES: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];

fn routed(host: &Host, arguments: &str) -> std::process::Output {
    host.try_run(env!("CARGO_BIN_EXE_routed"), &format!("{arguments} --socket admin.sock"))
}

/// Whether each range of `a` carries GRACEFUL_SHUTDOWN at its neighbour.
fn marked(b: &Host) -> [Option<bool>; 2] {
    let routes = b.show("routes");
    RANGES.map(|range| {
        let rows = routes.as_array().into_iter().flatten();
        let path = rows.into_iter().find(|row| row["prefix"] == range)?["paths"][0].clone();
        let communities = path["attributes"]["communities"].as_array()?.clone();
        Some(communities.iter().any(|community| text(community) == "graceful-shutdown"))
    })
}

fn edit(host: &Host, change: impl Fn(String) -> String) {
    let file = host.path("routed.toml");
    fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
}

#[test]
fn rfc8326_4_a_drain_outlasts_reloads_sessions_and_the_daemon_until_it_is_ended() {
    let (mut a, mut b) = pair();
    a.routed(1, PEER);
    b.routed(2, PEER);
    until("announced", || marked(&b) == [Some(false); 2]);

    let drained = routed(&a, "drain --wait");
    assert!(drained.status.success(), "{drained:?}");
    // What was taken may still be on its way through the neighbour.
    until("marked", || marked(&b) == [Some(true); 2]);
    let shown = routed(&a, "show peers");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("this router is drained"), "{shown:?}");
    assert_eq!(a.peer()["drained"], true);
    assert_eq!(b.peer()["drained"], false);

    // Another configuration, and another session.
    edit(&a, |file| file.replace("hold_time = 9", "hold_time = 12"));
    assert!(routed(&a, "reload").status.success());
    until("back", || a.is_established() && a.peer()["hold_time"] == 9);
    until("still marked", || marked(&b) == [Some(true); 2]);

    // Another run of the daemon.
    a.kill();
    let program = env!("CARGO_BIN_EXE_routed");
    a.start(program, "routed2", &["run", "--config", "routed.toml", "--log", "debug"]);
    until("back", || a.is_established() && b.is_established());
    until("still marked", || marked(&b) == [Some(true); 2]);
    assert!(a.log("routed2").contains("`routed undrain` ends it"));

    // One that the file wants as well cannot be ended by hand.
    edit(&a, |file| file.replace("hold_time = 12", "hold_time = 12\ndrain = true"));
    assert!(routed(&a, "reload").status.success());
    let refused = routed(&a, "undrain");
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("bgp.drain = true; remove it, then `routed reload`"), "{why}");
    edit(&a, |file| file.replace("drain = true\n", ""));
    assert!(routed(&a, "reload").status.success());
    assert_eq!(a.peer()["drained"], true);

    let before = a.peer()["established_count"].clone();
    assert!(routed(&a, "undrain --wait 20").status.success());
    until("no longer marked", || marked(&b) == [Some(false); 2]);
    assert_eq!(
        (&a.peer()["drained"], &a.peer()["established_count"]),
        (&Value::from(false), &before)
    );
    assert!(!a.path("admin.drain").exists());
}

#[test]
fn what_a_neighbour_keeps_of_a_router_that_stops_depends_on_how() {
    for (how, kept) in [("--graceful", true), ("--withdraw", false), ("--drain --settle 1", false)]
    {
        let (mut a, mut b) = pair();
        a.routed(1, PEER);
        b.routed(2, PEER);
        until("announced", || marked(&b) == [Some(false); 2]);
        let kernel = a.ip("route show proto 132");
        let stopped = routed(&a, &format!("stop {how}"));
        assert!(stopped.status.success(), "{how}: {stopped:?}");
        assert_eq!(a.ip("route show proto 132"), kernel, "{how}: kernel routes stay");
        if kept {
            until("noticed", || !b.is_established());
            assert_eq!(marked(&b), [Some(false); 2], "{how}");
        } else {
            until("withdrawn", || marked(&b) == [None; 2]);
            assert!(b.log("routed").contains("Administrative Shutdown"), "{how}");
        }
        if how.starts_with("--drain") {
            let told = String::from_utf8_lossy(&stopped.stdout).into_owned();
            assert!(told.starts_with("drained: every peer with a session has been told"), "{told}");
        }
    }
}
