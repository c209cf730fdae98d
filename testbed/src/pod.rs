//! Pods on a node, made through the real plugin just as a container runtime does it.
//!
//! In: a pod's name, inside of a node's namespaces. Out: what the plugin printed, and its exit
//! code. The lab keeps the container id and the result of ADD beside the node's pid files, since
//! DEL and CHECK need them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::daemon::PID_DIR;
use crate::enter::command;
use crate::netlink::Rtnetlink;

/// A pod as the runtime of the lab remembers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) container_id: String,
    /// What ADD returned.
    pub(crate) result: Value,
}

/// Makes the pod's network namespace and has the plugin attach it.
pub(crate) fn add(pod: &str, bin_dir: &Path) -> Result<i32> {
    check_name(pod)?;
    let netns = netns_path(pod);
    ensure!(!netns.exists(), "there is a pod {pod:?} already; remove it or take another name");
    make_netns(&netns)?;
    let container_id = format!("{pod}-{:016x}", wall_clock_ns());
    let output = call("ADD", pod, &container_id, None, bin_dir);
    let keep = match &output {
        Ok(output) if output.status.success() => remember(pod, &container_id, output),
        Ok(_) | Err(_) => Ok(()),
    };
    if !output.as_ref().is_ok_and(|output| output.status.success()) || keep.is_err() {
        remove_netns(&netns)?;
    }
    keep?;
    pass_on(&output?)
}

/// Has the plugin detach the pod, then removes its namespace.
pub(crate) fn del(pod: &str, bin_dir: &Path) -> Result<i32> {
    let record = recall(pod)?;
    let output = call("DEL", pod, &record.container_id, Some(&record.result), bin_dir)?;
    if output.status.success() {
        remove_netns(&netns_path(pod))?;
        fs::remove_file(record_path(pod))?;
    }
    pass_on(&output)
}

/// Has the plugin compare the pod with what ADD returned.
pub(crate) fn check(pod: &str, bin_dir: &Path) -> Result<i32> {
    let record = recall(pod)?;
    pass_on(&call("CHECK", pod, &record.container_id, Some(&record.result), bin_dir)?)
}

/// The pods of a node by name, from the node's `/run` as seen from outside or inside.
pub(crate) fn records(run: &Path) -> Result<Vec<(String, Record)>> {
    let dir = run.join("testbed/pods");
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // One that is removed while we look is no longer a pod.
        if let Ok(text) = fs::read(&path) {
            found.push((name, serde_json::from_slice(&text)?));
        }
    }
    found.sort_by(|(a, _): &(String, Record), (b, _)| a.cmp(b));
    Ok(found)
}

impl Record {
    /// The pod's addresses, without prefix lengths.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let ips = self.result["ips"].as_array().into_iter().flatten();
        ips.filter_map(|ip| ip["address"].as_str())
            .map(|address| address.split('/').next().unwrap_or(address).to_owned())
            .collect()
    }
}

/// One call of the plugin (CNI spec 1.1.0, section 2).
fn call(
    verb: &str,
    pod: &str,
    container_id: &str,
    prev_result: Option<&Value>,
    bin_dir: &Path,
) -> Result<Output> {
    let mut child = command(&["slash32".into()], bin_dir)?
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", container_id)
        .env("CNI_NETNS", netns_path(pod))
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", bin_dir)
        .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=lab;K8S_POD_NAME={pod}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the plugin")?;
    let mut stdin = child.stdin.take().expect("spawned with a pipe");
    // A plugin that fails early does not read; its answer says why.
    let _ = stdin.write_all(network_configuration(prev_result)?.to_string().as_bytes());
    drop(stdin);
    child.wait_with_output().context("the plugin")
}

/// What a runtime makes of the node's conflist for its one plugin (CNI spec 1.1.0, section 3).
fn network_configuration(prev_result: Option<&Value>) -> Result<Value> {
    let text = fs::read(CONFLIST).with_context(|| {
        format!("cannot read {CONFLIST}; pods live on nodes, which have it (`./testbed/run show`)")
    })?;
    let list: Value =
        serde_json::from_slice(&text).with_context(|| format!("{CONFLIST} is not JSON"))?;
    let mut own = list["plugins"][0].clone();
    ensure!(own.is_object(), "{CONFLIST} names no plugin");
    own["cniVersion"] = list["cniVersion"].clone();
    own["name"] = list["name"].clone();
    if let Some(result) = prev_result {
        own["prevResult"] = result.clone();
    }
    Ok(own)
}

/// Makes a network namespace that stays, with `lo` on as runtimes have it.
fn make_netns(path: &Path) -> Result<()> {
    let own = File::open("/proc/self/ns/net")?;
    File::create_new(path).with_context(|| format!("cannot make {}", path.display()))?;
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make the pod's network namespace")?;
    let made = mount(Some("/proc/self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context("cannot keep the pod's network namespace");
    let lo = Rtnetlink::open().and_then(|mut netlink| netlink.set_link("lo", true));
    setns(&own, CloneFlags::CLONE_NEWNET)?;
    made?;
    lo.context("cannot switch on lo")
}

fn remove_netns(path: &Path) -> Result<()> {
    // Already unmounted is fine.
    let _ = umount2(path, MntFlags::MNT_DETACH);
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remember(pod: &str, container_id: &str, output: &Output) -> Result<()> {
    let result: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("ADD printed no JSON: {}", String::from_utf8_lossy(&output.stdout))
    })?;
    let record = json!({ "container_id": container_id, "result": result });
    Ok(fs::write(record_path(pod), serde_json::to_vec_pretty(&record)?)?)
}

fn recall(pod: &str) -> Result<Record> {
    match fs::read(record_path(pod)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(_) => bail!("no pod {pod:?} on this node; see `./testbed/run show`"),
    }
}

fn pass_on(output: &Output) -> Result<i32> {
    std::io::stdout().write_all(&output.stdout)?;
    std::io::stderr().write_all(&output.stderr)?;
    Ok(output.status.code().unwrap_or(1))
}

fn check_name(pod: &str) -> Result<()> {
    let fits = (1..=40).contains(&pod.len())
        && pod.starts_with(|first: char| first.is_ascii_alphanumeric())
        && pod.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    ensure!(fits, "{pod:?} cannot name a pod; use 1 to 40 of A-Z, a-z, 0-9 and '-'");
    Ok(())
}

/// Tells one sandbox of a name from the next.
fn wall_clock_ns() -> u128 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos())
}

fn netns_path(pod: &str) -> PathBuf {
    Path::new("/run/netns").join(pod)
}

fn record_path(pod: &str) -> PathBuf {
    Path::new(PID_DIR).join("pods").join(format!("{pod}.json"))
}

const CONFLIST: &str = "/etc/cni/net.d/10-slash32.conflist";
