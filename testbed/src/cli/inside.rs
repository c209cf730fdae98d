//! Commands that do something inside of a router or a pod.

use std::fmt::Write;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{Format, Ping, PodVerb, print};
use crate::enter::{self, Place};
use crate::netlink::{RouteView, Rtnetlink};
use crate::ping::Pace;
use crate::registry::{LabDir, Plan, Registry};
use crate::topology::Router;
use crate::{daemon, ping as icmp, pod as pods, speaker};

pub(super) fn exec(name: Option<&str>, place: &Place, argv: &[String]) -> Result<i32> {
    let lab = Registry::open()?.find(name)?;
    let bin_dir = lab.plan()?.bin_dir;
    enter::run_in(&lab, place, || {
        match enter::command(argv, &bin_dir) {
            // Comes back only if the program cannot be started.
            Ok(mut command) => eprintln!("error: {}: {}", argv[0], command.exec()),
            Err(error) => eprintln!("error: {error:#}"),
        }
        // As a shell says it.
        Ok(127)
    })
}

pub(super) fn pod(name: Option<&str>, verb: PodVerb, node: String, pod: &str) -> Result<i32> {
    let lab = Registry::open()?.find(name)?;
    let bin_dir = lab.plan()?.bin_dir;
    in_router(&lab, node, || match verb {
        PodVerb::Add => pods::add(pod, &bin_dir),
        PodVerb::Check => pods::check(pod, &bin_dir),
        PodVerb::Del => pods::del(pod, &bin_dir),
    })
}

pub(super) fn routes(name: Option<&str>, place: &Place, output: Format) -> Result<i32> {
    let lab = Registry::open()?.find(name)?;
    enter::run_in(&lab, place, || {
        let routes = Rtnetlink::open()?.routes()?;
        match output {
            Format::Text => {
                print(&routes.iter().map(|route| format!("{route}\n")).collect::<String>())?;
            }
            Format::Json => print(&format!("{}\n", routes_json(&routes)))?,
        }
        Ok(0)
    })
}

pub(super) fn ping(name: Option<&str>, ping: &Ping) -> Result<i32> {
    ensure!(
        (0.001..=3600.0).contains(&ping.interval),
        "--interval {}: use 0.001 to 3600 seconds",
        ping.interval
    );
    let lab = Registry::open()?.find(name)?;
    let mut addresses = Vec::new();
    for to in &ping.to {
        addresses.extend(addresses_of(&lab, to)?);
    }
    let pace = Pace {
        interval: Duration::from_secs_f64(ping.interval),
        count: (!ping.endless).then_some(ping.count),
    };
    enter::run_in(&lab, &ping.place, || {
        icmp::end_on_signals()?;
        let silent = ping.quiet || ping.output == Format::Json;
        let tallies = icmp::ping(&addresses, pace, |address, number, elapsed, ttl| {
            if !silent {
                let ttl = ttl.map(|ttl| format!(" ttl={ttl}")).unwrap_or_default();
                println!("{address}: seq={number}{ttl} time={:.3} ms", millis(elapsed));
            }
        })?;
        match ping.output {
            Format::Json => print(&format!("{}\n", serde_json::to_string(&tallies)?))?,
            Format::Text => print(&tallies.iter().map(tally_line).collect::<String>())?,
        }
        Ok(i32::from(tallies.iter().any(|tally| tally.received == 0)))
    })
}

pub(super) fn switch(
    name: Option<&str>,
    router: String,
    neighbour: Option<&str>,
    up: bool,
) -> Result<i32> {
    let lab = Registry::open()?.find(name)?;
    let Plan { topology, .. } = lab.plan()?;
    let ifnames: Vec<String> = topology
        .ends(&router)
        .map(|end| end.ifname.clone())
        .filter(|ifname| neighbour.is_none_or(|neighbour| ifname == neighbour))
        .collect();
    if let (Some(neighbour), true) = (neighbour, ifnames.is_empty()) {
        bail!("no link between {router} and {neighbour} in lab {}", lab.name());
    }
    in_router(&lab, router, || {
        let mut netlink = Rtnetlink::open()?;
        for ifname in &ifnames {
            netlink.set_link(ifname, up).with_context(|| format!("cannot switch {ifname}"))?;
        }
        Ok(0)
    })
}

