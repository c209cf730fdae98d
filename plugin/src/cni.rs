//! CNI documents as values, in the form of spec version 1.1.0.
//!
//! Conversion to what older versions expect happens once, in the plugin, just before printing.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// What ADD returns (spec 1.1.0, "Success").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddResult {
    /// Interfaces made, host end first.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Addresses assigned.
    #[serde(default)]
    pub ips: Vec<Ip>,
    /// Routes added in the pod.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Name servers; empty, since the runtime sets them.
    #[serde(default)]
    pub dns: Dns,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Hardware address, lower case with colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Path of the network namespace; absent for the host's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// Address with its prefix length: always /32 or /128 here.
    pub address: IpNetwork,
    /// Default gateway of the family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Index into [`AddResult::interfaces`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// One route in the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination.
    pub dst: IpNetwork,
    /// Next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// 0 global, 253 link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

/// Name server settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// A failure as the runtime is told (spec 1.1.0, "Error").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{msg}: {details}")]
pub struct Error {
    /// Code; see [`code`].
    pub code: u32,
    /// What failed, short.
    pub msg: String,
    /// The place and the remedy.
    #[serde(default)]
    pub details: String,
}

/// Codes of [`Error::code`]: below 100 the spec's own, from 100 on ours.
pub mod code {
    /// The configuration's version is not supported.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// The configuration holds something that is not supported.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is not known or does not exist.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// An environment variable is missing or not valid.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO_FAILURE: u32 = 5;
    /// The configuration is not what it must be.
    pub const DECODING_FAILURE: u32 = 6;
    /// The configuration's content is not valid.
    pub const INVALID_CONFIG: u32 = 7;
    /// A transient condition: the runtime should try again.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: ADD cannot be served now.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: as before, and existing pods may have limited connectivity.
    pub const LIMITED_CONNECTIVITY: u32 = 51;
    /// No free address in the pools.
    pub const POOL_EXHAUSTED: u32 = 100;
    /// The requested address is taken or outside the pools.
    pub const ADDRESS_REFUSED: u32 = 101;
    /// The kernel refused a step.
    pub const KERNEL_REFUSED: u32 = 102;
    /// CHECK found differences; all are in the details.
    pub const CHECK_FAILED: u32 = 103;
    /// The attachment exists already and differs from what is asked for.
    pub const ALREADY_ATTACHED: u32 = 104;
}
