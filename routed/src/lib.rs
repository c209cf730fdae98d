//! The parts of the node daemon; `main.rs` is its command line.

pub mod admin;
mod announce;
pub mod bmp;
pub mod cleanup;
#[cfg(feature = "kubernetes")]
pub mod cluster;
pub mod cni;
pub mod config;
pub mod convert;
mod deadline;
mod drain;
pub mod dump;
pub mod fib;
pub mod http;
pub mod inspect;
pub mod install;
pub mod ipam;
pub mod kernel;
pub mod manifest;
pub mod metrics;
pub mod mrt;
mod mtu;
pub mod node;
mod origin;
pub mod peering;
pub mod policy_test;
pub mod reload;
pub mod restart;
pub mod run;
pub mod show;
pub mod sources;
mod systemd;
