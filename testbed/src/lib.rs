//! Labs of network namespaces with real routers in them, raised and taken down in seconds.

pub mod speaker;
pub mod topology;

pub use topology::{Runs, Topology};
