//! The parts of the node daemon; `main.rs` is its command line.

pub mod config;
pub mod kernel;
pub mod peering;
