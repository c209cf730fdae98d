//! Fuzz target: a stream of octets as they come from a socket (see `checks::stream`).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks.rs"]
#[expect(dead_code, reason = "each target runs one of the checks")]
mod checks;

fuzz_target!(|input: &[u8]| checks::stream(input));
