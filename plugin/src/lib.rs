//! What the CNI plugin `slash32` and the node daemon share: the CNI documents and the RPC.
//!
//! The plugin reads its environment ([`mod@env`]) and stdin ([`netconf`]), passes the request with
//! the file descriptor of the pod's network namespace to the daemon ([`client`], [`rpc`]), and
//! prints the answer in the version that the runtime speaks ([`version`]), after that of plugins
//! before it ([`chain`]). Where the configuration names an IPAM plugin, it runs that ([`delegate`]). It decides nothing
//! and holds no credentials.

pub mod chain;
pub mod client;
pub mod cni;
pub mod delegate;
pub mod env;
pub mod netconf;
pub mod rpc;
pub mod version;
