//! What `routed check` says of a file: what it comes to, or everything that is wrong with it.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use bgp::{config::Ttl, family::Family, policy::Policy};
use serde::Serialize;

mod options;

use super::table::{Align, Table};
use crate::config::{
    Base, Config, DynamicPeers, Fault, Invalid, Loaded, Mode, Peer, PeerAddress, Place, Station,
    Warning,
};

/// The result for programs.
#[derive(Debug, Serialize)]
pub struct CheckView {
    /// The file as it was named.
    pub file: String,
    /// Whether a daemon would start with it.
    pub valid: bool,
    /// Why not.
    pub faults: Vec<FindingView>,
    /// What is allowed and perhaps not meant.
    pub warnings: Vec<FindingView>,
    /// It has `[kubernetes]`: what is not in it comes from the cluster, and is not checked here.
    pub in_cluster: bool,
    /// What it comes to; `None` if it is not valid, or in a cluster.
    pub summary: Option<Summary>,
}

/// A fault or a warning.
#[derive(Debug, Serialize)]
pub struct FindingView {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// What a configuration comes to.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Name of the node.
    pub node: String,
    /// `node` or `speaker`.
    pub mode: &'static str,
    /// Our AS.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: String,
    /// Where peers may connect.
    pub listen: Vec<SocketAddr>,
    /// Pod ranges.
    pub pods: Vec<String>,
    /// Whether learned routes go into the kernel.
    pub learned_routes: bool,
    /// Routing table of our routes.
    pub table: u32,
    /// Route protocol number of our routes.
    pub protocol: u8,
    /// Every peer.
    pub peers: Vec<PeerSummary>,
    /// Every group of dynamic peers; its prefix stands for the address.
    pub dynamic_peers: Vec<PeerSummary>,
    /// Every monitoring station.
    pub stations: Vec<StationSummary>,
    /// File in which it is recorded what peers say, if it is.
    pub recording: Option<String>,
}

/// One monitoring station of a configuration.
#[derive(Debug, Serialize)]
pub struct StationSummary {
    /// Name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Source address; `None`: the kernel chooses.
    pub local_address: Option<IpAddr>,
    /// What it is told.
    pub views: Vec<String>,
    /// Seconds from one statistics report to the next; 0: none are sent.
    pub statistics_interval: u64,
}

/// One peer of a configuration.
#[derive(Debug, Serialize)]
pub struct PeerSummary {
    /// Name.
    pub name: String,
    /// `10.1.1.0` or, with another port than 179, `10.1.1.0:1790`; `eth1` if it is learned there.
    pub address: String,
    /// A number, `external` or `internal`.
    pub asn: String,
    /// How far it may be away.
    pub ttl: String,
    /// Hold time to offer, in seconds; 0 is off.
    pub hold_time: u16,
    /// Families to offer.
    pub families: Vec<String>,
    /// Policy; `None`: what RFC 8212 says.
    pub import: Option<String>,
    /// Policy; `None`: what RFC 8212 says.
    pub export: Option<String>,
    /// Every other setting that is not at its default, in words.
    pub options: Vec<String>,
}

impl CheckView {
    /// The view of what is read of a file.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        match Base::load(file) {
            Ok(Some(base)) => Self::of_base(file, &base),
            Ok(None) => Self::new(file, &Config::load(file)),
            Err(invalid) => Self::new(file, &Err(invalid)),
        }
    }

    fn of_base(file: &Path, base: &Base) -> Self {
        let (faults, warnings) = base.findings();
        Self {
            file: file.display().to_string(),
            valid: faults.is_empty(),
            faults: faults.iter().map(FindingView::of_fault).collect(),
            warnings: warnings.iter().map(FindingView::of_warning).collect(),
            in_cluster: true,
            summary: None,
        }
    }

    fn new(file: &Path, outcome: &Result<Loaded, Invalid>) -> Self {
        let warnings = match outcome {
            Ok(loaded) => &loaded.warnings,
            Err(invalid) => &invalid.warnings,
        };
        let faults = outcome.as_ref().err().map_or(&[][..], |invalid| &invalid.faults);
        Self {
            file: file.display().to_string(),
            valid: outcome.is_ok(),
            faults: faults.iter().map(FindingView::of_fault).collect(),
            warnings: warnings.iter().map(FindingView::of_warning).collect(),
            in_cluster: false,
            summary: outcome.as_ref().ok().map(|loaded| Summary::of(&loaded.config)),
        }
    }
}

impl FindingView {
    fn of_fault(fault: &Fault) -> Self {
        Self { place: fault.place.clone(), message: fault.problem.to_string() }
    }

    fn of_warning(warning: &Warning) -> Self {
        Self { place: warning.place.clone(), message: warning.caution.to_string() }
    }
}

impl Summary {
    fn of(config: &Config) -> Self {
        Self {
            node: config.node.name.clone(),
            mode: match config.node.mode {
                Mode::Node => "node",
                Mode::Speaker => "speaker",
            },
            asn: config.speaker.asn.0,
            router_id: config.speaker.router_id.to_string(),
            listen: config.speaker.listen.clone(),
            pods: config
                .pods
                .iter()
                .flat_map(|pods| pods.prefixes.iter().map(ToString::to_string))
                .collect(),
            learned_routes: config.kernel.learned_routes,
            table: config.kernel.table,
            protocol: config.kernel.protocol,
            peers: config.peers.iter().map(PeerSummary::of).collect(),
            dynamic_peers: config.dynamic_peers.iter().map(PeerSummary::of_group).collect(),
            stations: config.stations.iter().map(StationSummary::of).collect(),
            recording: config.recording.as_ref().map(|mrt| mrt.file.display().to_string()),
        }
    }

