//! Signed segments: TCP MD5 (RFC 2385) and TCP-AO (RFC 5925).
//!
//! In: a socket, the peers that sign, and their key. Out: a socket whose kernel signs what goes to
//! them and drops what comes from them unsigned.

use std::{mem::size_of, net::SocketAddr, os::fd::AsFd};

use bgp::prefix::Prefix;
use libc::c_int;
use socket2::{SockAddr, SockAddrStorage};

use super::{Setting, SocketError, set_option};
use crate::config::{Algorithm, Password, Scheme};

/// Gives a socket the key of `peers` in place of the one that it has; without one, nothing is signed
/// any more. Connections that stand keep the key that they began with.
///
/// # Errors
///
/// [`SocketError::Option`]; then the old key may be gone.
pub(crate) fn change_key(
    socket: &impl AsFd,
    peers: Prefix,
    old: Option<&Password>,
    new: Option<&Password>,
) -> Result<(), SocketError> {
    // A new MD5 key takes the place of the old one by itself.
    let replaces = |new: &Password| new.scheme() == Scheme::Md5;
    if let Some(old) = old
        && !(old.scheme() == Scheme::Md5 && new.is_some_and(replaces))
    {
        remove(socket, peers, old)?;
    }
    new.map_or(Ok(()), |new| set_key(socket, peers, new))
}

/// Gives a socket that has none the key of `peers`.
///
/// # Errors
///
/// [`SocketError::Option`].
pub(crate) fn set_key(
    socket: &impl AsFd,
    peers: Prefix,
    key: &Password,
) -> Result<(), SocketError> {
    match key.scheme() {
        Scheme::Md5 => {
            let signature = TcpMd5Sig::new(peers, key.octets());
            set_option(socket, libc::IPPROTO_TCP, TCP_MD5SIG_EXT, &signature)
                .map_err(Setting::Md5Key.failed())
        }
        Scheme::Ao { algorithm, send_id, receive_id } => {
            let mut add = TcpAoAdd {
                address: storage(peers),
                algorithm: [0; 64],
                ifindex: 0,
                flags: 0,
                reserved: 0,
                prefix_len: peers.len(),
                send_id,
                receive_id,
                mac_len: MAC_LEN,
                key_flags: 0,
                key_len: length(key),
                key: [0; KEY_LEN],
            };
            let name = match algorithm {
                Algorithm::HmacSha1 => "hmac(sha1)",
                Algorithm::AesCmac => "cmac(aes128)",
            };
            add.algorithm[..name.len()].copy_from_slice(name.as_bytes());
            add.key[..key.octets().len()].copy_from_slice(key.octets());
            set_option(socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &add)
                .map_err(Setting::AoKey.failed())
        }
    }
}

fn remove(socket: &impl AsFd, peers: Prefix, key: &Password) -> Result<(), SocketError> {
    let (setting, outcome) = match key.scheme() {
        Scheme::Md5 => {
            let none = TcpMd5Sig::new(peers, &[]);
            (Setting::Md5Key, set_option(socket, libc::IPPROTO_TCP, TCP_MD5SIG_EXT, &none))
        }
        Scheme::Ao { send_id, receive_id, .. } => {
            let del = TcpAoDel {
                address: storage(peers),
                ifindex: 0,
                flags: 0,
                reserved: 0,
                prefix_len: peers.len(),
                send_id,
                receive_id,
                current: 0,
                next: 0,
                key_flags: 0,
            };
            (Setting::AoKey, set_option(socket, libc::IPPROTO_TCP, TCP_AO_DEL_KEY, &del))
        }
    };
    match outcome {
        // There is none to be taken away.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome.map_err(setting.failed()),
    }
}

fn storage(peers: Prefix) -> SockAddrStorage {
    SockAddr::from(SocketAddr::new(peers.addr(), 0)).as_storage()
}

fn length<T: TryFrom<usize>>(key: &Password) -> T
where
    T::Error: std::fmt::Debug,
{
    key.octets().len().try_into().expect("a Password has at most 80 octets")
}

/// `struct tcp_md5sig` of linux/tcp.h, which the libc crate lacks.
#[repr(C)]
struct TcpMd5Sig {
    address: SockAddrStorage,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    ifindex: c_int,
    key: [u8; KEY_LEN],
}

impl TcpMd5Sig {
    /// At most [`KEY_LEN`] octets; none: there is to be no key.
    fn new(peers: Prefix, octets: &[u8]) -> Self {
        let mut signature = Self {
            address: storage(peers),
            flags: TCP_MD5SIG_FLAG_PREFIX,
            prefix_len: peers.len(),
            key_len: u16::try_from(octets.len()).expect("a Password has at most 80 octets"),
            ifindex: 0,
            key: [0; KEY_LEN],
        };
        signature.key[..octets.len()].copy_from_slice(octets);
        signature
    }
}

/// `struct tcp_ao_add` of linux/tcp.h, from Linux 6.7 on.
#[repr(C, align(8))]
struct TcpAoAdd {
    address: SockAddrStorage,
    algorithm: [u8; 64],
    ifindex: c_int,
    /// set_current, set_rnext: the kernel takes the only key there is.
    flags: u32,
    reserved: u16,
    prefix_len: u8,
    send_id: u8,
    receive_id: u8,
    mac_len: u8,
    key_flags: u8,
    key_len: u8,
    key: [u8; KEY_LEN],
}

/// `struct tcp_ao_del` of linux/tcp.h.
#[repr(C, align(8))]
struct TcpAoDel {
    address: SockAddrStorage,
    ifindex: c_int,
    flags: u32,
    reserved: u16,
    prefix_len: u8,
    send_id: u8,
    receive_id: u8,
    current: u8,
    next: u8,
    key_flags: u8,
}

const _: () = assert!(size_of::<TcpMd5Sig>() == 216, "the layout of linux/tcp.h");
const _: () = assert!(size_of::<TcpAoAdd>() == 288, "the layout of linux/tcp.h");
const _: () = assert!(size_of::<TcpAoDel>() == 144, "the layout of linux/tcp.h");

/// `TCP_MD5SIG_MAXKEYLEN` and `TCP_AO_MAXKEYLEN` of linux/tcp.h.
const KEY_LEN: usize = 80;
/// Octets of a signature of either algorithm (RFC 5926 §3.2).
const MAC_LEN: u8 = 12;

/// `TCP_MD5SIG_EXT` of linux/tcp.h: [`TcpMd5Sig`] with flags.
const TCP_MD5SIG_EXT: c_int = 32;
/// The key is for a whole prefix.
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
/// `TCP_AO_ADD_KEY` of linux/tcp.h.
const TCP_AO_ADD_KEY: c_int = 38;
/// `TCP_AO_DEL_KEY` of linux/tcp.h.
const TCP_AO_DEL_KEY: c_int = 39;
