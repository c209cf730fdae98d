//! Unnumbered peers in the real kernel: daemons in network namespaces that are told of their peers
//! by interface alone. Needs root; the routers at the other end are `routed` itself, FRR and BIRD.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

mod aggregates;
mod bird;
mod device;
mod drain;
mod frr;
mod lab;
mod links;
mod routes;
mod scripted;
mod signed;
