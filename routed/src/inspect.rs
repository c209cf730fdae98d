//! `routed pod …`: one pod's network from both sides, and the verdict of every check.
//!
//! In: a name, container id, process id, address or interface. Out: what `ip` would show on the host
//! and in the pod's namespace, counters, and what CHECK says of it. Reads the kernel itself and
//! works without a daemon; where one answers, its book of leases is compared too.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, File},
    net::IpAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use routed_core::{
    fib::route::PROTO_PODS,
    pod::{
        adopt::{Found, recognize},
        check::{Aspect, Difference, LinkSeen, Picture, differences},
        wiring::{RouteStamp, Wiring},
    },
};
use serde::Serialize;

use crate::{
    admin::Request,
    kernel::{
        netns::Traveller,
        pods::{Counters, View, interfaces, view},
    },
    show::{self, view::LeaseView},
};

/// One interface of a pod.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `namespace/name`, if the runtime named it.
    pub pod: Option<String>,
    /// Name of the network configuration.
    pub network: String,
    /// The runtime's name for the sandbox.
    pub container_id: String,
    /// Interface in the pod.
    pub ifname: String,
    /// By which path the namespace was found.
    pub netns: Option<PathBuf>,
    /// What is on the host.
    pub host: Vec<String>,
    /// What is in the pod.
    pub inside: Vec<String>,
    /// Every check.
    pub checks: Vec<Verdict>,
}

/// The outcome of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// What was looked at.
    pub check: String,
    /// Every difference; empty if all is well.
    pub differences: Vec<String>,
}

/// Every interface of the pod that is meant.
///
/// # Errors
///
/// If none is, or the kernel cannot be read.
pub fn run(which: &str, socket: &Path) -> anyhow::Result<Vec<Report>> {
    let traveller = Traveller::at_home().context("/proc is not mounted")?;
    let links = interfaces().context("interfaces cannot be listed; try sudo")?;
    // The table of the routes is of no interest to what is compared here.
    let stamp = RouteStamp { table: 0, protocol: PROTO_PODS, learned: 0 };
    let pods = links.iter().filter_map(|link| match recognize(link, stamp) {
        Some(Found::Pod(wiring)) => Some(wiring),
        Some(Found::Doomed(_) | Found::Leftover { .. } | Found::Unreadable { .. }) | None => None,
    });
    let pods: Vec<_> = pods.collect();
    let meant = select(&pods, which, &traveller)?;
    let book = show::ask::<LeaseView>(socket, &Request::Leases).map_err(|error| error.to_string());
    meant.into_iter().map(|wiring| report(wiring, &traveller, &book)).collect()
}

/// The pods for people.
#[must_use]
pub fn text(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} of {}, network {}, container {}",
            report.ifname,
            report.pod.as_deref().unwrap_or("a pod without name"),
            report.network,
            report.container_id
        );
        let at = report.netns.as_ref().map_or_else(
            || "in the pod: its namespace was not found".to_owned(),
            |path| format!("in the pod ({})", path.display()),
        );
        for (title, lines) in [("on the host", &report.host), (at.as_str(), &report.inside)] {
            let _ = writeln!(text, "  {title}");
            for line in lines {
                let _ = writeln!(text, "    {line}");
            }
        }
        text.push_str("  checks\n");
        for Verdict { check, differences } in &report.checks {
            let verdict =
                if differences.is_empty() { "ok".to_owned() } else { differences.join("; ") };
            let _ = writeln!(text, "    {check:<16} {verdict}");
        }
    }
    text
}

