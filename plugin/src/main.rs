//! The CNI plugin `slash32`.
fn main() {}
