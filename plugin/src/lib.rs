//! What the CNI plugin `slash32` and the node daemon share: the CNI documents and the RPC.
//!
//! The plugin reads its environment and stdin, passes the request with the file descriptor of
//! the pod's network namespace to the daemon, and prints the answer in the version that the
//! runtime speaks. It decides nothing and holds no credentials.

pub mod cni;
pub mod rpc;
