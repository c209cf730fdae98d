//! A node that runs from the Kubernetes API.
//!
//! In: the objects of the API server, as far as this node needs them ([`Objects`]), and the node's own
//! `routed.toml`. Out: the text of the `routed.toml` that both together come to ([`Wanted`]), and for
//! each object whether it could be heeded.
//!
//! What talks to the API server: [`Watch`] keeps the objects current, [`ClaimsHandle`] is the way to the
//! node's claims of blocks, [`ReportHandle`] tells the cluster of the node, [`LeaderHandle`] takes part in
//! what one daemon does for all, and [`Store`] keeps what is known for a start while the API server is down.
//!
//! What is read of the text, and how a change of it takes effect, is the business of package `routed`:
//! every rule of `routed.toml` thus holds for objects too.

mod choose;
mod claiming;
mod client;
mod failure;
mod leader;
mod objects;
mod report;
mod request;
mod store;
mod wanted;
mod watch;

pub use self::{
    choose::{ADDRESSES, Choice, POOLS, choose},
    claiming::{Blocks, ClaimsHandle},
    client::{Access, AccessError, connect, node_name},
    failure::Failure,
    leader::{LeaderHandle, Leadership, Orphan},
    objects::{DRAIN, Meta, Node, Objects, Pod},
    report::{Counts, Picture, ReportHandle, Reporting, SessionSeen, TAINT},
    store::{Store, write_file},
    wanted::{Block, Fault, Input, ObjectRef, Problem, Wanted, passwords, wanted},
    watch::{Connection, Known, Watch},
};
