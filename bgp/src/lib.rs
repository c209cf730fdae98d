//! A BGP-4 speaker as plain values.
//!
//! Read in this order: [`family`], [`prefix`], [`aspath`], [`community`], [`attrs`] and
//! [`role`] are the
//! vocabulary; [`wire`] turns octets into messages and back; [`session`] is one peer's state
//! machine; [`rib`] holds everybody's routes and picks the best; [`policy`] says what comes in
//! and goes out; [`speaker`] puts sessions and RIB together as one router. [`bmp`] and [`mrt`] write
//! down for others what happens. Nothing here opens a socket, reads a clock or starts a thread.

pub mod aspath;
pub mod attrs;
pub mod bmp;
pub mod community;
pub mod config;
pub mod family;
pub mod mrt;
pub mod policy;
pub mod prefix;
pub mod rib;
pub mod role;
pub mod session;
pub mod speaker;
pub mod timestamp;
pub mod wire;
