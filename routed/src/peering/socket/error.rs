//! Why a socket could not be had, with what the operator can do about it.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// What went wrong with a socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// No socket was to be had at all.
    #[error("cannot open a socket: {source}; {}", remedy(source))]
    Open {
        /// The kernel's answer.
        source: io::Error,
    },
    /// A socket option could not be set.
    #[error("cannot set {setting} on a socket: {source}; {}", setting.remedy(source))]
    Option {
        /// Which.
        setting: Setting,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The source address configured for a peer cannot be used.
    #[error("cannot dial from {address}: {source}; {}", remedy(source))]
    BindSource {
        /// `local_address` of the peer.
        address: IpAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A listening address cannot be used.
    #[error("cannot listen on {address}: {source}; {}", remedy(source))]
    Listen {
        /// From `bgp.listen`.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Router advertisements cannot be listened for.
    #[error("cannot open a socket for router advertisements: {source}; {}", link_remedy(source))]
    Link {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The interface configured for a peer cannot be used.
    #[error("cannot use {device}: {source}; {}", device_remedy(source))]
    Device {
        /// `bind_device` of the peer.
        device: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A connection came by another interface than it must.
    #[error(
        "refused a connection from {peer}: it came by {}, and bind_device is {device}; correct \
         that, or look for a cable in the wrong port",
        got.as_deref().unwrap_or("an interface that the kernel does not tell")
    )]
    OtherDevice {
        /// Source address.
        peer: IpAddr,
        /// The interface by which it came.
        got: Option<String>,
        /// `bind_device` of the peer.
        device: String,
    },
    /// The peer cannot be reached or refuses.
    #[error("cannot connect to {peer}: {source}; {}", remedy(source))]
    Connect {
        /// Address and port dialled.
        peer: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The peer does not answer.
    #[error(
        "no answer from {peer} within {} ms; is it up, does a firewall drop us, or does it have \
         another TCP MD5 password?",
        after.as_millis()
    )]
    NoAnswer {
        /// Address and port dialled.
        peer: SocketAddr,
        /// How long we waited.
        after: Duration,
    },
    /// GTSM (RFC 5082): the connection came from too far away.
    #[error(
        "refused a connection from {peer}: its SYN came with hop limit {}, ttl_security asks for \
         at least {least}; if the peer is genuine, have it send with hop limit 255 or allow more \
         hops",
        got.map_or_else(|| "unknown".to_owned(), |got| got.to_string())
    )]
    TooFar {
        /// Source address.
        peer: IpAddr,
        /// Hop limit of its SYN; `None` if the kernel did not keep it (SYN cookies).
        got: Option<u8>,
        /// Least one allowed.
        least: u8,
    },
}

/// A socket option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// IP_TTL or IPV6_UNICAST_HOPS.
    HopLimit,
    /// IP_MINTTL or IPV6_MINHOPCOUNT.
    LeastHopLimit,
    /// TCP_MD5SIG.
    Md5Key,
    /// TCP_AO_ADD_KEY or TCP_AO_DEL_KEY.
    AoKey,
    /// IP_TOS or IPV6_TCLASS.
    Priority,
    /// TCP_NODELAY.
    NoDelay,
    /// SO_REUSEADDR.
    ReuseAddress,
    /// IPV6_V6ONLY.
    OnlyV6,
    /// IP_FREEBIND.
    FreeBind,
    /// TCP_SAVE_SYN.
    SaveSyn,
    /// IP_PKTINFO or IPV6_RECVPKTINFO.
    PacketInfo,
}

impl Setting {
    /// For `map_err`: the error of this option.
    pub(super) fn failed(self) -> impl Fn(io::Error) -> SocketError {
        move |source| SocketError::Option { setting: self, source }
    }

    fn remedy(self, source: &io::Error) -> &'static str {
        match (self, source.raw_os_error()) {
            (Self::Md5Key, Some(libc::ENOPROTOOPT)) => {
                "this kernel is built without TCP_MD5SIG; remove password_file or use another kernel"
            }
            (Self::AoKey, Some(libc::ENOPROTOOPT)) => {
                "this kernel has no TCP-AO (CONFIG_TCP_AO, from Linux 6.7 on); remove tcp_ao, and \
                 connections are signed with TCP MD5, or use another kernel"
            }
            (Self::AoKey, Some(libc::ENOENT)) => {
                "this kernel lacks the algorithm; try the other one in tcp_ao"
            }
            (Self::Md5Key | Self::AoKey, Some(libc::EKEYREJECTED)) => {
                "a peer cannot sign in both ways; have groups and the peers in them use tcp_ao alike"
            }
            (Self::Md5Key | Self::AoKey, Some(libc::ENOMEM)) => {
                "raise net.core.optmem_max: every key takes some of it"
            }
            _ => remedy(source),
        }
    }
}

/// The name in socket(7), ip(7), ipv6(7) and tcp(7).
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HopLimit => "IP_TTL",
            Self::LeastHopLimit => "IP_MINTTL",
            Self::Md5Key => "TCP_MD5SIG",
            Self::AoKey => "TCP_AO_ADD_KEY",
            Self::Priority => "IP_TOS",
            Self::NoDelay => "TCP_NODELAY",
            Self::ReuseAddress => "SO_REUSEADDR",
            Self::OnlyV6 => "IPV6_V6ONLY",
            Self::FreeBind => "IP_FREEBIND",
            Self::SaveSyn => "TCP_SAVE_SYN",
            Self::PacketInfo => "IP_PKTINFO",
        })
    }
}

/// What an operator can do about the kernel's answer.
fn remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "another program has this port (`ss -ltnp` names it); stop it or change bgp.listen"
        }
        Some(libc::EADDRNOTAVAIL) => {
            "no interface has this address (`ip address` lists them); correct local_address"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "run as root or with CAP_NET_BIND_SERVICE, and look for a firewall that rejects us"
        }
        Some(libc::ECONNREFUSED) => {
            "nothing listens on that port of the peer, or it does not know our address"
        }
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => {
            "no way leads to the peer; is the link up and has it an address of the peer's network?"
        }
        Some(libc::ECONNRESET) => "the peer ended the connection; its log should say why",
        Some(libc::ETIMEDOUT) => {
            "no answer; is the peer up, or does it have another TCP MD5 password?"
        }
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (LimitNOFILE)",
        Some(libc::EINVAL) => "the source address and the peer's must be of one family",
        _ => "it is tried again",
    }
}

/// The same about interfaces.
fn device_remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENODEV) => {
            "there is no such interface (`ip link` lists them); it is tried again"
        }
        Some(libc::EACCES | libc::EPERM) => "run as root or with CAP_NET_RAW",
        _ => remedy(source),
    }
}

/// The same about raw sockets.
fn link_remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "run as root or with CAP_NET_RAW",
        Some(libc::EAFNOSUPPORT) => "this kernel is built or started without IPv6",
        _ => remedy(source),
    }
}
