//! One router: its name, numbers, loopbacks, what it announces, what runs on it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Component, Path};

use ipnetwork::IpNetwork;

use super::super::faults::Problem;
use super::super::raw::RawRouter;
use super::super::{Role, Router, Runs};
use super::{Desk, Pools, host_length, nth_v4, nth_v6};

impl Desk {
    pub(super) fn router(
        &mut self,
        place: &str,
        role: Role,
        raw: RawRouter,
        ordinal: usize,
        earlier: &[Router],
        pools: Pools,
    ) -> Router {
        if !is_router_name(&raw.name) {
            self.fault(format!("{place}.name"), Problem::BadName(raw.name.clone()));
        }
        if earlier.iter().any(|router| router.name == raw.name) {
            self.fault(format!("{place}.name"), Problem::NameTwice(raw.name.clone()));
        }
        // 0, AS_TRANS and the last number of either width.
        if matches!(raw.asn, 0 | 23456 | 65535 | u32::MAX) {
            self.fault(format!("{place}.asn"), Problem::BadAsn(raw.asn));
        }
        let loopback = self.loopback(place, &raw.loopback, ordinal, pools);
        let router_id = loopback.iter().find_map(|network| match network.ip() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        if router_id.is_none() {
            self.fault(format!("{place}.loopback"), Problem::NoRouterId);
        }
        self.announced(place, role, &raw);
        self.software(place, &raw);
        Router {
            name: raw.name,
            role,
            runs: raw.runs,
            asn: raw.asn,
            router_id: router_id.unwrap_or(Ipv4Addr::UNSPECIFIED),
            loopback,
            pods: raw.pods,
            networks: raw.networks,
            config: raw.config,
            extra_config: raw.extra_config,
            graceful_restart: raw.graceful_restart,
            command: raw.command,
            files: raw.files,
        }
    }

    fn loopback(
        &mut self,
        place: &str,
        written: &[IpNetwork],
        ordinal: usize,
        pools: Pools,
    ) -> Vec<IpNetwork> {
        let place = format!("{place}.loopback");
        if written.is_empty() {
            let v4 = nth_v4(pools.loopback_v4, ordinal, 32);
            let v6 = nth_v6(pools.loopback_v6, ordinal, 128, 0);
            return self
                .settled(&place, pools.loopback_v4.into(), v4.map(IpNetwork::V4))
                .into_iter()
                .chain(self.settled(&place, pools.loopback_v6.into(), v6.map(IpNetwork::V6)))
                .collect();
        }
        for (index, network) in written.iter().enumerate() {
            let place = format!("{place}[{index}]");
            if network.prefix() != host_length(*network) {
                self.fault(&place, Problem::LoopbackNotHost(*network));
            }
            self.claim(&place, *network);
        }
        written.to_vec()
    }

    /// Pod ranges and networks: on the right role, without host bits, used once.
    fn announced(&mut self, place: &str, role: Role, raw: &RawRouter) {
        if role != Role::Node && !raw.pods.is_empty() {
            self.fault(format!("{place}.pods"), Problem::PodsElsewhere);
        }
        if role == Role::Node && !raw.networks.is_empty() {
            self.fault(format!("{place}.networks"), Problem::NetworksOnNode);
        }
        for (key, list) in [("pods", &raw.pods), ("networks", &raw.networks)] {
            for (index, network) in list.iter().enumerate() {
                let place = format!("{place}.{key}[{index}]");
                self.no_host_bits(&place, *network);
                self.claim(&place, *network);
            }
        }
    }

    fn software(&mut self, place: &str, raw: &RawRouter) {
        if raw.runs != Runs::None && !raw.command.is_empty() {
            self.fault(format!("{place}.command"), Problem::CommandBesideSoftware);
        }
        if raw.runs == Runs::None && (raw.config.is_some() || raw.extra_config.is_some()) {
            self.fault(format!("{place}.config"), Problem::ConfigWithoutSoftware);
        }
        for path in raw.files.keys().filter(|path| !is_own_path(path)) {
            let path = path.display().to_string();
            self.fault(format!("{place}.files"), Problem::FileElsewhere(path));
        }
    }
}

pub(super) fn is_router_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !matches!(name, "lo" | "all" | "default")
}

fn is_own_path(path: &Path) -> bool {
    let own = ["/etc", "/run", "/var/lib", "/var/log", "/var/tmp"];
    own.iter().any(|dir| path.starts_with(dir) && path != Path::new(dir))
        && path.components().all(|part| part != Component::ParentDir)
}
