//! What must hold for any text in the place of `routed.toml`: shared by the fuzz target here and by
//! the tests that replay its corpus and make up more.
//!
//! Each check panics if its promise is broken.

use std::path::Path;

use routed::config::{Config, Fault, Place, diff};

/// Reads a text as a configuration; true if it is one. Every fault and warning has words, and a place
/// inside the text. What is read twice is the same, so that reloading it changes nothing.
pub(crate) fn reads(text: &str) -> bool {
    let (config, faults, warnings) = match parse(text) {
        Ok(loaded) => (Some(loaded.config), Vec::new(), loaded.warnings),
        Err(invalid) => {
            assert!(!invalid.faults.is_empty(), "{text}");
            let told = |fault: &Fault| (fault.place.clone(), fault.problem.to_string());
            (None, invalid.faults.iter().map(told).collect(), invalid.warnings)
        }
    };
    let warned = warnings.into_iter().map(|warning| (warning.place, warning.caution.to_string()));
    let lines = text.lines().count().max(1);
    for (place, words) in faults.into_iter().chain(warned) {
        told_in_its_place(&place, &words, lines);
    }
    if let Some(config) = &config {
        let again = parse(text).expect("it was read before").config;
        assert_eq!(diff::between(config, &again), [], "{text}");
    }
    config.is_some()
}

fn parse(text: &str) -> Result<routed::config::Loaded, routed::config::Invalid> {
    Config::parse(Path::new("/nonexistent/routed.toml"), text)
}

fn told_in_its_place(place: &Place, words: &str, lines: usize) {
    assert!(place.line.is_none_or(|line| (1..=lines + 1).contains(&line)), "{place:?} {words}");
    assert!(words.len() > 5, "{place:?} {words}");
}
