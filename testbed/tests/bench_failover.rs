//! The failover benchmark as people run it, in miniature: planned work loses no packet, a cut is seen
//! and counted, and after faults at random everything is in its place.
//!
//! Needs root or user namespaces, BIRD, FRR and nftables.

#![expect(clippy::unwrap_used, reason = "a test that cannot look fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

#[test]
fn restarts_and_drains_below_bird_and_frr_lose_no_packet() {
    let scenarios = "restart,kill,drain-tor,drain-node";
    for tor in ["bird", "frr"] {
        let arguments =
            ["--scenario", scenarios, "--node", "routed", "--tor", tor, "--bfd", "1000"];
        let results = measured(&arguments);
        let steps = steps(&results);
        for scenario in scenarios.split(',') {
            assert!(steps.contains_key(scenario), "{steps:?}");
        }
        for (step, contenders) in steps {
            let of_routed = &contenders[0][1];
            assert!(number(&of_routed["sent"]) > 10_000.0, "{step}: {of_routed}");
            for count in ["lost", "duplicates"] {
                assert_eq!(number(&of_routed[count]), 0.0, "{tor}, {step}: {count} {of_routed}");
            }
        }
    }
}

#[test]
fn dead_tor_costs_packets_until_bfd_has_seen_it_and_not_one_more_second() {
    let arguments =
        ["--scenario", "tor-death", "--node", "routed,bird", "--tor", "bird", "--bfd", "300"];
    let results = measured(&arguments);
    let contenders = &steps(&results)["tor-death"];
    assert_eq!(contenders.as_array().unwrap().len(), 2, "{contenders}");
    for contender in contenders.as_array().unwrap() {
        let gap = number(&contender[1]["gap"]);
        // BFD takes 600 to 900 ms; the hold time would be 9 s, and watching ends after 3.
        assert!((300.0..3000.0).contains(&gap), "{contender}");
        assert!(number(&contender[1]["lost"]) > 0.0, "{contender}");
    }
    let goals = results["goals"].as_array().unwrap();
    let beside = |goal: &&Value| goal["name"].as_str().unwrap().contains("gap to BIRD's");
    assert!(goals.iter().any(|goal| beside(&goal)), "{goals:?}");
}

#[test]
fn faults_at_random_leave_everything_in_its_place() {
    let output = bench(&["--soak", "12", "--seed", "7", "--routes", "200", "--tor", "bird"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("seed 7: everything is in its place"), "{text}");
}

/// What one run with ten routes writes as JSON.
fn measured(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("results.json");
    let more = ["--routes", "10", "--runs", "1", "--json", json.to_str().unwrap()];
    let output = bench(&[arguments, &more].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let results: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    for section in results["sections"].as_array().unwrap() {
        assert_eq!(section["failures"].as_array().unwrap().len(), 0, "{section}");
    }
    results
}

fn steps(results: &Value) -> &serde_json::Map<String, Value> {
    assert_eq!(results["sections"].as_array().unwrap().len(), 1, "{results}");
    results["sections"][0]["steps"].as_object().unwrap()
}

/// The figure of the only run.
fn number(figures: &Value) -> f64 {
    assert_eq!(figures.as_array().unwrap().len(), 1, "{figures}");
    figures[0].as_f64().unwrap()
}

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.args(["bench", "failover"]).args(arguments).arg("--bin-dir").arg(bin_dir());
    command.output().unwrap()
}

fn bin_dir() -> PathBuf {
    match std::env::var_os("SLASH32_BIN_DIR") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_BIN_EXE_testbed")).parent().unwrap().to_owned(),
    }
}
