//! Fuzz target: what may happen on an unnumbered link (see `discovery::lives_through`).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../discovery.rs"]
mod discovery;

fuzz_target!(|input: &[u8]| discovery::lives_through(input));
