//! What the objects of a cluster come to is a `routed.toml` that the daemon takes, and what it would not
//! take is left out with a reason.

mod cluster_text {
    pub(crate) mod cluster;
    mod golden;
    mod nodes;
    mod peers;
    mod policies;
    mod pools;
    mod properties;
}
