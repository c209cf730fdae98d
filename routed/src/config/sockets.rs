//! `[sockets]`: where the daemon can be reached locally.

use std::{net::SocketAddr, path::PathBuf};

use plugin::rpc::DEFAULT_SOCKET;

use super::{
    Sockets,
    problem::Problem,
    section::{At, Section},
    value,
};

/// Where `routed show` asks.
pub const DEFAULT_ADMIN: &str = "/run/slash32/routed.sock";
/// Metrics and health, for this host only.
const DEFAULT_HTTP: &str = "127.0.0.1:9732";

/// The section. `listen` is what BGP listens on.
pub(super) fn read(section: &mut Section<'_, '_>, listen: &[SocketAddr]) -> Sockets {
    let cni = section.optional("cni", value::socket_path);
    let admin = section.optional("admin", value::socket_path);
    let http = section.optional("http", http);
    let path = |at: &Option<At<PathBuf>>, default: &str| {
        at.as_ref().map_or_else(|| default.into(), |at| at.value.clone())
    };
    let sockets = Sockets {
        cni: path(&cni, DEFAULT_SOCKET),
        admin: path(&admin, DEFAULT_ADMIN),
        http: http.as_ref().map_or_else(|| DEFAULT_HTTP.parse().ok(), |at| at.value),
    };
    if sockets.cni == sockets.admin {
        let key = if admin.is_some() { "admin" } else { "cni" };
        section.fault(section.place_of(key), Problem::SameSocket(sockets.cni.clone()));
    }
    if let Some(this) = sockets.http
        && let Some(other) = listen.iter().find(|other| clash(this, **other))
    {
        section.fault(section.place_of("http"), Problem::Overlap { this, other: *other });
    }
    sockets
}

/// True if not both addresses can be listened on.
pub(super) fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// An address, or nothing for an empty text.
fn http(value: &toml::de::DeValue<'_>) -> Result<Option<SocketAddr>, Problem> {
    if value.as_str() == Some("") { Ok(None) } else { value::socket_address(value).map(Some) }
}
