//! The benchmarks run, measure what they say and leave nothing; the figures are nobody's business here.
//!
//! `cni` needs root, and the programs of the workspace where `SLASH32_BIN_DIR` says or beside the tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot look fails")]

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

fn bin_dir() -> PathBuf {
    let given = std::env::var_os("SLASH32_BIN_DIR").map(PathBuf::from);
    // target/debug/deps/TEST
    given.unwrap_or_else(|| std::env::current_exe().unwrap().ancestors().nth(2).unwrap().into())
}

fn bench(arguments: &[&str]) -> (bool, String, String) {
    let bin_dir = bin_dir();
    let output = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["bench", "cni", "--bin-dir"])
        .arg(&bin_dir)
        .arg("--plugin")
        .arg(bin_dir.join("slash32"))
        .arg("--floor")
        .arg(bin_dir.join("cni-floor"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

const SMALL: &[&str] = &["--pods", "4", "--reference-pods", "2", "--rounds", "2"];

#[test]
fn every_contender_is_measured_under_all_conditions() {
    let (good, text, errors) =
        bench(&[SMALL, &["--callers", "1,3", "--present", "0,5", "-o", "json"]].concat());
    assert!(good, "{errors}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 8, "{text}");
    for cell in cells {
        for verb in ["add", "check", "del"] {
            for (who, count) in [("slash32", 8), ("floor", 8)] {
                assert_eq!(cell[who][verb]["count"], count, "{who} {verb} in {cell}");
                let p50 = cell[who][verb]["p50_us"].as_f64().unwrap();
                assert!(p50 > 0.0 && p50 <= cell[who][verb]["p99_us"].as_f64().unwrap(), "{cell}");
                assert!(cell[who][verb]["per_second"].as_f64().unwrap() > 0.0, "{cell}");
            }
        }
        let alone = cell["callers"] == 1;
        assert_eq!(cell["kernel"].is_object(), alone, "{cell}");
        assert!(!alone || cell["kernel"]["add"]["count"] == 8, "{cell}");
        let (ipv4, reference) = (cell["families"] == "ipv4", &cell["reference"]);
        assert!(!ipv4 || reference["add"]["count"] == 4, "{cell}");
        assert!(ipv4 || reference.is_null(), "{cell}");
        assert_eq!(cell["removal"]["pods"], 8, "{cell}");
    }
    assert!(report["daemon"][1]["resident"].as_u64().unwrap() > 1 << 20, "{text}");
    let goals = report["goals"].as_array().unwrap();
    assert!(goals.iter().any(|goal| goal["name"].as_str().unwrap().contains("ptp")), "{text}");
}

#[test]
fn the_table_has_a_row_for_each_contender() {
    let (good, text, errors) = bench(&[SMALL, &["--present", "0", "--callers", "1"]].concat());
    assert!(good, "{errors}");
    for who in ["slash32", "ptp", "floor", "kernel"] {
        assert!(text.lines().any(|line| line.starts_with(who)), "{who} in {text}");
    }
}

#[test]
fn a_missing_program_is_named_with_the_remedy() {
    let output = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["bench", "cni", "--plugin", "/nonexistent/slash32"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let remedy = "/nonexistent/slash32 is not there; run ./testbed/run bench cni";
    assert!(!output.status.success() && errors.contains(remedy), "{errors}");
    let (good, _, errors) = bench(&["--callers", "0"]);
    assert!(!good && errors.contains("--callers"), "{errors}");
}
