//! The demo's steps, in order. Each shows a command's real output and verifies what it claims.

use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use ipnetwork::IpNetwork;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::console::Console;
use super::{Look, Stage};
use crate::lab::{Lab, Route};
use crate::speaker;
use crate::topology::{Role, Router};

/// Everything between raising the lab and cleaning up.
pub(super) fn all(stage: &mut Stage<'_>) -> Result<()> {
    sessions(stage)?;
    pods(stage)?;
    tor_tables(stage)?;
    node_routes(stage)?;
    pings(stage)?;
    cut(stage)?;
    mend(stage)
}

fn sessions(stage: &mut Stage<'_>) -> Result<()> {
    stage.console.step("Every router speaks BGP with each of its neighbours");
    stage.wait("all sessions are established", PATIENCE, |lab| {
        Ok(Look::at(lab.all_sessions_stand()?, || told_sessions(lab)))
    })?;
    stage.show(&["exec", NODE, "routed", "show", "peers"])?;
    let tor = router(stage.lab, CUT)?;
    if let Some(argv) = speaker::sessions_command_for_people(tor.runs) {
        stage.show(&[&["exec", CUT], argv].concat())?;
    }
    Ok(())
}

fn pods(stage: &mut Stage<'_>) -> Result<()> {
    stage.console.step("Add a pod on each node, through the real CNI plugin");
    for (index, node) in nodes(stage.lab).enumerate() {
        let add = ["pod", "add", &node.name, POD];
        // They all look alike; the first says it all.
        let text = if index == 0 { stage.show(&add)? } else { stage.run(&add)? };
        let addresses = result_addresses(&text)?;
        let told: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        let expected =
            format!("{}/{POD} has addresses of its node: {}", node.name, told.join(" and "));
        let has = |range: &IpNetwork| addresses.iter().any(|address| range.contains(address.ip()));
        stage.expect(&expected, node.pods.iter().all(has), &text)?;
        stage.run(&["pod", "check", &node.name, POD])?;
    }
    stage.show(&["exec", NODE, "routed", "show", "pods"]).map(drop)
}

fn tor_tables(stage: &mut Stage<'_>) -> Result<()> {
    stage.console.step("Each ToR has learned every node's pod ranges, and the kernel uses them");
    let ranges = pod_ranges(stage.lab);
    for tor in tors(stage.lab) {
        let name = tor.name.clone();
        let expected = format!("{name} forwards all {} pod ranges to their nodes", ranges.len());
        stage.wait(&expected, PATIENCE, |lab| {
            let routes = lab.routes(&name)?;
            let missing =
                |(node, range): &&(String, IpNetwork)| ways(&routes, *range) != [node.clone()];
            let missing: Vec<_> = ranges.iter().filter(missing).collect();
            Ok(Look::at(missing.is_empty(), || format!("not so for {missing:?}")))
        })?;
        if let Some(argv) = speaker::table_command(tor.runs) {
            let text = stage.show(&[&["exec", &name], argv].concat())?;
            let missing: Vec<String> = ranges
                .iter()
                .map(|(_, range)| range.to_string())
                .filter(|range| !text.contains(range.as_str()))
                .collect();
            let expected = format!("the table of {name} shows them all");
            stage.expect(&expected, missing.is_empty(), &format!("no {}", missing.join(" ")))?;
        }
    }
    Ok(())
}

fn node_routes(stage: &mut Stage<'_>) -> Result<()> {
    stage.console.step("A node reaches every other node over both ToRs at once (ECMP)");
    let tors: Vec<String> = tors(stage.lab).map(|tor| tor.name.clone()).collect();
    stage.wait("on every node, every remote pod range leads to both ToRs", PATIENCE, |lab| {
        remote_ranges_lead_to(lab, &tors)
    })?;
    stage.show(&["routes", NODE])?;
    let routes = stage.lab.routes(NODE)?;
    let own: Vec<IpNetwork> = router(stage.lab, NODE)?.pods.clone();
    let blackholed = |range: &IpNetwork| {
        routes.iter().any(|route| route.dst == *range && route.kind == "blackhole")
    };
    let expected = "its own ranges are blackholes, so that unused addresses never loop";
    stage.expect(expected, own.iter().all(blackholed), &format!("{routes:?}"))
}

fn pings(stage: &mut Stage<'_>) -> Result<()> {
    stage.console.step("Pods reach pods of both racks and the rest of the world, IPv4 and IPv6");
    stage.wait("every router knows a way to every pod range", PATIENCE, every_range_is_routed)?;
    let targets: Vec<String> = nodes(stage.lab)
        .filter(|node| node.name != NODE)
        .map(|node| format!("{}/{POD}", node.name))
        .chain(WORLD.map(String::from))
        .collect();
    ping_without_loss(stage, &targets)
}

