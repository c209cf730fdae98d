//! An API server that is slow, does not answer, refuses, or has another clock: sessions stay, pods
//! are added, nothing that nodes have is taken down, and what was missed is made up for.
//!
//! Needs the binaries of the workspace, BIRD 2, iproute2, faketime and the programs of the API server; root.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use plugin::cni::code;
use serde_json::{Value, json};
use tests::{
    fabric::{eventually, runtime::make_netns},
    rack::{NODES, Rack, addresses},
    relay::Fate,
};

const POOL: &str = "apiVersion: slash32.dev/v1alpha1\nkind: IPPool\nmetadata: {name: pods}\n\
                    spec: {cidr: 10.244.0.0/16}\n";

/// How often each node's session with its ToR was established.
fn established(rack: &Rack) -> [Value; 2] {
    NODES.map(|node| {
        let peers = rack.fabric.ask_json(node, &["routed", "show", "peers", "-o", "json"]);
        json!([peers[0]["state"], peers[0]["established_count"]])
    })
}

/// All stands as it did: no session has ended, and the ToR has what it had.
fn stands(rack: &Rack, blocks: &[Vec<String>; 2]) {
    let once = json!(["Established", 1]);
    assert_eq!(established(rack), [once.clone(), once]);
    let has_all = |seen: &[Vec<String>; 2]| {
        seen.iter().zip(blocks).all(|(seen, before)| before.iter().all(|it| seen.contains(it)))
    };
    let now = rack.tor_has("anything", |_| true);
    assert!(has_all(&now), "{now:?} lacks some of {blocks:?}");
}

/// Makes the objects of pods, and waits until their node knows them; their UIDs.
fn known<const N: usize>(rack: &Rack, names: [&str; N]) -> [String; N] {
    let before = rack.show("node1")["pods"].as_u64().expect("a count");
    let uids = names.map(|name| rack.create_pod("node1", name, &json!({})));
    let wanted = before + u64::try_from(N).expect("a few");
    eventually("they are known", || rack.show("node1"), |shown| shown["pods"] == wanted);
    uids
}

/// Has a pod started as often as a kubelet would until it runs; how often it was told to try again.
fn runs(rack: &Rack, node: &str, name: &str, uid: &str) -> u32 {
    make_netns(&rack.fabric, node, name);
    let (begun, mut delayed) = (Instant::now(), 0);
    loop {
        let outcome = rack.add_again(node, name, uid);
        if outcome.succeeded {
            assert_eq!(addresses(&outcome.result()).len(), 1);
            return delayed;
        }
        assert!(begun.elapsed() < PATIENCE, "{name}: {:#}", outcome.document);
        let _ = outcome.refusal(code::TRY_AGAIN);
        delayed += 1;
        thread::sleep(Duration::from_millis(500));
    }
}

fn watches(rack: &Rack) {
    for node in NODES {
        eventually("it watches", || rack.show(node), |shown| shown["watched_seconds"].is_u64());
    }
}

