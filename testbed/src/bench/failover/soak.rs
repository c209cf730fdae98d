//! Faults at random, many of them at once, and then the question whether everything is as it should be.
//!
//! In: a fabric with `routed` on its nodes, a seed, how many steps. Out: `Ok`, or the first invariant
//! that does not hold once all faults are over: kernel routes are those that are wanted and no other,
//! leases are what the kernel leads to, ToRs have the nodes' ranges, and what belongs to somebody else
//! is still there.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::fabric::Fabric;
use crate::lab::Route;

/// Lets so many faults happen; then nothing may be out of place.
pub(super) fn soak(fabric: &Fabric, seed: u64, steps: u32) -> Result<()> {
    for node in NODES {
        fabric.lab.read(node, &["sh", "-ec", FOREIGN])?;
    }
    let mut dice = Dice(seed);
    let mut pods: Vec<(&'static str, String)> = Vec::new();
    for step in 1..=steps {
        let what = strike(fabric, &mut dice, &mut pods, step)?;
        println!("{step}: {what}");
        sleep(Duration::from_millis(dice.below(1500)));
        if dice.below(3) == 0 {
            fabric.lab.clear_faults()?;
            println!("{step}: all faults undone");
            sleep(Duration::from_millis(dice.below(1500)));
        }
    }
    fabric.lab.clear_faults()?;
    fabric.settle()?;
    println!("all routes are in their places; checking the rest");
    for (node, other) in [(NODES[0], 2), (NODES[1], 1)] {
        fabric.lab.wait_until(&format!("{node} to be in order"), PATIENCE, || {
            in_order(fabric, node, other).map(|()| true)
        })?;
    }
    for (node, pod) in &pods {
        fabric.lab.pod_check(node, pod)?;
    }
    Ok(())
}

/// One fault, in words.
fn strike(
    fabric: &Fabric,
    dice: &mut Dice,
    pods: &mut Vec<(&'static str, String)>,
    step: u32,
) -> Result<String> {
    let lab = &fabric.lab;
    let node = NODES[dice.pick(NODES.len())];
    let tor = TORS[dice.pick(TORS.len())];
    let words: Vec<&str> = match dice.below(11) {
        0 => vec!["kill", node],
        1 => vec!["stop", node],
        2 => vec!["freeze", node],
        3 => vec!["freeze", tor],
        4 => vec!["kill", tor],
        5 => vec!["oneway", tor, node],
        6 => vec!["oneway", node, tor],
        7 => vec!["loss", tor, node, "30"],
        8 => vec!["flush", node],
        9 => {
            lab.link_set(tor, node, false)?;
            return Ok(format!("cable between {tor} and {node} cut"));
        }
        _ => return pod(fabric, node, pods, step),
    };
    lab.fault(&words)?;
    Ok(words.join(" "))
}

/// A pod more, or one less, on a node whose daemon may be away.
fn pod(
    fabric: &Fabric,
    node: &'static str,
    pods: &mut Vec<(&'static str, String)>,
    step: u32,
) -> Result<String> {
    fabric.lab.fault(&["thaw", node])?;
    if !fabric.lab.fault(&["show", node])?.contains("does not run") {
        let name = format!("pod{step}");
        fabric.lab.pod_add(node, &name)?;
        pods.push((node, name.clone()));
        return Ok(format!("pod {name} added to {node}"));
    }
    // A DEL succeeds without a daemon, and is made good by the next one.
    let Some((node, name)) = pods.pop() else { return Ok("nothing".into()) };
    fabric.lab.pod_del(node, &name)?;
    Ok(format!("pod {name} removed from {node}, whose daemon is away or not"))
}

fn in_order(fabric: &Fabric, node: &str, other: u8) -> Result<()> {
    let routes = fabric.lab.routes(node)?;
    let of = |protocol: u8| routes.iter().filter(move |route| route.protocol == protocol);
    // The world, the other node's range, and the own one's blackhole.
    let wanted = fabric.world_routes() + 2;
    ensure!(of(ROUTES).count() == wanted, "{} routes instead of {wanted}", of(ROUTES).count());
    let own = format!("10.244.{}.0/24", 3 - other);
    let blackhole = |route: &&Route| route.dst.to_string() == own && route.kind == "blackhole";
    ensure!(of(ROUTES).any(|route| blackhole(&route)), "{own} is no blackhole");

    let to_pods: BTreeSet<String> = of(PODS).map(|route| route.dst.ip().to_string()).collect();
    let leases = ask(fabric, node, "leases")?;
    let held = leases.iter().filter(|lease| !lease["container_id"].is_null());
    let held: BTreeSet<String> =
        held.filter_map(|lease| Some(lease["address"].as_str()?.to_owned())).collect();
    ensure!(to_pods == held, "the kernel leads to {to_pods:?}, leased are {held:?}");
    let known = ask(fabric, node, "pods")?.len();
    ensure!(known == held.len(), "{known} pods have {} leases", held.len());

    let foreign = |route: &&Route| route.protocol == 99 && route.kind == "blackhole";
    ensure!(routes.iter().filter(foreign).count() == 1, "a foreign route is gone");
    let rules = fabric.lab.read(node, &["sh", "-c", "ip rule; nft list tables"])?;
    ensure!(
        rules.contains("9999:") && rules.contains("table inet foreign"),
        "a foreign rule or table is gone: {rules}"
    );
    Ok(())
}

fn ask(fabric: &Fabric, node: &str, what: &str) -> Result<Vec<Value>> {
    let text = fabric.lab.read(node, &["routed", "show", what, "-o", "json"])?;
    serde_json::from_str(&text).with_context(|| format!("not a list of {what}: {text}"))
}

/// Splitmix64: a small generator whose seed is the whole story.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).expect("below a usize")
    }
}

const NODES: [&str; 2] = ["node1", "node2"];
const TORS: [&str; 2] = ["tor1", "tor2"];
/// What is none of ours: a route, a rule, a table.
const FOREIGN: &str = "ip route add blackhole 203.0.113.0/24 proto 99; \
                       ip rule add priority 9999 from 203.0.113.7 lookup main; \
                       nft add table inet foreign";
/// Protocol numbers of `routed`'s routes to the world, and to pods.
const ROUTES: u8 = 132;
const PODS: u8 = 133;
/// The last news of all peers, and the sweep after a restart, are waited for.
const PATIENCE: Duration = Duration::from_secs(90);
