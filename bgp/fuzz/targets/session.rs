//! Fuzz target: a session and everything that can happen to it (see `session::lives_through`).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../session.rs"]
mod session;

fuzz_target!(|input: &[u8]| session::lives_through(input));
