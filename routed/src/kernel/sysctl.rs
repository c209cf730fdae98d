//! Network settings of the kernel under /proc/sys/net, of the calling thread's network namespace.
//!
//! Written at start and in rare repairs only: each write costs more than a batch of netlink.

use std::{fs, io};

use bgp::family::Family;
use nix::{
    mount::{MsFlags, mount},
    sys::statvfs::{FsFlags, statvfs},
};

/// Makes this namespace a router for the family, now and for interfaces to come. Writes nothing if
/// it is one, so that a read-only /proc/sys does no harm on a node that is set up already. True if it was
/// none.
///
/// For IPv6 this also ends the acceptance of router advertisements on interfaces with
/// `accept_ra` 1; where the node's own default route comes from those, it must be set to 2.
///
/// # Errors
///
/// [`SysctlError`].
pub fn enable_forwarding(family: Family) -> Result<bool, SysctlError> {
    let is_off = !is_forwarding(family)?;
    if is_off {
        write(forwarding_key(family), 1)?;
    }
    Ok(is_off)
}

const fn forwarding_key(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4/ip_forward",
        Family::Ipv6Unicast => "ipv6/conf/all/forwarding",
    }
}

/// Keeps the kernel from telling every route whose next-hop group changes (`nexthop_compat_mode` 0),
/// which makes a change of a group as dear as all its routes: 60 ms instead of 5 µs for 100,000. It also
/// keeps it from listing the hops of such routes in `ip route`, which names the group instead. Writes
/// nothing if it is so, or if the kernel has no such groups.
///
/// # Errors
///
/// [`SysctlError`].
pub fn keep_groups_quiet() -> Result<(), SysctlError> {
    const KEY: &str = "ipv4/nexthop_compat_mode";
    match read(KEY) {
        Ok(0) => Ok(()),
        Err(SysctlError { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => write(KEY, 0),
        Err(error) => Err(error),
    }
}

/// Does the interface forward packets of the family that come in through it?
///
/// # Errors
///
/// [`SysctlError`].
pub fn forwards(family: Family, interface: &str) -> Result<bool, SysctlError> {
    let key = match family {
        Family::Ipv4Unicast => format!("ipv4/conf/{interface}/forwarding"),
        // The kernel asks only this one when it forwards IPv6.
        Family::Ipv6Unicast => "ipv6/conf/all/forwarding".to_owned(),
    };
    Ok(read(&key)? != 0)
}

/// Does this namespace forward packets of the family?
///
/// # Errors
///
/// [`SysctlError`].
pub fn is_forwarding(family: Family) -> Result<bool, SysctlError> {
    Ok(read(forwarding_key(family))? != 0)
}

/// Has an interface forward IPv4 packets that come in through it.
///
/// # Errors
///
/// [`SysctlError`].
pub fn forward_ipv4(interface: &str) -> Result<(), SysctlError> {
    write(&format!("ipv4/conf/{interface}/forwarding"), 1)
}

/// Do new interfaces believe router advertisements although the node is a router?
///
/// # Errors
///
/// [`SysctlError`].
pub fn routers_believe_advertisements() -> Result<bool, SysctlError> {
    Ok(read("ipv6/conf/default/accept_ra")? == 2)
}

/// Ignores router advertisements on an interface.
///
/// # Errors
///
/// [`SysctlError`].
pub fn ignore_advertisements(interface: &str) -> Result<(), SysctlError> {
    write(&format!("ipv6/conf/{interface}/accept_ra"), 0)
}

/// Takes no default route from router advertisements on an interface, whatever else is taken from
/// them. One that the kernel has already goes with its lifetime.
///
/// # Errors
///
/// [`SysctlError`].
pub fn take_no_default_route(interface: &str) -> Result<(), SysctlError> {
    let key = format!("ipv6/conf/{interface}/accept_ra_defrtr");
    if read(&key)? == 0 { Ok(()) } else { write(&key, 0) }
}

/// Switches IPv6 on, on an interface.
///
/// # Errors
///
/// [`SysctlError`].
pub fn enable_ipv6(interface: &str) -> Result<(), SysctlError> {
    write(&format!("ipv6/conf/{interface}/disable_ipv6"), 0)
}

/// Makes /proc/sys writable where it is not, as in a container. That takes CAP_SYS_ADMIN and a mount
/// namespace of the container's own. True if it was not.
///
/// # Errors
///
/// What the kernel says.
pub fn unlock() -> io::Result<bool> {
    const SETTINGS: &str = "/proc/sys";
    let mounted = statvfs(SETTINGS)?.flags();
    if !mounted.contains(FsFlags::ST_RDONLY) {
        return Ok(false);
    }
    let flags = MsFlags::MS_REMOUNT
        | MsFlags::MS_BIND
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC;
    mount(None::<&str>, SETTINGS, None::<&str>, flags, None::<&str>)?;
    Ok(true)
}

/// Has the kernel IPv6 at all?
#[must_use]
pub fn has_ipv6() -> bool {
    fs::exists(format!("{ROOT}/ipv6")).unwrap_or(false)
}

/// A setting could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{ROOT}/{key}: {error}; run routed as root, or set it yourself and leave it readable")]
pub struct SysctlError {
    /// Below /proc/sys/net.
    pub key: String,
    /// Why.
    #[source]
    pub error: io::Error,
}

fn read(key: &str) -> Result<i64, SysctlError> {
    let text = fs::read_to_string(format!("{ROOT}/{key}")).map_err(|error| failed(key, error))?;
    text.trim().parse().map_err(|_| failed(key, io::ErrorKind::InvalidData.into()))
}

fn write(key: &str, value: i64) -> Result<(), SysctlError> {
    fs::write(format!("{ROOT}/{key}"), value.to_string()).map_err(|error| failed(key, error))
}

fn failed(key: &str, error: io::Error) -> SysctlError {
    SysctlError { key: key.to_owned(), error }
}

const ROOT: &str = "/proc/sys/net";
