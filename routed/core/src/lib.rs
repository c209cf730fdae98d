//! What the node daemon decides, as plain values: no I/O, no clock, no threads.
//!
//! Kernel routes of two protocol numbers are ours: what BGP taught us and our own blackholes have
//! [`fib::route::PROTO_FABRIC`] and belong to [`fib`]; the host routes to pods have
//! [`fib::route::PROTO_PODS`] and belong to [`pod`]. To each, the other's are somebody else's.

pub mod attachment;
pub mod bfd;
pub mod claims;
pub mod dice;
pub mod fib;
pub mod ipam;
pub mod pod;
pub mod ra;
