//! Readers of single values: from TOML to a type of the field.
//!
//! Each says what it wants if it gets something else; none knows where the value stands.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use bgp::{
    aspath::Asn,
    config::{HoldTime, PeerAs},
    prefix::Prefix,
};
use toml::de::DeValue;

use super::{problem::Problem, section::wrong_type};

pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Problem> {
    value.as_str().ok_or_else(|| wrong_type("a string in quotes", value))
}

pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, Problem> {
    value.as_bool().ok_or_else(|| wrong_type("true or false", value))
}

fn integer(value: &DeValue<'_>) -> Result<i64, Problem> {
    let wanted = "a whole number";
    let number = value.as_integer().ok_or_else(|| wrong_type(wanted, value))?;
    i64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| Problem::WrongType { wanted, found: "one of more than 64 bits" })
}

/// A reader of numbers in a range that `T` can hold.
pub(super) fn number<T: TryFrom<i64> + Into<i64> + Copy>(
    range: RangeInclusive<T>,
) -> impl Fn(&DeValue<'_>) -> Result<T, Problem> {
    let (min, max) = ((*range.start()).into(), (*range.end()).into());
    move |value| {
        let got = integer(value)?;
        T::try_from(got).ok().filter(|_| (min..=max).contains(&got)).ok_or(Problem::OutOfRange {
            got,
            min,
            max,
        })
    }
}

/// Anything whose parsing error says what to write instead.
pub(super) fn parsed<T: FromStr>(value: &DeValue<'_>) -> Result<T, Problem>
where
    Problem: From<T::Err>,
{
    Ok(text(value)?.parse()?)
}

/// A reader of words that stand for values.
pub(super) fn word<T: Copy, const N: usize>(
    allowed: &'static [&'static str; N],
    values: [T; N],
) -> impl Fn(&DeValue<'_>) -> Result<T, Problem> {
    move |value| {
        let got = text(value)?;
        let index = allowed.iter().position(|word| *word == got);
        index
            .map(|index| values[index])
            .ok_or_else(|| Problem::NotOneOf { got: got.to_owned(), allowed })
    }
}

/// A name that is safe in tables, metric labels, logs and shells.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, Problem> {
    let text = text(value)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if text.is_empty() {
        return Err(Problem::EmptyValue("write a name"));
    }
    if text.len() > 253 || !text.chars().all(fits) {
        return Err(Problem::Name(text.to_owned()));
    }
    Ok(text.to_owned())
}

/// The name of an interface, as the kernel would have it.
pub(super) fn interface(value: &DeValue<'_>) -> Result<Arc<str>, Problem> {
    let text = text(value)?;
    let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.is_empty() || text.len() > 15 || [".", ".."].contains(&text) || text.contains(refused) {
        return Err(Problem::InterfaceName(text.to_owned()));
    }
    Ok(text.into())
}

/// Of a file or folder.
pub(super) fn absolute_path(value: &DeValue<'_>) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(text(value)?);
    if path.as_os_str().is_empty() {
        Err(Problem::EmptyValue("write the path of a file"))
    } else if path.is_absolute() {
        Ok(path)
    } else {
        Err(Problem::RelativePath(path))
    }
}

pub(super) fn prefix(value: &DeValue<'_>) -> Result<Prefix, Problem> {
    parsed(value)
}

/// An AS number that a speaker can have: a number, or text in either notation.
pub(super) fn asn(value: &DeValue<'_>) -> Result<Asn, Problem> {
    usable_asn(any_asn(value, "")?)
}

/// An AS number that may stand in a path: any but 0.
pub(super) fn path_asn(value: &DeValue<'_>) -> Result<Asn, Problem> {
    match any_asn(value, "")? {
        zero @ Asn(0) => Err(Problem::ReservedAsn(zero)),
        asn => Ok(asn),
    }
}

pub(super) fn peer_as(value: &DeValue<'_>) -> Result<PeerAs, Problem> {
    match value.as_str() {
        Some("external") => Ok(PeerAs::External),
        Some("internal") => Ok(PeerAs::Internal),
        Some(_) | None => match value.as_array() {
            Some(list) if list.is_empty() => {
                Err(Problem::EmptyValue("write [4200000001, 4200000002] or \"external\""))
            }
            Some(list) => {
                let list = list.iter().map(|element| asn(element.get_ref()));
                Ok(PeerAs::OneOf(list.collect::<Result<_, _>>()?))
            }
            None => {
                let asn = any_asn(value, ", \"external\" or \"internal\"")?;
                usable_asn(asn).map(PeerAs::Exact)
            }
        },
    }
}