fn cut(stage: &mut Stage<'_>) -> Result<()> {
    stage.console.step("Cut tor1 off while every pod of rack 1 pings every pod of rack 2");
    let mut flows = Flows::start(stage)?;
    std::thread::sleep(Duration::from_secs(1));
    stage.show(&["cut", CUT])?;
    let others: Vec<String> =
        tors(stage.lab).map(|tor| tor.name.clone()).filter(|name| name != CUT).collect();
    stage.wait("on every node, every remote pod range leads to tor2 alone", PATIENCE, |lab| {
        remote_ranges_lead_to(lab, &others)
    })?;
    stage.show(&["routes", NODE])?;
    std::thread::sleep(Duration::from_secs(1));
    let lines = flows.stop()?;
    stage.console.plain("what the pings saw, before, during and after the cut:");
    stage.console.output(&lines.join("\n"));
    expect_outages_within(stage, &lines, LONGEST_OUTAGE)?;
    let targets = rack2_pods(stage.lab);
    ping_without_loss(stage, &targets)
}

fn mend(stage: &mut Stage<'_>) -> Result<()> {
    stage.console.step("Connect tor1 again while the pings go on: both ways are back");
    let mut flows = Flows::start(stage)?;
    stage.show(&["mend", CUT])?;
    let tors: Vec<String> = tors(stage.lab).map(|tor| tor.name.clone()).collect();
    stage.wait(
        "on every node, every remote pod range leads to both ToRs again",
        PATIENCE,
        |lab| remote_ranges_lead_to(lab, &tors),
    )?;
    stage.wait("all sessions are established", PATIENCE, |lab| {
        Ok(Look::at(lab.all_sessions_stand()?, || told_sessions(lab)))
    })?;
    std::thread::sleep(Duration::from_secs(1));
    let lines = flows.stop()?;
    stage.console.output(&lines.join("\n"));
    expect_outages_within(stage, &lines, LONGEST_RETURN)
}

fn expect_outages_within(stage: &mut Stage<'_>, lines: &[String], longest: Duration) -> Result<()> {
    let outages = lines.iter().map(|line| longest_outage_ms(line));
    let worst = outages.max().flatten().unwrap_or(0);
    let expected = format!("no flow was out for longer than {} s", longest.as_secs());
    let seen = format!("the longest outage of a flow was {worst} ms");
    stage.expect(&expected, u128::from(worst) <= longest.as_millis(), &seen)?;
    stage.console.plain(&seen);
    Ok(())
}

/// Removes the pods and the lab, and looks whether anything is left.
pub(super) fn clean_up(lab: Lab, mut console: Console) -> Result<bool> {
    console.step("Clean up");
    let dir = lab.dir().to_path_buf();
    console.command("down");
    let holder = lab.pid(NODE);
    if let Err(error) = lab.down() {
        console.failure(&format!("{error:#}"));
        return Ok(false);
    }
    let process = holder.map(|pid| std::path::PathBuf::from(format!("/proc/{pid}")));
    if dir.exists() || process.is_ok_and(|process| process.join("exe").exists()) {
        console.failure("expected: nothing is left\nseen:     its folder or a process");
        return Ok(false);
    }
    console.held("nothing is left: no process, no namespace, no interface, no file");
    Ok(true)
}

/// Endless pings from each pod of rack 1 to each pod of rack 2, in both families.
struct Flows {
    pings: Vec<(String, Child)>,
}

impl Flows {
    fn start(stage: &mut Stage<'_>) -> Result<Self> {
        let targets = rack2_pods(stage.lab);
        let mut pings = Vec::new();
        for node in nodes(stage.lab).filter(|node| node.name.starts_with("rack1")) {
            let from = format!("{}/{POD}", node.name);
            let mut arguments = vec!["ping", &from];
            arguments.extend(targets.iter().map(String::as_str));
            arguments.extend(["--endless", "--quiet", "--interval", "0.02"]);
            stage.console.command(&format!("{} &", arguments.join(" ")));
            let mut command = stage.lab.testbed(&arguments);
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
            pings.push((from, command.spawn()?));
        }
        Ok(Self { pings })
    }

    /// Ends the pings. Returns one line a flow.
    fn stop(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for (from, child) in self.pings.drain(..) {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
            let output = child.wait_with_output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            lines.extend(text.lines().map(|line| format!("{from} → {line}")));
        }
        Ok(lines)
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        // A step that failed does not leave them running.
        let _ = self.stop();
    }
}

