//! The daemon that is measured.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    API,
    world::{NAMESPACE, node_name},
};
use crate::bench::arena::{Arena, DIR, Running};

/// See the module.
pub(super) struct Daemon {
    pub(super) running: Running,
    pub(super) begun: Instant,
    /// Seconds from its start until it was ready with every route in the kernel.
    pub(super) took: f64,
}

impl Daemon {
    /// Starts it, with what an earlier one has left in its folder.
    pub(super) fn start(arena: &Arena, routed: &Path) -> Result<Self> {
        let (kubeconfig, config) = (format!("{DIR}/kubeconfig"), format!("{DIR}/routed.toml"));
        fs::write(&kubeconfig, kubeconfig_text())?;
        fs::write(&config, config_text(&kubeconfig))?;
        let routed = routed.to_str().context("the path of routed is not UTF-8")?;
        let argv = [routed, "run", "--log", "warn", "--config", &config].map(str::to_owned);
        let begun = Instant::now();
        Ok(Self { running: arena.start(&argv)?, begun, took: 0.0 })
    }

    /// Says it of itself that the node may carry traffic, and does it know all nodes?
    pub(super) fn is_ready(&self, nodes: u32) -> bool {
        get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
            && self.metric("slash32_cluster_objects{kind=\"Node\"}") >= Some(nodes)
            && self.metric("slash32_cluster_blocks{pool=\"pods\"}") > Some(0)
    }

    /// A figure of its metrics.
    pub(super) fn metric(&self, series: &str) -> Option<u32> {
        let answer = get("/metrics")?;
        let value = answer.lines().find_map(|line| line.strip_prefix(series))?;
        value.trim().parse().ok()
    }

    /// What it says if not.
    pub(super) fn why_not_ready(&self) -> String {
        let answer = get("/readyz").unwrap_or_else(|| "it does not answer".to_owned());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or(("", &answer));
        body.trim().replace('\n', "; ")
    }
}

fn get(path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&HTTP, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn kubeconfig_text() -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: bench\n\
         clusters: [{{name: bench, cluster: {{server: 'http://{API}'}}}}]\n\
         users: [{{name: bench, user: {{token: bench}}}}]\n\
         contexts: [{{name: bench, context: {{cluster: bench, user: bench, namespace: {NAMESPACE}}}}}]\n"
    )
}

fn config_text(kubeconfig: &str) -> String {
    let name = node_name(0);
    format!(
        "[node]\nname = \"{name}\"\n[bgp]\nlisten = [\"10.99.0.1:179\"]\n\
         [kubernetes]\nkubeconfig = \"{kubeconfig}\"\nstate = \"{DIR}/cluster\"\n\
         [sockets]\nadmin = \"{DIR}/routed.sock\"\ncni = \"{DIR}/cni.sock\"\nhttp = \"{HTTP}\"\n"
    )
}

/// Of `/readyz`.
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)), 9732);
const PATIENCE: Duration = Duration::from_secs(1);
