//! What peering needs to know of the speaker and of each peer, already checked.
//!
//! In: the daemon's configuration, converted. Out: values that the tasks only read.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use bgp::{
    config::{RibPeerConfig, SessionConfig, Ttl},
    rib::RibConfig,
};

/// Settings of the speaker as a whole.
#[derive(Clone, Debug)]
pub struct SpeakerSettings {
    /// Settings of its RIB.
    pub rib: RibConfig,
    /// Where to accept connections; empty means nowhere. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
}

/// Settings of one peer.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// Name in tables, logs and metrics; unique.
    pub name: Arc<str>,
    /// The peer's address; unique, since it is what an incoming connection is known by.
    pub address: IpAddr,
    /// Port to dial.
    pub port: u16,
    /// Source address to dial from; the kernel chooses if there is none.
    pub local_address: Option<IpAddr>,
    /// How far away the peer may be.
    pub ttl: Ttl,
    /// Key of TCP MD5 signatures (RFC 2385).
    pub password: Option<Md5Key>,
    /// What the session negotiates.
    pub session: SessionConfig,
    /// How the RIB treats its routes. `local_addresses` is filled in when a session is
    /// established; what stands there before is not used.
    pub rib: RibPeerConfig,
    /// Next hop announced for IPv4 prefixes, in place of the address found on the interface.
    pub next_hop_ipv4: Option<Ipv4Addr>,
    /// The same for IPv6 prefixes.
    pub next_hop_ipv6: Option<Ipv6Addr>,
}

impl PeerSettings {
    /// True if the peer must be on a network that one of our interfaces is on, so that the
    /// session ends with the link.
    pub(crate) const fn is_on_link(&self) -> bool {
        match self.ttl {
            Ttl::OnLink => true,
            Ttl::Security(hops) => hops.get() == 1,
            Ttl::Multihop(_) | Ttl::Any => false,
        }
    }
}

/// A key of TCP MD5 signatures: 1 to 80 octets (the kernel's TCP_MD5SIG_MAXKEYLEN).
///
/// Never shown: its `Debug` form says only that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Md5Key(Arc<[u8]>);

impl Md5Key {
    /// Most octets that the kernel takes.
    pub const MAX_LEN: usize = 80;

    /// Checks the length.
    ///
    /// # Errors
    ///
    /// [`BadMd5Key`] if `octets` is empty or too long.
    pub fn new(octets: &[u8]) -> Result<Self, BadMd5Key> {
        match octets.len() {
            1..=Self::MAX_LEN => Ok(Self(octets.into())),
            len => Err(BadMd5Key(len)),
        }
    }

    /// The key itself, for the kernel.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Md5Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Md5Key(..)")
    }
}

/// A key of this many octets was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a TCP MD5 key of {0} octets is not possible; use 1 to {max} octets", max = Md5Key::MAX_LEN)]
pub struct BadMd5Key(pub usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_keys_have_1_to_80_octets_and_are_never_shown() {
        assert_eq!(Md5Key::new(b""), Err(BadMd5Key(0)));
        assert_eq!(Md5Key::new(&[b'x'; 81]), Err(BadMd5Key(81)));
        assert!(Md5Key::new(&[b'x'; 80]).is_ok());
        assert!(!format!("{:?}", Md5Key::new(b"secret")).contains("secret"));
    }
}
