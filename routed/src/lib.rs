//! The parts of the node daemon; `main.rs` is its command line.

pub mod kernel;