fn any_asn(value: &DeValue<'_>, also: &'static str) -> Result<Asn, Problem> {
    if value.is_integer() {
        return number(0..=u32::MAX)(value).map(Asn);
    }
    let wanted = "an AS number, as in 4200000011";
    let text = value.as_str().ok_or_else(|| wrong_type(wanted, value))?;
    text.parse().map_err(|_| Problem::Asn(text.to_owned(), also))
}

/// 0 (RFC 7607), AS_TRANS (RFC 6793 §9) and the last of each size (RFC 7300) are nobody's.
fn usable_asn(asn: Asn) -> Result<Asn, Problem> {
    match asn {
        Asn(0 | 65_535 | u32::MAX) | Asn::TRANS => Err(Problem::ReservedAsn(asn)),
        usable => Ok(usable),
    }
}

pub(super) fn hold_time(value: &DeValue<'_>) -> Result<HoldTime, Problem> {
    Ok(HoldTime::new(number(0..=u16::MAX)(value)?)?)
}

/// At least one second, at most what 16 bits hold.
pub(super) fn seconds(value: &DeValue<'_>) -> Result<Duration, Problem> {
    number(1..=u16::MAX)(value).map(|seconds| Duration::from_secs(seconds.into()))
}

pub(super) fn port(value: &DeValue<'_>) -> Result<u16, Problem> {
    match number(0..=u16::MAX)(value)? {
        0 => Err(Problem::PortZero),
        port => Ok(port),
    }
}

/// A BGP identifier: any IPv4 address but 0.0.0.0 (RFC 6286 §2.1).
pub(super) fn router_id(value: &DeValue<'_>) -> Result<Ipv4Addr, Problem> {
    let text = text(value)?;
    let id: Ipv4Addr = text.parse().map_err(|_| Problem::AddressV4(text.to_owned()))?;
    if id.is_unspecified() { Err(Problem::ZeroId) } else { Ok(id) }
}

/// The address of a host. Link-local IPv6 addresses are refused: which link is not said.
pub(super) fn host(value: &DeValue<'_>) -> Result<IpAddr, Problem> {
    let text = text(value)?;
    if text.contains('%') {
        return Err(Problem::LinkLocal(text.to_owned()));
    }
    unicast(text.parse().map_err(|_| Problem::Address(text.to_owned()))?)
}

pub(super) fn host_v4(value: &DeValue<'_>) -> Result<Ipv4Addr, Problem> {
    let text = text(value)?;
    let address = text.parse().map_err(|_| Problem::AddressV4(text.to_owned()))?;
    unicast(IpAddr::V4(address)).map(|_| address)
}

pub(super) fn host_v6(value: &DeValue<'_>) -> Result<Ipv6Addr, Problem> {
    let text = text(value)?;
    let address = text.parse().map_err(|_| Problem::AddressV6(text.to_owned()))?;
    unicast(IpAddr::V6(address)).map(|_| address)
}

fn unicast(address: IpAddr) -> Result<IpAddr, Problem> {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(Problem::LinkLocal(v6.to_string())),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err(Problem::NotUnicast(address)),
        IpAddr::V4(v4) if v4.is_broadcast() => Err(Problem::NotUnicast(address)),
        IpAddr::V4(_) | IpAddr::V6(_) if address.is_unspecified() || address.is_multicast() => {
            Err(Problem::NotUnicast(address))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(address),
    }
}

pub(super) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, Problem> {
    let text = text(value)?;
    let address: SocketAddr = text.parse().map_err(|_| Problem::SocketAddress(text.to_owned()))?;
    if address.port() == 0 { Err(Problem::PortZero) } else { Ok(address) }
}

/// Where a host listens.
pub(super) fn remote(value: &DeValue<'_>) -> Result<SocketAddr, Problem> {
    let text = text(value)?;
    let address: SocketAddr = text.parse().map_err(|_| Problem::StationAddress(text.to_owned()))?;
    unicast(address.ip())?;
    if address.port() == 0 { Err(Problem::PortZero) } else { Ok(address) }
}

/// A path for a unix socket.
pub(super) fn socket_path(value: &DeValue<'_>) -> Result<PathBuf, Problem> {
    let text = text(value)?;
    let path = PathBuf::from(text);
    if text.is_empty() {
        Err(Problem::EmptyValue("write the path of a unix socket"))
    } else if !path.is_absolute() {
        Err(Problem::RelativePath(path))
    } else if text.len() > 107 {
        Err(Problem::LongPath(text.len()))
    } else {
        Ok(path)
    }
}
