//! The kernel's side of the daemon: what carries out commands and reports what it saw.

mod filter;
pub mod forwarding;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod ours;
pub mod paths;
pub mod pods;
pub mod routes;
pub mod sysctl;
pub mod watch;
