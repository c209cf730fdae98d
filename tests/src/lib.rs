//! What the behaviour tests need to set a scene. The tests themselves are in `tests/`, one file
//! a promise.

pub mod cluster;
pub mod corpus;
pub mod fabric;
pub mod messages;
pub mod node;
pub mod oracle;
pub mod podman;
pub mod rack;
pub mod readme;
pub mod relay;
pub mod runtime;
pub mod sim;
pub mod station;
