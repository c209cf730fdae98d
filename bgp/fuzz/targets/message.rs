//! Fuzz target: one message of any type and any body (see `checks::message`).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks.rs"]
#[expect(dead_code, reason = "each target runs one of the checks")]
mod checks;

fuzz_target!(|input: &[u8]| checks::message(input));
