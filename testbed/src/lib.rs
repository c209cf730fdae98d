//! Labs of network namespaces with real routers in them, raised and taken down in seconds.
//!
//! [`Topology`] is a lab's plan, [`Lab`] a lab that is up. The program `testbed` is the same for
//! people; its README has the tour.

mod bench;
pub mod cli;
mod daemon;
mod demo;
mod enter;
mod fault;
mod holder;
mod lab;
mod netlink;
mod ping;
mod pod;
mod real_time;
mod registry;
mod show;
pub mod speaker;
mod supervisor;
pub mod topology;

pub use lab::{Hop, Lab, Options, Route};
pub use ping::Tally;
pub use topology::{Runs, Topology};