/// Those that are meant: by process id, container id or the beginning of one, name with or without
/// its namespace, address, or interface on the host.
fn select<'a>(
    pods: &'a [Wiring],
    which: &str,
    traveller: &Traveller,
) -> anyhow::Result<Vec<&'a Wiring>> {
    let named = |wiring: &&Wiring| {
        let pod = wiring.pod.as_ref();
        wiring.id.container_id() == which
            || (which.len() >= SHORTEST_ID && wiring.id.container_id().starts_with(which))
            || pod.is_some_and(|pod| pod.name == which || pod.to_string() == which)
            || wiring.host.name == which
            || which.parse().is_ok_and(|address: IpAddr| wiring.lease.contains(address))
    };
    let mut meant: Vec<_> = pods.iter().filter(named).collect();
    if meant.is_empty()
        && let Ok(process) = which.parse::<u32>()
    {
        let netns = File::open(format!("/proc/{process}/ns/net"))
            .with_context(|| format!("there is no process {process}"))?;
        if traveller.is_home(netns.as_fd())? {
            bail!("process {process} is on the host's own network");
        }
        let links = traveller.within(netns.as_fd(), interfaces)??;
        meant =
            pods.iter().filter(|wiring| links.iter().any(|link| is_inside(wiring, link))).collect();
    }
    if meant.is_empty() {
        let known: Vec<_> = pods.iter().map(name).take(MOST_NAMES).collect();
        let more = if pods.len() > MOST_NAMES { ", …" } else { "" };
        bail!(
            "no pod of this node is meant by {which:?}; there are {} ({}{more}): give the name, the \
             container id, a process id in the pod, or an address",
            pods.len(),
            known.join(", ")
        );
    }
    Ok(meant)
}

fn name(wiring: &Wiring) -> String {
    wiring.pod.as_ref().map_or_else(|| wiring.id.container_id().to_owned(), ToString::to_string)
}

/// Is this the pod's end of the pair?
fn is_inside(wiring: &Wiring, link: &LinkSeen) -> bool {
    link.index == wiring.inside.index && link.peer == Some(wiring.host.index) && link.veth
}

fn report(
    wiring: &Wiring,
    traveller: &Traveller,
    book: &Result<Vec<LeaseView>, String>,
) -> anyhow::Result<Report> {
    let found = find(wiring, traveller);
    let seen = view(traveller, found.as_ref().map(|(_, netns)| netns.as_fd()), wiring)
        .context("the kernel cannot be read")?;
    let found_at = found.map(|(path, _)| path);
    let mut differences = differences(wiring, None, &seen.picture);
    if found_at.is_none() {
        // What cannot be seen is not missing.
        differences.retain(|difference| !difference.aspect().is_inside());
    }
    let checks = Aspect::ALL.into_iter().filter(|aspect| found_at.is_some() || !aspect.is_inside());
    let mut checks: Vec<_> = checks.map(|aspect| verdict(aspect, &differences)).collect();
    checks.push(lease(wiring, book));
    Ok(Report {
        pod: wiring.pod.as_ref().map(ToString::to_string),
        network: wiring.id.network().to_owned(),
        container_id: wiring.id.container_id().to_owned(),
        ifname: wiring.id.ifname().to_owned(),
        netns: found_at,
        host: on_host(wiring, &seen),
        inside: inside(wiring, &seen),
        checks,
    })
}

fn verdict(aspect: Aspect, differences: &[Difference]) -> Verdict {
    let own = differences.iter().filter(|difference| difference.aspect() == aspect);
    Verdict { check: aspect.to_string(), differences: own.map(ToString::to_string).collect() }
}

/// What the daemon's book says.
fn lease(wiring: &Wiring, book: &Result<Vec<LeaseView>, String>) -> Verdict {
    let check = "lease".to_owned();
    let leases = match book {
        Ok(leases) => leases,
        Err(error) => {
            return Verdict { check, differences: vec![format!("not compared: {error}")] };
        }
    };
    let holder = |address| leases.iter().find(|lease| lease.address == address)?.holder();
    let strange =
        wiring.lease.iter().filter(|address| holder(*address) != Some(wiring.id.to_string()));
    let differences = strange.map(|address| match holder(address) {
        Some(other) => format!("{address} is leased to {other}"),
        None => format!("{address} is leased to nobody"),
    });
    Verdict { check, differences: differences.collect() }
}