/// Stops a router's daemons if there is a signal, then starts them if so wished.
pub(super) fn daemons(
    name: Option<&str>,
    router: String,
    stop: Option<Signal>,
    start: bool,
) -> Result<i32> {
    let lab = Registry::open()?.find(name)?;
    let plan = lab.plan()?;
    let setup = speaker::setup(&plan.topology, router_of(&plan, &router)?);
    in_router(&lab, router, || {
        if let Some(signal) = stop {
            daemon::stop(&setup, signal)?;
        }
        if start {
            daemon::start(&setup, &plan.bin_dir)?;
        }
        Ok(0)
    })
}

/// Starts a router's daemons while the lab is being built: called by its supervisor, inside.
pub(super) fn boot(dir: &Path, router: &str, holder: i32) -> Result<i32> {
    let plan = LabDir::at(dir.to_path_buf()).plan()?;
    let setup = speaker::setup(&plan.topology, router_of(&plan, router)?);
    enter::enter_router(holder)?;
    daemon::start(&setup, &plan.bin_dir)?;
    Ok(0)
}

pub(super) fn in_router(
    lab: &LabDir,
    router: String,
    work: impl FnOnce() -> Result<i32>,
) -> Result<i32> {
    enter::run_in(lab, &Place { router, pod: None }, work)
}

pub(super) fn router_of<'a>(plan: &'a Plan, router: &str) -> Result<&'a Router> {
    plan.topology.router(router).with_context(|| format!("no router {router:?} in this lab"))
}

/// An address as it is, a router's loopbacks, or a pod's addresses.
fn addresses_of(lab: &LabDir, to: &str) -> Result<Vec<IpAddr>> {
    if let Ok(address) = to.parse() {
        return Ok(vec![address]);
    }
    let Ok(place) = to.parse::<Place>();
    let plan = lab.plan()?;
    let router = router_of(&plan, &place.router)
        .with_context(|| format!("{to:?} is no address, ROUTER or ROUTER/POD"))?;
    let Some(pod) = place.pod else {
        return Ok(router.loopback.iter().map(ipnetwork::IpNetwork::ip).collect());
    };
    let records = pods::records(&lab.router(&place.router).join("run"))?;
    let (_, record) = records
        .iter()
        .find(|(name, _)| *name == pod)
        .with_context(|| format!("no pod {pod:?} on {}", place.router))?;
    record.addresses().iter().map(|address| Ok(address.parse()?)).collect()
}

fn routes_json(routes: &[RouteView]) -> serde_json::Value {
    let routes = routes.iter().map(|route| {
        let hops: Vec<_> = route
            .hops
            .iter()
            .map(|hop| json!({ "gateway": hop.gateway, "dev": hop.ifname, "linkdown": hop.linkdown }))
            .collect();
        json!({
            "dst": route.destination,
            "type": format!("{:?}", route.kind).to_lowercase(),
            "protocol": u8::from(route.protocol),
            "metric": route.metric,
            "hops": hops,
        })
    });
    routes.collect()
}

fn tally_line(tally: &icmp::Tally) -> String {
    let mut line = format!(
        "{}: {} sent, {} received, {} lost",
        tally.address,
        tally.sent,
        tally.received,
        tally.lost()
    );
    if tally.received > 0 {
        let mean = Duration::from_micros(tally.mean_us);
        write!(line, ", mean {:.3} ms", millis(mean)).expect("String takes all");
    }
    if tally.lost() > 0 {
        write!(line, ", longest outage {} ms", tally.longest_outage_ms).expect("String takes all");
    }
    line + "\n"
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
