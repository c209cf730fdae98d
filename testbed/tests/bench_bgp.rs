//! The benchmark as people run it, in miniature: scenarios end with every route told.

#![expect(clippy::unwrap_used, reason = "a test that cannot look fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn scenarios_come_to_figures_for_relay_and_routed() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("results.json");
    let output = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args([
            "bench",
            "bgp",
            "--scenario",
            "A,B,C",
            "--scale",
            "0.001",
            "--runs",
            "1",
            "--bin-dir",
        ])
        .arg(bin_dir())
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));

    let results: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let sections = results["sections"].as_array().unwrap();
    assert_eq!(sections.len(), 3);
    for section in sections {
        for speaker in ["relay", "routed"] {
            let runs = &section["speakers"][speaker];
            assert_eq!(runs["failures"].as_array().unwrap().len(), 0, "{section}");
            assert!(!runs["values"].as_object().unwrap().is_empty(), "{section}");
        }
    }
    assert!(text.contains("routed : relay"), "{text}");
}

#[test]
fn a_rival_that_is_not_installed_is_named_with_its_package() {
    let output = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["bench", "bgp", "--rival", "gobgp", "--bin-dir"])
        .arg(bin_dir())
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("no program gobgpd; install it (Debian: apt-get install gobgpd)"));
}

fn bin_dir() -> PathBuf {
    std::env::var_os("SLASH32_BIN_DIR").map_or_else(
        || Path::new(env!("CARGO_BIN_EXE_testbed")).parent().unwrap().to_owned(),
        PathBuf::from,
    )
}