fn on_host(wiring: &Wiring, seen: &View) -> Vec<String> {
    let Picture { host, host_routes, host_neighbours, permitted, .. } = &seen.picture;
    let mut lines: Vec<_> = host.iter().map(link).collect();
    lines.extend(seen.host.iter().map(counters));
    lines.extend(host_routes.iter().map(|route| {
        let dev = if route.index == Some(wiring.host.index) {
            wiring.host.name.as_str()
        } else {
            "another"
        };
        format!("route      {} dev {dev} proto {}", route.prefix, route.protocol)
    }));
    lines.extend(host_neighbours.iter().map(neighbour));
    lines.push(match permitted {
        None => "rules      none: guard = false, or no daemon has run".to_owned(),
        Some(permitted) => {
            let from: Vec<_> = permitted.iter().map(ToString::to_string).collect();
            format!(
                "rules      may send from {}",
                if from.is_empty() { "nowhere".to_owned() } else { from.join(", ") }
            )
        }
    });
    lines
}

fn inside(wiring: &Wiring, seen: &View) -> Vec<String> {
    let Picture { inside, addresses, routes, neighbours, .. } = &seen.picture;
    let own = inside.iter().filter(|link| link.name == wiring.inside.name);
    let mut lines: Vec<_> = own.map(link).collect();
    lines.extend(seen.inside.iter().map(counters));
    lines.extend(addresses.iter().map(|address| {
        let state = match (address.duplicate, address.tentative) {
            (true, _) => " duplicate",
            (false, true) => " tentative",
            (false, false) => "",
        };
        format!("address    {}/{}{state}", address.address, address.len)
    }));
    lines.extend(routes.iter().map(|route| {
        let via = route.gateway.map_or_else(String::new, |gateway| format!(" via {gateway}"));
        format!("route      {}{via} dev {}", route.prefix, wiring.inside.name)
    }));
    lines.extend(neighbours.iter().map(neighbour));
    lines
}

fn link(link: &LinkSeen) -> String {
    let LinkSeen { name, index, up, mtu, mac, .. } = link;
    let mac = mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
    format!(
        "link       {name} index {index} {} mtu {mtu} mac {mac}",
        if *up { "up" } else { "down" }
    )
}

fn counters(counters: &Counters) -> String {
    let Counters { received, sent, errors, dropped, received_octets, sent_octets } = counters;
    format!(
        "counters   received {received} packets, {received_octets} octets; sent {sent} packets, \
         {sent_octets} octets; {errors} errors, {dropped} dropped"
    )
}

fn neighbour(seen: &routed_core::pod::check::NeighbourSeen) -> String {
    let mac = seen.mac.map_or_else(|| "unknown".to_owned(), |mac| mac.to_string());
    let permanent = if seen.permanent { " permanent" } else { "" };
    format!("neighbour  {} at {mac}{permanent}", seen.address)
}

/// The pod's namespace: one of those that have a name, else one of a process.
fn find(wiring: &Wiring, traveller: &Traveller) -> Option<(PathBuf, OwnedFd)> {
    let named = ["/run/netns", "/var/run/netns", "/run/docker/netns"].into_iter().flat_map(entries);
    let processes = entries("/proc").into_iter().filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.parse::<u32>().is_ok()
    });
    let mut seen = BTreeSet::new();
    named.chain(processes.map(|path| path.join("ns/net"))).find_map(|path| {
        let file = File::open(&path).ok()?;
        // Many processes share few namespaces.
        let metadata = file.metadata().ok()?;
        if !seen.insert((metadata.dev(), metadata.ino())) {
            return None;
        }
        let netns = OwnedFd::from(file);
        if traveller.is_home(netns.as_fd()).ok()? {
            return None;
        }
        let links = traveller.within(netns.as_fd(), interfaces).ok()?.ok()?;
        links.iter().any(|link| is_inside(wiring, link)).then_some((path, netns))
    })
}

fn entries(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Characters of a container id that name it: what runtimes' own tables show is more.
const SHORTEST_ID: usize = 4;
/// Names in a message.
const MOST_NAMES: usize = 10;
