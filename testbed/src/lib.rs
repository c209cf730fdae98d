//! Laid out; contents follow.
