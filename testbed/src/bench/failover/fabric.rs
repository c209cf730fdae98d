//! The fabric that is measured: a spine that announces the world, two ToRs, two nodes with a pod each,
//! every node cabled to both ToRs.
//!
//! In: who routes on the nodes and on the ToRs, how many routes, how quick BFD is. Out: a lab in which
//! every route stands, to be broken and mended.

use std::fmt::{self, Write as _};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::lab::{Lab, Options, Route};
use crate::topology::{Bfd, Router, Runs, Topology};

/// Under which conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    /// Software of the ToRs.
    pub(super) tor: Runs,
    /// How many routes the spine announces.
    pub(super) routes: u32,
    /// How neighbours watch each other, if they do.
    pub(super) bfd: Option<Bfd>,
}

/// A fabric that is up.
pub(super) struct Fabric {
    pub(super) lab: Lab,
    /// Software of the nodes.
    pub(super) node: Runs,
    /// Addresses in the world, evenly spread over its routes, that take packets in.
    pub(super) world: Vec<IpAddr>,
    /// Of the pods on both nodes.
    pub(super) pods: [IpAddr; 2],
    routes: u32,
    bfd: Option<Bfd>,
}

impl Fabric {
    /// Raises it and waits until every route is where it belongs.
    pub(super) fn raise(setting: &Setting, node: Runs, bin_dir: Option<PathBuf>) -> Result<Self> {
        let text = topology(setting, node);
        let topology = Topology::parse("bench failover", &text)?;
        let lab = Lab::up(topology, &Options { bin_dir, ..Options::default() })?;
        let world = samples(setting.routes);
        let pods = [pod(&lab, node, 1)?, pod(&lab, node, 2)?];
        announce_world(&lab, setting.routes, &world)?;
        let fabric = Self { lab, node, world, pods, routes: setting.routes, bfd: setting.bfd };
        fabric.settle()?;
        Ok(fabric)
    }

    /// How many routes the world has.
    pub(super) const fn world_routes(&self) -> usize {
        self.routes as usize
    }

    /// Waits until all sessions stand and every route leads where it should.
    pub(super) fn settle(&self) -> Result<()> {
        self.lab.wait_until("all routes to be in their places", PATIENCE, || {
            if !self.lab.all_sessions_stand()? || !self.all_watch()? {
                return Ok(false);
            }
            for tor in ["tor1", "tor2"] {
                let routes = self.lab.routes(tor)?;
                for number in [1, 2] {
                    if ways(&routes, &range(number)) != [format!("node{number}")] {
                        return Ok(false);
                    }
                }
            }
            Ok(self.node_is_complete("node1", 2)? && self.node_is_complete("node2", 1)?)
        })
    }

