//! The topology file as it is written: every key, nothing checked beyond its type.
//!
//! In: TOML. Out: [`RawTopology`], for `settle` alone. Unknown keys are refused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Bfd, Runs};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTopology {
    /// Link addresses without a fixed value are taken from here.
    #[serde(default = "default_link_ipv4")]
    pub(super) link_ipv4: Ipv4Network,
    #[serde(default = "default_link_ipv6")]
    pub(super) link_ipv6: Ipv6Network,
    /// Loopbacks without a fixed value: the n-th address, n counting routers from 1.
    #[serde(default = "default_loopback_ipv4")]
    pub(super) loopback_ipv4: Ipv4Network,
    #[serde(default = "default_loopback_ipv6")]
    pub(super) loopback_ipv6: Ipv6Network,
    pub(super) bfd: Option<Bfd>,
    #[serde(default)]
    pub(super) links: Vec<RawLink>,
    #[serde(default)]
    pub(super) lans: Vec<RawLan>,
    #[serde(default)]
    pub(super) spines: Vec<RawRouter>,
    #[serde(default)]
    pub(super) tors: Vec<RawRouter>,
    #[serde(default)]
    pub(super) speakers: Vec<RawRouter>,
    #[serde(default)]
    pub(super) nodes: Vec<RawRouter>,
}

/// One table of `[[lans]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLan {
    pub(super) name: String,
    pub(super) ipv4: Ipv4Network,
    pub(super) ipv6: Ipv6Network,
    pub(super) members: Vec<String>,
    pub(super) hub: Option<String>,
}

/// One table of `[[spines]]`, `[[tors]]`, `[[speakers]]` or `[[nodes]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRouter {
    pub(super) name: String,
    pub(super) asn: u32,
    #[serde(default = "default_runs")]
    pub(super) runs: Runs,
    #[serde(default)]
    pub(super) loopback: Vec<IpNetwork>,
    #[serde(default)]
    pub(super) pods: Vec<IpNetwork>,
    #[serde(default)]
    pub(super) networks: Vec<IpNetwork>,
    pub(super) config: Option<String>,
    pub(super) extra_config: Option<String>,
    #[serde(default)]
    pub(super) graceful_restart: bool,
    #[serde(default)]
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) files: BTreeMap<PathBuf, String>,
}

/// `["a", "b"]`, or a table where more is to be said.
#[derive(Debug)]
pub(super) struct RawLink {
    pub(super) ends: [String; 2],
    pub(super) ipv4: Option<Ipv4Network>,
    pub(super) ipv6: Option<Ipv6Network>,
    pub(super) password: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) unnumbered: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLinkTable {
    ends: [String; 2],
    ipv4: Option<Ipv4Network>,
    ipv6: Option<Ipv6Network>,
    password: Option<String>,
    mtu: Option<u32>,
    #[serde(default)]
    unnumbered: bool,
}

impl<'de> Deserialize<'de> for RawLink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LinkVisitor)
    }
}

/// Written by hand because an untagged enum would hide which key is wrong.
struct LinkVisitor;

impl<'de> Visitor<'de> for LinkVisitor {
    type Value = RawLink;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            r#"two router names as ["a", "b"], or a table { ends = ["a", "b"], ipv4 = …, ipv6 = …, password = …, mtu = …, unnumbered = true }"#,
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawLink, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = seq.next_element::<String>()? {
            names.push(name);
        }
        let found = names.len();
        let ends = names.try_into().map_err(|_| serde::de::Error::invalid_length(found, &self))?;
        Ok(RawLink { ends, ipv4: None, ipv6: None, password: None, mtu: None, unnumbered: false })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawLink, A::Error> {
        let RawLinkTable { ends, ipv4, ipv6, password, mtu, unnumbered } =
            RawLinkTable::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RawLink { ends, ipv4, ipv6, password, mtu, unnumbered })
    }
}

fn default_runs() -> Runs {
    Runs::Routed
}

fn default_link_ipv4() -> Ipv4Network {
    Ipv4Network::new_checked([10, 1, 0, 0].into(), 16).expect("16 is a length of IPv4")
}

fn default_link_ipv6() -> Ipv6Network {
    Ipv6Network::new_checked([0xfd00, 1, 0, 0, 0, 0, 0, 0].into(), 48)
        .expect("48 is a length of IPv6")
}

fn default_loopback_ipv4() -> Ipv4Network {
    Ipv4Network::new_checked([10, 0, 0, 0].into(), 24).expect("24 is a length of IPv4")
}

fn default_loopback_ipv6() -> Ipv6Network {
    Ipv6Network::new_checked([0xfd00, 0, 0, 0, 0, 0, 0, 0].into(), 64)
        .expect("64 is a length of IPv6")
}
