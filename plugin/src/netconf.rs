//! The network configuration that a runtime writes to the plugin's stdin.
//!
//! In: octets of stdin. Out: [`NetConf`] with every value checked, or the error document that
//! names the key. Keys of other plugins and of later spec versions are ignored, as the spec
//! asks.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    cni::{AddResult, Error, code},
    env::{Params, is_identifier},
    rpc::DEFAULT_SOCKET,
    version::SpecVersion,
};

/// A checked network configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConf {
    /// `cniVersion`.
    pub version: SpecVersion,
    /// `name`.
    pub network: String,
    /// `socket`: where the daemon listens.
    pub socket: PathBuf,
    /// `mtu`, in octets.
    pub mtu: Option<u32>,
    /// `defaultRoute`: whether the pod's default route goes here; `None` leaves it to the daemon,
    /// which gives it to the first of the pod's interfaces.
    pub default_route: Option<bool>,
    /// `pool`: from which of the daemon's pools the addresses come.
    pub pool: Option<String>,
    /// `routes`: destinations that the pod reaches through this interface besides the default.
    pub routes: Vec<IpNetwork>,
    /// `ipam.type`: the plugin that chooses the addresses in place of the daemon.
    pub ipam: Option<String>,
    /// `runtimeConfig.ips` and `CNI_ARGS` `IP`, at most one a family.
    pub ips: Vec<IpAddr>,
    /// `runtimeConfig.mac` or `CNI_ARGS` `MAC`.
    pub mac: Option<[u8; 6]>,
    /// `prevResult`, as it came: what other plugins wrote is passed on untouched.
    pub prev_result: Option<Value>,
    /// `cni.dev/valid-attachments`, for GC: container id and interface name.
    pub valid_attachments: Option<Vec<(String, String)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawNetConf {
    #[serde(default)]
    name: String,
    socket: Option<String>,
    mtu: Option<u32>,
    default_route: Option<bool>,
    pool: Option<String>,
    #[serde(default)]
    routes: Vec<RawRoute>,
    #[serde(default)]
    ipam: RawIpam,
    #[serde(default)]
    runtime_config: RawRuntimeConfig,
    prev_result: Option<Value>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<RawAttachment>>,
    /// What a draft of the spec called them; libcni sends both.
    #[serde(rename = "cni.dev/attachments")]
    attachments: Option<Vec<RawAttachment>>,
}

/// `gw` and the rest of it are not read: everything a pod sends goes to the same gateway.
#[derive(Deserialize)]
struct RawRoute {
    dst: String,
}

#[derive(Default, Deserialize)]
struct RawIpam {
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
struct RawRuntimeConfig {
    #[serde(default)]
    ips: Vec<String>,
    mac: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAttachment {
    #[serde(rename = "containerID", alias = "containerId")]
    container_id: String,
    ifname: String,
}

impl NetConf {
    /// Reads and checks stdin, with what `CNI_ARGS` adds to it.
    ///
    /// # Errors
    ///
    /// [`code::DECODING_FAILURE`] if it is not JSON of the known form,
    /// [`code::INCOMPATIBLE_VERSION`] for a spec version not supported,
    /// [`code::INVALID_CONFIG`] for a value out of range.
    pub fn parse(stdin: &[u8], version: SpecVersion, params: &Params) -> Result<Self, Error> {
        let raw: RawNetConf = serde_json::from_slice(stdin).map_err(|error| not_json(&error))?;
        if !is_identifier(&raw.name) {
            return Err(invalid(format!(
                "name: {:?}; it must start with a letter or digit and hold only letters, \
                 digits, '.', '_' and '-'",
                raw.name
            )));
        }
        if let Some(mtu) = raw.mtu.filter(|mtu| !(1280..=65_535).contains(mtu)) {
            return Err(invalid(format!(
                "mtu: {mtu}; use 1280 (the least that IPv6 works with) to 65535"
            )));
        }
        let socket = raw.socket.unwrap_or_else(|| DEFAULT_SOCKET.to_owned());
        if !Path::new(&socket).is_absolute() {
            return Err(invalid(format!("socket: {socket:?}; write an absolute path")));
        }
        Ok(Self {
            version,
            network: raw.name,
            socket: socket.into(),
            mtu: raw.mtu,
            default_route: raw.default_route,
            pool: raw.pool.filter(|pool| !pool.is_empty()),
            routes: raw
                .routes
                .iter()
                .map(|route| destination(&route.dst))
                .collect::<Result<_, _>>()?,
            ipam: ipam(raw.ipam.kind)?,
            ips: requested_ips(&raw.runtime_config.ips, params)?,
            mac: requested_mac(raw.runtime_config.mac.as_deref(), params)?,
            prev_result: raw.prev_result,
            valid_attachments: raw.valid_attachments.or(raw.attachments).map(|attachments| {
                attachments.into_iter().map(|raw| (raw.container_id, raw.ifname)).collect()
            }),
        })
    }
}

/// The spec version that the configuration is written in, read before anything else so that
/// even an error comes in the form that the runtime understands.
///
/// # Errors
///
/// [`code::DECODING_FAILURE`] if stdin is no JSON object; [`code::INCOMPATIBLE_VERSION`] if the
/// version is missing (which means 0.1.0) or not supported.
pub fn version_of(stdin: &[u8]) -> Result<SpecVersion, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        cni_version: Option<String>,
    }
    let Versioned { cni_version } =
        serde_json::from_slice(stdin).map_err(|error| not_json(&error))?;
    let text = cni_version.unwrap_or_else(|| "0.1.0".to_owned());
    SpecVersion::from_text(&text).ok_or_else(|| Error {
        code: code::INCOMPATIBLE_VERSION,
        msg: "incompatible CNI version".to_owned(),
        details: format!(
            "cniVersion: {text:?}; this plugin speaks {}",
            SpecVersion::ALL.map(SpecVersion::as_str).join(", ")
        ),
    })
}

