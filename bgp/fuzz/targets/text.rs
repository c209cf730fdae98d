//! Fuzz target: a text as a value of every kind that has one (see `text::reads`).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../text.rs"]
mod text;

fuzz_target!(|input: &str| text::reads(input));