fn ping_without_loss(stage: &mut Stage<'_>, targets: &[String]) -> Result<()> {
    let from = format!("{NODE}/{POD}");
    let mut arguments = vec!["ping", &from];
    arguments.extend(targets.iter().map(String::as_str));
    arguments.push("--quiet");
    let text = stage.show(&arguments)?;
    let clean = text.lines().all(|line| line.contains(" 0 lost"));
    stage.expect("every request was answered", clean, &text)
}

/// Whether on each node the pod ranges of all others lead to exactly these neighbours.
fn remote_ranges_lead_to(lab: &Lab, expected: &[String]) -> Result<Look> {
    let ranges = pod_ranges(lab);
    for node in nodes(lab) {
        let routes = lab.routes(&node.name)?;
        for (owner, range) in ranges.iter().filter(|(owner, _)| *owner != node.name) {
            let ways = ways(&routes, *range);
            if ways != expected {
                let ways = if ways.is_empty() { "nowhere".into() } else { ways.join(" ") };
                let name = &node.name;
                return Ok(Look::Seen(format!("on {name}, {range} of {owner} leads to {ways}")));
            }
        }
    }
    Ok(Look::Held)
}

/// Whether all routers can forward to all pods.
fn every_range_is_routed(lab: &Lab) -> Result<Look> {
    let ranges = pod_ranges(lab);
    for router in &lab.topology().routers {
        let routes = lab.routes(&router.name)?;
        let missing = ranges
            .iter()
            .find(|(owner, range)| *owner != router.name && ways(&routes, *range).is_empty());
        if let Some((owner, range)) = missing {
            return Ok(Look::Seen(format!("{} has no route to {range} of {owner}", router.name)));
        }
    }
    Ok(Look::Held)
}

/// The neighbours that a destination leads to, sorted.
fn ways(routes: &[Route], dst: IpNetwork) -> Vec<String> {
    let hops = routes.iter().filter(|route| route.dst == dst).flat_map(|route| &route.hops);
    let mut names: Vec<String> = hops.filter_map(|hop| hop.dev.clone()).collect();
    names.sort();
    names
}

fn told_sessions(lab: &Lab) -> String {
    let told = lab.topology().routers.iter().map(|router| match lab.sessions(&router.name) {
        Ok(sessions) => {
            let states = sessions.iter().map(|session| format!(" {}", session.state));
            format!("{}:{}", router.name, states.collect::<String>())
        }
        Err(error) => format!("{}: {error:#}", router.name),
    });
    told.collect::<Vec<_>>().join("\n          ")
}

fn result_addresses(result: &str) -> Result<Vec<IpNetwork>> {
    let result: serde_json::Value =
        serde_json::from_str(result).context("the plugin printed no JSON")?;
    let ips = result["ips"].as_array().context("the plugin's result has no ips")?;
    ips.iter().map(|ip| Ok(ip["address"].as_str().unwrap_or_default().parse()?)).collect()
}

fn longest_outage_ms(line: &str) -> Option<u64> {
    line.split("longest outage ").nth(1)?.split(' ').next()?.parse().ok()
}

fn pod_ranges(lab: &Lab) -> Vec<(String, IpNetwork)> {
    nodes(lab).flat_map(|node| node.pods.iter().map(|range| (node.name.clone(), *range))).collect()
}

fn rack2_pods(lab: &Lab) -> Vec<String> {
    let nodes = nodes(lab).filter(|node| node.name.starts_with("rack2"));
    nodes.map(|node| format!("{}/{POD}", node.name)).collect()
}

fn nodes(lab: &Lab) -> impl Iterator<Item = &Router> {
    lab.topology().routers.iter().filter(|router| router.role == Role::Node)
}

fn tors(lab: &Lab) -> impl Iterator<Item = &Router> {
    lab.topology().routers.iter().filter(|router| router.role == Role::Tor)
}

fn router<'a>(lab: &'a Lab, name: &str) -> Result<&'a Router> {
    lab.topology().router(name).with_context(|| format!("the demo's topology has no {name}"))
}

const NODE: &str = "rack1-node1";
const CUT: &str = "tor1";
const POD: &str = "web";
/// On the spine's `lo`.
const WORLD: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
/// Sessions come up in a second or two; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The hold time of the lab's sessions (9 s) and something for a busy machine: what it takes at
/// worst if nobody sees the cable go.
const LONGEST_OUTAGE: Duration = Duration::from_secs(12);
/// A ToR announces a route to the nodes a moment before its own kernel has it: a packet or two.
const LONGEST_RETURN: Duration = Duration::from_secs(1);