#[test]
fn an_api_server_that_is_slow_or_refuses_ends_no_session_and_keeps_no_pod_waiting() {
    let rack = Rack::in_the_clear(POOL);
    let has_block = |seen: &[Vec<String>; 2]| seen.iter().all(|of| !of.is_empty());
    let blocks = rack.tor_has("a block from each", has_block);
    watches(&rack);
    let uids = known(&rack, ["early", "stalled", "busy", "broken"]);
    assert_eq!(runs(&rack, "node1", "early", &uids[0]), 0);
    stands(&rack, &blocks);

    rack.line.set(Fate::Late(Duration::from_millis(800)));
    let uid = rack.create_pod("node1", "slow", &json!({}));
    let delayed = runs(&rack, "node1", "slow", &uid);
    eprintln!("slow: told to try again {delayed} times");
    stands(&rack, &blocks);

    // Nothing comes, and nothing ends: as behind a router that is gone. Longer than a hold time.
    rack.line.set(Fate::Stalls);
    assert_eq!(runs(&rack, "node1", "stalled", &uids[1]), 0);
    let late = rack.create_pod("node1", "late", &json!({}));
    make_netns(&rack.fabric, "node1", "late");
    let _ = rack.add_again("node1", "late", &late).refusal(code::TRY_AGAIN);
    thread::sleep(Duration::from_secs(15));
    stands(&rack, &blocks);
    rack.line.set(Fate::Passes);
    eventually("it comes", || rack.add_again("node1", "late", &late), |it| it.succeeded);

    for (status, known) in [(429, 2), (500, 3)] {
        let name = ["", "", "busy", "broken"][known];
        rack.line.set(Fate::Answers(status));
        eventually(
            "it is missed",
            || rack.show("node1"),
            |shown| {
                let text = shown["last_error"].as_str().unwrap_or_default();
                shown["watched_seconds"].is_null() && text.contains(&format!("({status})"))
            },
        );
        assert_eq!(runs(&rack, "node1", name, &uids[known]), 0);
        let unknown = format!("unknown{status}");
        let uid = rack.create_pod("node2", &unknown, &json!({}));
        runs(&rack, "node2", &unknown, &uid);
        thread::sleep(Duration::from_secs(5));
        stands(&rack, &blocks);
        rack.line.set(Fate::Passes);
        watches(&rack);
    }
    // What was missed is made up for.
    let uid = rack.create_pod("node2", "after", &json!({}));
    assert_eq!(runs(&rack, "node2", "after", &uid), 0);
    eventually(
        "all is reported",
        || rack.show("node1")["unreported"].clone(),
        |it| *it == json!([]),
    );
    stands(&rack, &blocks);
}

#[test]
fn nodes_whose_clocks_differ_from_the_api_servers_by_an_hour_work() {
    let mut rack = Rack::in_the_clear(POOL);
    let has_block = |seen: &[Vec<String>; 2]| seen.iter().all(|of| !of.is_empty());
    let blocks = rack.tor_has("a block from each", has_block);
    let uid = rack.create_pod("node1", "before", &json!({}));
    assert_eq!(runs(&rack, "node1", "before", &uid), 0);
    // What is preloaded makes the API server an hour slow for one, and an hour fast for the other.
    let library = format!("LD_PRELOAD={}", library().display());
    for (node, offset) in [("node1", "FAKETIME=+3600"), ("node2", "FAKETIME=-3600")] {
        rack.restart_in(node, &[&library, offset, "FAKETIME_DONT_FAKE_MONOTONIC=1"]);
    }
    watches(&rack);
    let _ = rack.tor_has("what it had", |seen| {
        seen.iter().zip(&blocks).all(|(seen, before)| before.iter().all(|it| seen.contains(it)))
    });
    for (number, node) in NODES.iter().enumerate() {
        let name = format!("pod{number}");
        let uid = rack.create_pod(node, &name, &json!({}));
        runs(&rack, node, &name, &uid);
        let status = || -> Value {
            let said = rack.cluster.kubectl(&["get", "bgpns", node, "-o", "json"]);
            serde_json::from_str(&said.out).unwrap_or_default()
        };
        let form = "jsonpath={.metadata.creationTimestamp}";
        let created = rack.cluster.get(&["get", "pod", &name, "-o", form]);
        let is_off = |status: &Value| {
            let updated = status["status"]["lastUpdated"].as_str().unwrap_or_default();
            let is_later = updated > created.as_str();
            status["status"]["establishedCount"] == 1 && is_later == (number == 0)
        };
        eventually("it reports, by its own clock", status, is_off);
    }
    // One of them leads, whatever time the Lease says it was renewed; the other one lets it.
    let leader = |rack: &Rack| NODES.map(|node| rack.show(node)["leads"].clone());
    let leads = |seen: &[Value; 2]| seen.iter().filter(|leads| **leads == true).count() == 1;
    let first = eventually("one leads", || leader(&rack), leads);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(25) {
        thread::sleep(Duration::from_secs(1));
        assert_eq!(leader(&rack), first);
    }
    stands(&rack, &blocks);
}

/// What makes programs with threads see another time: Debian's package faketime.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("a folder").flatten().map(|entry| entry.path());
    let mut files = folders
        .chain([Path::new("/usr/lib").to_owned()])
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.is_file()).expect("apt-get install faketime")
}

/// Of waiting that only a fault makes longer.
const PATIENCE: Duration = Duration::from_secs(60);
