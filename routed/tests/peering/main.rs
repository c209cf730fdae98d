//! Peering over real sockets on loopback: speakers with each other, with scripted peers that do
//! what no good peer does, and with BIRD, FRR and GoBGP.
//!
//! Every test has a /24 of 127.0.0.0/8 to itself, so that all can run at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

mod bird;
mod daemon;
mod dynamic;
mod exchange;
mod frr;
mod garbage;
mod gobgp;
mod harness;
mod limits;
mod loss;
mod refusal;
mod reload;
mod restart;
mod scripted;
mod slow;
