//! Laid out; contents follow.
fn main() {}