fn requested_ips(capability: &[String], params: &Params) -> Result<Vec<IpAddr>, Error> {
    let from_args = params.args.get("IP").map_or("", String::as_str).split(',');
    let texts = capability.iter().map(String::as_str).chain(from_args).map(str::trim);
    let mut ips: Vec<IpAddr> = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        // Runtimes may write a prefix length; every pod address is a host address here.
        let address = text.split_once('/').map_or(text, |(address, _)| address);
        let ip: IpAddr = address.parse().map_err(|_| {
            invalid(format!("requested address {text:?}; write it as in 10.244.1.7 or fd00::7"))
        })?;
        match ips.iter().find(|other| other.is_ipv4() == ip.is_ipv4()) {
            Some(other) if *other == ip => {}
            Some(other) => {
                return Err(invalid(format!(
                    "requested addresses {other} and {ip}; at most one of a family can be given"
                )));
            }
            None => ips.push(ip),
        }
    }
    Ok(ips)
}

fn requested_mac(capability: Option<&str>, params: &Params) -> Result<Option<[u8; 6]>, Error> {
    let text = capability.or_else(|| params.args.get("MAC").map(String::as_str));
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let octets: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2))
        .collect();
    let mac = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok());
    match mac {
        Some(mac) if mac[0] & 1 == 0 && mac != [0; 6] => Ok(Some(mac)),
        Some(_) | None => Err(invalid(format!(
            "requested MAC {text:?}; write six octets of a unicast address, as in \
             0a:58:0a:f4:01:07"
        ))),
    }
}

/// A `prevResult` as the daemon compares it.
///
/// # Errors
///
/// [`code::DECODING_FAILURE`] if it is not what an ADD prints.
pub fn result_of(prev_result: Value) -> Result<AddResult, Error> {
    serde_json::from_value(prev_result).map_err(|error| Error {
        code: code::DECODING_FAILURE,
        msg: "prevResult is not understood".to_owned(),
        details: format!("{error}; it must be what ADD printed"),
    })
}

fn destination(text: &str) -> Result<IpNetwork, Error> {
    let refused =
        || invalid(format!("routes: {text:?}; write a prefix, as in 10.0.0.0/8 or fd00::/8"));
    let prefix: IpNetwork = text.parse().map_err(|_| refused())?;
    if prefix.ip() == prefix.network() { Ok(prefix) } else { Err(refused()) }
}

/// Runtimes and people write `"ipam": {}` for none.
fn ipam(kind: String) -> Result<Option<String>, Error> {
    match kind.as_str() {
        "" => Ok(None),
        name if name.contains('/') || name.starts_with('.') => Err(invalid(format!(
            "ipam.type: {name:?}; write the name of a plugin in CNI_PATH, such as host-local"
        ))),
        _ => Ok(Some(kind)),
    }
}

fn not_json(error: &serde_json::Error) -> Error {
    Error {
        code: code::DECODING_FAILURE,
        msg: "network configuration is not understood".to_owned(),
        details: format!("{error}; the runtime must write the conflist's entry to stdin"),
    }
}

fn invalid(details: String) -> Error {
    Error { code: code::INVALID_CONFIG, msg: "invalid network configuration".to_owned(), details }
}

#[cfg(test)]
mod tests;
