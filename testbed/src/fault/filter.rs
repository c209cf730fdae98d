//! Packets that are lost or late: nftables at the edge of an interface, below IP, so that BFD, ARP and
//! what is forwarded are hit alike; and the queueing discipline netem, where the kernel has it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::run;

/// Loses so many in a hundred packets, at random, of those sent by an interface; 0 ends it.
pub(crate) fn lose(ifname: &str, percent: f64, bin_dir: &Path) -> Result<()> {
    chain(ifname, "egress", percent, bin_dir)
}

/// Swallows everything that comes in or goes out by these interfaces, while they keep their carriers:
/// the router is dead, and no cable tells.
pub(crate) fn swallow(ifnames: &[String], bin_dir: &Path) -> Result<()> {
    for ifname in ifnames {
        chain(ifname, "ingress", 100.0, bin_dir)?;
        chain(ifname, "egress", 100.0, bin_dir)?;
    }
    Ok(())
}

/// Sends so many milliseconds later by an interface; 0 ends it.
pub(crate) fn delay(ifname: &str, millis: f64, bin_dir: &Path) -> Result<()> {
    if millis == 0.0 {
        return end_delay(ifname, bin_dir);
    }
    let delay = format!("{millis}ms");
    let argv = ["tc", "qdisc", "replace", "dev", ifname, "root", "netem", "delay", &delay];
    match run(&argv, bin_dir) {
        Err(error) if error.to_string().contains("qdisc kind is unknown") => bail!(
            "this kernel has no netem (CONFIG_NET_SCH_NETEM, module sch_netem), so nothing can be \
             delayed; losing packets works (`fault loss`)"
        ),
        outcome => outcome.map(drop),
    }
}

/// What is lost or late here, in words.
pub(super) fn list(bin_dir: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for rule in rules(bin_dir)? {
        let chain = rule["chain"].as_str().unwrap_or_default();
        let (hook, ifname) = chain.split_once('-').unwrap_or_default();
        let way = if hook == "egress" { "to" } else { "from" };
        let share = rule["comment"].as_str().unwrap_or("some");
        faults.push(format!("{way} {ifname}: {share} lost"));
    }
    for qdisc in delays(bin_dir)? {
        let ifname = qdisc["dev"].as_str().unwrap_or_default();
        let seconds = qdisc["options"]["delay"]["delay"].as_f64().unwrap_or_default();
        faults.push(format!("to {ifname}: {:.1} ms late", seconds * 1000.0));
    }
    Ok(faults)
}

/// Nothing is lost or late any more.
pub(super) fn clear(bin_dir: &Path) -> Result<()> {
    if !rules(bin_dir)?.is_empty() {
        run(&["nft", "delete", "table", "netdev", TABLE], bin_dir)?;
    }
    for qdisc in delays(bin_dir)? {
        end_delay(qdisc["dev"].as_str().context("a qdisc without a device")?, bin_dir)?;
    }
    Ok(())
}

fn chain(ifname: &str, hook: &str, percent: f64, bin_dir: &Path) -> Result<()> {
    let chain = format!("{hook}-{ifname}");
    let mut script = format!(
        "add table netdev {TABLE}\n\
         add chain netdev {TABLE} {chain} {{ type filter hook {hook} device \"{ifname}\" priority -400; }}\n\
         flush chain netdev {TABLE} {chain}\n"
    );
    if percent > 0.0 {
        // Of a million, of which nft takes no more than all but one.
        let which = match percent {
            100.0.. => String::new(),
            _ => format!("numgen random mod 1000000 < {:.0}", percent * 10_000.0),
        };
        // The comment is what `list` tells.
        script +=
            &format!("add rule netdev {TABLE} {chain} {which} drop comment \"{percent} %\"\n");
    }
    run(&["nft", &script], bin_dir).map(drop)
}

fn end_delay(ifname: &str, bin_dir: &Path) -> Result<()> {
    run(&["tc", "qdisc", "del", "dev", ifname, "root"], bin_dir).map(drop)
}

/// The rules of our table; none where there is no nft, which then has made none.
fn rules(bin_dir: &Path) -> Result<Vec<Value>> {
    let Ok(listed) = run(&["nft", "-j", "list", "table", "netdev", TABLE], bin_dir) else {
        return Ok(Vec::new());
    };
    let listed: Value = serde_json::from_str(&listed).context("what nft lists")?;
    let objects = listed["nftables"].as_array().into_iter().flatten();
    Ok(objects.map(|object| &object["rule"]).filter(|rule| !rule.is_null()).cloned().collect())
}

/// The queueing disciplines that delay; none where there is no tc, which then has made none.
fn delays(bin_dir: &Path) -> Result<Vec<Value>> {
    let Ok(listed) = run(&["tc", "-j", "qdisc", "show"], bin_dir) else { return Ok(Vec::new()) };
    let listed: Vec<Value> = serde_json::from_str(&listed).context("what tc shows")?;
    Ok(listed.into_iter().filter(|qdisc| qdisc["kind"] == "netem").collect())
}

/// Names our nftables table.
const TABLE: &str = "fault";
