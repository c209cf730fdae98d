//! What `./testbed/run show` prints.
//!
//! In: a topology, or a lab that is up. Out: text, for people.

use std::fmt::Write;

use anyhow::Result;

use crate::fault::FROZEN;
use crate::lab::Lab;
use crate::netlink::IFF_UP;
use crate::pod;
use crate::registry::LabDir;
use crate::speaker;
use crate::topology::{Addresses, Router, Runs, Topology};

/// One line for each lab.
pub(crate) fn labs(labs: &[LabDir]) -> Result<String> {
    if labs.is_empty() {
        return Ok("no lab is up; raise one with `./testbed/run up two-racks`\n".into());
    }
    let mut rows = vec![row(["LAB", "TOPOLOGY", "ROUTERS", "SUPERVISOR", "FOLDER"])];
    for lab in labs {
        let plan = lab.plan()?;
        rows.push(vec![
            plan.name.clone(),
            plan.topology.source.clone(),
            plan.topology.routers.len().to_string(),
            lab.pid()?.to_string(),
            lab.path().display().to_string(),
        ]);
    }
    Ok(table(&rows))
}

/// Routers with their sessions, links with their state, pods with their addresses.
pub(crate) fn lab(lab: &Lab) -> Result<String> {
    let topology = lab.topology();
    let mut text =
        format!("lab {} of {}, in {}\n\n", lab.name(), topology.source, lab.dir().display());
    let mut rows = vec![row(["ROUTER", "ROLE", "RUNS", "PID", "AS", "ROUTER ID", "SESSIONS"])];
    let faults = lab.faults()?;
    for router in &topology.routers {
        let mut row = described(router);
        row.insert(3, lab.pid(&router.name).map_or("dead".into(), |pid| pid.to_string()));
        row.push(sessions(lab, router, &faults));
        rows.push(row);
    }
    text.push_str(&table(&rows));
    text.push('\n');
    text.push_str(&table(&links(topology, |router, ifname| state(lab, router, ifname))));
    let mut rows = vec![row(["POD", "ADDRESSES", "CONTAINER ID"])];
    for router in &topology.routers {
        for (name, record) in pod::records(&lab.node_dir(&router.name).join("run"))? {
            let addresses = record.addresses().join(" ");
            rows.push(vec![format!("{}/{name}", router.name), addresses, record.container_id]);
        }
    }
    if rows.len() > 1 {
        text.push('\n');
        text.push_str(&table(&rows));
    }
    if !faults.is_empty() {
        writeln!(text, "\nFAULTS (undone by `fault clear`)\n{faults}").expect("String takes all");
    }
    Ok(text)
}

/// A plan with all addresses.
pub(crate) fn topology(topology: &Topology) -> String {
    let mut rows =
        vec![row(["ROUTER", "ROLE", "RUNS", "AS", "ROUTER ID", "LOOPBACK", "ANNOUNCES"])];
    for router in &topology.routers {
        let mut row = described(router);
        row.push(joined(&router.loopback));
        row.push(joined(&router.originates().collect::<Vec<_>>()));
        rows.push(row);
    }
    let links = links(topology, |_, _| String::new());
    format!("topology {} is fine\n\n{}\n{}", topology.source, table(&rows), table(&links))
}

fn described(router: &Router) -> Vec<String> {
    vec![
        router.name.clone(),
        router.role.to_string(),
        router.runs.to_string(),
        router.asn.to_string(),
        router.router_id.to_string(),
    ]
}

fn links(topology: &Topology, state: impl Fn(&str, &str) -> String) -> Vec<Vec<String>> {
    let mut rows = vec![row(["LINK", "IPV4", "IPV6", "STATE"])];
    let ends = topology.links.iter().flat_map(|link| &link.ends);
    for end in ends.chain(topology.lans.iter().flat_map(|lan| &lan.members)) {
        let address = |text: fn(&Addresses) -> String| {
            end.addresses.as_ref().map_or_else(|| "unnumbered".to_owned(), text)
        };
        rows.push(vec![
            format!("{} → {}", end.router, end.ifname),
            address(|addresses| addresses.ipv4.to_string()),
            address(|addresses| addresses.ipv6.to_string()),
            state(&end.router, &end.ifname),
        ]);
    }
    rows
}

fn sessions(lab: &Lab, router: &Router, faults: &str) -> String {
    if router.runs == Runs::None {
        return "-".into();
    }
    let of_router = |line: &&str| line.starts_with(&format!("{}: ", router.name));
    if faults.lines().filter(of_router).any(|line| line.ends_with(FROZEN)) {
        // It would never answer.
        return "frozen".into();
    }
    match lab.sessions(&router.name) {
        Ok(sessions) => {
            let established = sessions.iter().filter(|session| session.established).count();
            let others: Vec<String> = sessions
                .iter()
                .filter(|session| !session.established)
                .map(|speaker::Session { peer, state, .. }| format!(", {peer} {state}"))
                .collect();
            format!("{established}/{} established{}", sessions.len(), others.concat())
        }
        Err(_) => format!("{} does not answer", router.runs),
    }
}

fn state(lab: &Lab, router: &str, ifname: &str) -> String {
    let read = |name: &str| {
        let path = format!("/proc/{}/root/sys/class/net/{ifname}/{name}", lab.pid(router).ok()?);
        std::fs::read_to_string(path).ok()
    };
    let Some(flags) = read("flags") else { return "unknown".into() };
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap_or(0);
    // The kernel refuses to tell the carrier of an interface that is off.
    let state = match (flags & IFF_UP != 0, read("carrier").as_deref().map(str::trim)) {
        (false, _) => "switched off",
        (true, Some("1")) => "up",
        (true, _) => "cut at the other end",
    };
    state.into()
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(String::from).to_vec()
}

/// Columns as wide as their widest cell, two spaces apart.
fn table(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$}  ").expect("String takes all");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
