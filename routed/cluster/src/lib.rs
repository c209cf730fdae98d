//! A node that runs from the Kubernetes API.
//!
//! In: the objects of the API server, as far as this node needs them ([`Objects`]), and the node's own
//! `routed.toml`. Out: the text of the `routed.toml` that both together come to ([`Wanted`]), and for
//! each object whether it could be heeded.
//!
//! What is read of the text, and how a change of it takes effect, is the business of package `routed`:
//! every rule of `routed.toml` thus holds for objects too.

mod choose;
mod objects;
mod wanted;

pub use self::{
    choose::{ADDRESSES, Choice, POOLS, choose},
    objects::{DRAIN, Meta, Node, Objects, Pod},
    wanted::{Block, Fault, Input, ObjectRef, Problem, Wanted, passwords, wanted},
};