    /// For people: a few lines and the table of peers.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { node, mode, asn, router_id, .. } = self;
        let listen: Vec<_> = self.listen.iter().map(ToString::to_string).collect();
        let or = |list: &[String], none: &str| {
            if list.is_empty() { none.to_owned() } else { list.join(", ") }
        };
        let kernel = if self.learned_routes {
            format!("learned routes into table {}, protocol {}", self.table, self.protocol)
        } else {
            "no learned routes".to_owned()
        };
        format!(
            "node    {node}, mode {mode}\n\
             bgp     AS {asn}, router id {router_id}, listening on {}\n\
             pods    {}\n\
             kernel  {kernel}\n{}\n{}{}",
            or(&listen, "nothing"),
            or(&self.pods, "none"),
            self.recording.as_ref().map(|file| format!("mrt     {file}\n")).unwrap_or_default(),
            peers(self.peers.iter().chain(&self.dynamic_peers)),
            stations(&self.stations),
        )
    }
}

impl StationSummary {
    fn of(station: &Station) -> Self {
        let interval = station.statistics_interval;
        Self {
            name: station.name.to_string(),
            address: station.address,
            local_address: station.local_address,
            views: station.views.iter().map(|view| view.to_string()).collect(),
            statistics_interval: interval.map_or(0, |interval| interval.as_secs()),
        }
    }
}

impl PeerSummary {
    fn of_group(group: &DynamicPeers) -> Self {
        let mut summary = Self::of(group.template());
        summary.address = group.prefix.to_string();
        summary.options.retain(|option| option != "passive");
        summary.options.insert(0, format!("dynamic, at most {}", group.limit));
        summary
    }

    fn of(peer: &Peer) -> Self {
        let name = |policy: &Option<std::sync::Arc<Policy>>| {
            policy.as_ref().map(|policy| policy.name.to_string())
        };
        Self {
            name: peer.name.to_string(),
            address: match (&peer.address, peer.port) {
                (address, 179) => address.to_string(),
                (PeerAddress::Fixed(address), port) => SocketAddr::new(*address, port).to_string(),
                (PeerAddress::Learned(interface), port) => format!("{interface} port {port}"),
            },
            asn: peer.session.peer_asn.to_string(),
            ttl: match peer.ttl {
                Ttl::Any if peer.is_on_link() => "on link".to_owned(),
                Ttl::OnLink => "on link".to_owned(),
                Ttl::Multihop(hops) => format!("TTL {hops}"),
                Ttl::Security(hops) => format!("GTSM {hops}"),
                Ttl::Any => "any".to_owned(),
            },
            hold_time: peer.session.hold_time.seconds(),
            families: Family::ALL
                .into_iter()
                .filter(|family| peer.session.families.contains(*family))
                .map(|family| family.to_string())
                .collect(),
            import: name(&peer.rib.import),
            export: name(&peer.rib.export),
            options: options::of(peer),
        }
    }
}

fn peers<'p>(peers: impl Iterator<Item = &'p PeerSummary>) -> String {
    let peers: Vec<_> = peers.collect();
    if peers.is_empty() {
        return "no peers\n".to_owned();
    }
    let mut table = Table::new()
        .column("PEER", Align::Left)
        .column("ADDRESS", Align::Left)
        .column("AS", Align::Right)
        .column("DISTANCE", Align::Left)
        .column("HOLD", Align::Right)
        .column("FAMILIES", Align::Left)
        .column("IMPORT", Align::Left)
        .column("EXPORT", Align::Left);
    for peer in &peers {
        let policy = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        table.row([
            peer.name.clone(),
            peer.address.clone(),
            peer.asn.clone(),
            peer.ttl.clone(),
            peer.hold_time.to_string(),
            peer.families.join(" "),
            policy(&peer.import),
            policy(&peer.export),
        ]);
    }
    let mut options = Table::new().column("PEER", Align::Left).column("OPTIONS", Align::Left);
    let particular = peers.iter().filter(|peer| !peer.options.is_empty());
    particular.clone().for_each(|peer| options.row([peer.name.clone(), peer.options.join("; ")]));
    match particular.count() {
        0 => table.to_string(),
        _ => format!("{table}\n{options}"),
    }
}

/// After the peers; nothing where there are none.
fn stations(stations: &[StationSummary]) -> String {
    if stations.is_empty() {
        return String::new();
    }
    let mut table = Table::new()
        .column("STATION", Align::Left)
        .column("ADDRESS", Align::Left)
        .column("VIEWS", Align::Left)
        .column("STATISTICS", Align::Right);
    for station in stations {
        table.row([
            station.name.clone(),
            station.address.to_string(),
            station.views.join(" "),
            match station.statistics_interval {
                0 => "off".to_owned(),
                seconds => format!("{seconds} s"),
            },
        ]);
    }
    format!("\n{table}")
}
