//! Fuzz target: a text in the place of `routed.toml` (see `configuration::reads`).

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

#[path = "../configuration.rs"]
mod configuration;

fuzz_target!(|input: &str| -> Corpus {
    // Files that the text names are read; those of a machine are none of its business.
    if input.contains("password_file") {
        return Corpus::Reject;
    }
    let _ = configuration::reads(input);
    Corpus::Keep
});