    /// Is every neighbour watched by BFD at full speed, if at all? A session that has just come up
    /// takes seconds to notice anything.
    fn all_watch(&self) -> Result<bool> {
        let Some(bfd) = self.bfd else { return Ok(true) };
        for router in &self.lab.topology().routers {
            let neighbours = self.lab.topology().neighbours(&router.name).count();
            if watched(&self.lab, router, bfd)? != neighbours {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Does a node know the way to the other one and to the world, over both ToRs?
    fn node_is_complete(&self, node: &str, other: u8) -> Result<bool> {
        let routes = self.lab.routes(node)?;
        let world = routes.iter().filter(|route| is_world(route)).count();
        let samples = self.world.iter().map(|address| format!("{}/24", network_of(*address)));
        let mut wanted = samples.chain([range(other)]);
        Ok(world >= self.world_routes()
            && wanted.all(|prefix| ways(&routes, &prefix) == ["tor1", "tor2"]))
    }

    /// Ends a node's routing software as its operator does for a short while, so that neighbours keep
    /// its routes.
    pub(super) fn stop_for_a_while(&self, node: &str) -> Result<()> {
        if self.node != Runs::Bird {
            return self.lab.fault(&["stop", node]).map(drop);
        }
        self.lab.read(node, &["birdc", "graceful", "restart"])?;
        self.lab.wait_until("BIRD to end", PATIENCE, || {
            Ok(self.lab.fault(&["show", node])?.contains("bird does not run"))
        })
    }

    /// Tells everybody to prefer other ways, as this router's operator would (RFC 8326); or not any more.
    pub(super) fn drain(&self, router: &str, drained: bool) -> Result<()> {
        let of = self.lab.topology().router(router).context("no such router")?;
        match of.runs {
            Runs::Routed => {
                let argv: &[&str] =
                    if drained { &["routed", "drain", "--wait"] } else { &["routed", "undrain"] };
                self.lab.read(router, argv).map(drop)
            }
            Runs::Frr => {
                let word = if drained { "" } else { "no " };
                let (bgp, shutdown) =
                    (format!("router bgp {}", of.asn), format!("{word}bgp graceful-shutdown"));
                let argv = ["vtysh", "-c", "configure terminal", "-c", &bgp, "-c", &shutdown];
                self.lab.read(router, &argv).map(drop)
            }
            Runs::Bird => self.drain_bird(router, drained),
            Runs::None => Ok(()),
        }
    }

    fn drain_bird(&self, router: &str, drained: bool) -> Result<()> {
        let file = self.lab.path_of(router, "/etc/bird/bird.conf")?;
        let text = fs::read_to_string(&file)?;
        let (from, to) = if drained { (EXPORT, EXPORT_DRAINED) } else { (EXPORT_DRAINED, EXPORT) };
        ensure!(text.contains(from), "{} is not as the lab has made it", file.display());
        fs::write(&file, text.replace(from, to))?;
        self.lab.read(router, &["birdc", "configure"]).map(drop)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tor, routes, bfd } = self;
        write!(f, "{tor} on the ToRs, {routes} routes, ")?;
        match bfd {
            Some(Bfd { interval, multiplier }) => write!(f, "BFD {multiplier} × {interval} ms"),
            None => f.write_str("no BFD"),
        }
    }
}

/// How many neighbours a router watches at full speed, as its own software says.
fn watched(lab: &Lab, router: &Router, Bfd { interval, multiplier }: Bfd) -> Result<usize> {
    let detection = u64::from(interval) * u64::from(multiplier);
    let ask = |argv: &[&str]| lab.read(&router.name, argv);
    let count = |peers: &str, quick: &dyn Fn(&Value) -> bool| -> Result<usize> {
        let peers: Vec<Value> = serde_json::from_str(peers)?;
        Ok(peers.iter().filter(|peer| quick(peer)).count())
    };
    match router.runs {
        Runs::Routed => count(&ask(&["routed", "show", "peers", "-o", "json"])?, &|peer| {
            let bfd = &peer["bfd"];
            bfd["state"] == "Up" && bfd["detection_time_micros"] == detection * 1000
        }),
        Runs::Frr => count(&ask(&["vtysh", "-c", "show bfd peers json"])?, &|peer| {
            peer["status"] == "up" && peer["remote-transmit-interval"] == interval
        }),
        Runs::Bird => {
            // Address, interface, state, since, interval, detection time in seconds.
            let end = format!("{}.{:03}", detection / 1000, detection % 1000);
            let sessions = ask(&["birdc", "show", "bfd", "sessions"])?;
            let quick = |line: &&str| line.contains(" Up ") && line.trim().ends_with(&end);
            Ok(sessions.lines().filter(quick).count())
        }
        Runs::None => Ok(0),
    }
}

/// A pod: by the real plugin where `routed` runs, and the same objects by hand elsewhere.
fn pod(lab: &Lab, node: Runs, number: u8) -> Result<IpAddr> {
    let name = format!("node{number}");
    if node == Runs::Routed {
        let result = lab.pod_add(&name, POD)?;
        let address = result["ips"][0]["address"].as_str().unwrap_or_default();
        let address = address.split('/').next().unwrap_or_default();
        return address.parse().with_context(|| format!("no address in {result}"));
    }
    let address = Ipv4Addr::new(10, 244, number, 1);
    let script = format!(
        "set -e
        ip netns add {POD}
        ip link add pod type veth peer name eth0 netns {POD}
        ip link set pod up
        ip -n {POD} link set lo up
        ip -n {POD} link set eth0 up
        ip -n {POD} address add {address}/32 dev eth0
        ip -n {POD} route add 169.254.1.1 dev eth0
        ip -n {POD} route add default via 169.254.1.1
        host=$(cat /sys/class/net/pod/address)
        ip -n {POD} neighbour add 169.254.1.1 lladdr $host dev eth0 nud permanent
        pod=$(ip netns exec {POD} cat /sys/class/net/eth0/address)
        ip route add {address}/32 dev pod
        ip neighbour add {address} lladdr $pod dev pod nud permanent"
    );
    lab.read(&name, &["sh", "-c", &script])?;
    Ok(address.into())
}

/// The spine's routes, and addresses behind some of them.
fn announce_world(lab: &Lab, routes: u32, samples: &[IpAddr]) -> Result<()> {
    let mut text = String::from("protocol static world { ipv4;\n");
    for number in 0..routes {
        writeln!(text, "route {}/24 blackhole;", network(number)).expect("String takes all");
    }
    fs::write(lab.path_of("spine1", WORLD_FILE)?, text + "}\n")?;
    let addresses = samples.iter().map(|address| format!("ip address add {address}/32 dev lo\n"));
    lab.read("spine1", &["sh", "-ec", &addresses.collect::<String>()])?;
    // Long enough to read many routes.
    let answer = lab.read("spine1", &["birdc", "configure"])?;
    ensure!(answer.contains("econfigur"), "BIRD does not take the world: {answer}");
    sleep(Duration::from_millis(100));
    Ok(())
}

/// Both ToRs are one AS, as in RFC 7938 §5.2.1 those of a tier that shall not be a way for each other:
/// otherwise a ToR whose node is drained tries the way up and down again, and packets go round in circles.
fn topology(setting: &Setting, node: Runs) -> String {
    let bfd = setting.bfd.map(|Bfd { interval, multiplier }| {
        format!("bfd = {{ interval = {interval}, multiplier = {multiplier} }}")
    });
    let graceful = node != Runs::Routed;
    let mut text = format!(
        r#"{bfd}
links = [
  ["spine1", "tor1"], ["spine1", "tor2"],
  ["tor1", "node1"], ["tor1", "node2"], ["tor2", "node1"], ["tor2", "node2"],
]
[[spines]]
name = "spine1"
asn = 4200000000
runs = "bird"
extra_config = 'include "{WORLD_FILE}";'
files = {{ "{WORLD_FILE}" = "" }}
"#,
        bfd = bfd.unwrap_or_default(),
    );
    for number in [1, 2] {
        let tor = setting.tor;
        write!(
            text,
            r#"
[[tors]]
name = "tor{number}"
asn = 4200000001
runs = "{tor}"
[[nodes]]
name = "node{number}"
asn = 420000001{number}
runs = "{node}"
graceful_restart = {graceful}
pods = ["{range}"]
"#,
            range = range(number)
        )
        .expect("String takes all");
    }
    text
}

/// A node's pods.
fn range(number: u8) -> String {
    format!("10.244.{number}.0/24")
}

/// The world's networks are 20.0.0.0/24 and those after it.
fn network(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((20 << 24) + (number << 8))
}

fn network_of(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff),
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

fn is_world(route: &Route) -> bool {
    match route.dst.ip() {
        IpAddr::V4(address) => address.octets()[0] >= 20 && route.dst.prefix() == 24,
        IpAddr::V6(_) => false,
    }
}

/// Up to 16 addresses, the first and the last network's among them.
fn samples(routes: u32) -> Vec<IpAddr> {
    let count = routes.min(16);
    let number = |at: u32| if count < 2 { 0 } else { (routes - 1) / (count - 1) * at };
    let numbers = (0..count).map(|at| if at + 1 == count { routes - 1 } else { number(at) });
    numbers.map(|number| Ipv4Addr::from_bits(network(number).to_bits() + 1).into()).collect()
}

/// The neighbours that a prefix leads to, sorted.
fn ways(routes: &[Route], prefix: &str) -> Vec<String> {
    let of_prefix = routes.iter().filter(|route| route.dst.to_string() == prefix);
    let mut ways: Vec<String> =
        of_prefix.flat_map(|route| &route.hops).filter_map(|hop| hop.dev.clone()).collect();
    ways.sort();
    ways
}

/// Names each pod.
pub(super) const POD: &str = "web";
const WORLD_FILE: &str = "/etc/bird/world.conf";
/// What a BIRD of the lab announces, and what it announces while it is drained.
const EXPORT: &str = "export where source ~ [RTS_BGP, RTS_STATIC];";
const EXPORT_DRAINED: &str = "export filter { if source !~ [RTS_BGP, RTS_STATIC] then reject; \
                              bgp_community.add((65535, 0)); accept; };";
/// FRR takes half a minute for 100,000 routes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
