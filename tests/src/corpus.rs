//! The seeds of the fuzz targets, replayed without a fuzzer: what once broke something stays tried
//! on every run.

use std::{fs, path::Path};

/// Runs a check on every seed of a target, of which there are at least so many; the name of a failing
/// one is in the output.
///
/// # Panics
///
/// If the corpus is not there or too small, besides what the check does.
pub fn replay(target: &str, least: usize, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bgp/fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).expect("the corpus is part of the source");
    let mut seeds: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    seeds.sort();
    assert!(seeds.len() >= least, "too few seeds in {}", folder.display());
    for seed in seeds {
        println!("{}", seed.display());
        check(&fs::read(&seed).expect("readable"));
    }
}
