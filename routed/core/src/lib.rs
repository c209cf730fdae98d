//! What the node daemon decides, as plain values: no I/O, no clock, no threads.

pub mod attachment;
pub mod ipam;
pub mod pod;
