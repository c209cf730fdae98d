//! The parts of the node daemon; `main.rs` is its command line.

pub mod admin;
mod announce;
pub mod bmp;
pub mod cleanup;
pub mod cni;
pub mod config;
pub mod convert;
mod deadline;
mod drain;
pub mod dump;
pub mod fib;
pub mod http;
pub mod inspect;
pub mod ipam;
pub mod kernel;
pub mod metrics;
pub mod mrt;
mod mtu;
pub mod node;
pub mod peering;
pub mod policy_test;
pub mod reload;
pub mod restart;
pub mod run;
pub mod show;
pub mod sources;
mod systemd;
