//! Forms of OPEN and what is refused.
