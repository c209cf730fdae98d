//! What a test wants to see of a lab: routes, echo requests, sessions, processes, namespaces.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use ipnetwork::IpNetwork;
use serde::Deserialize;

use super::Lab;
use crate::ping::Tally;
use crate::speaker::{self, Session};
use crate::topology::Runs;

/// A route of the kernel's main table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// Destination.
    pub dst: IpNetwork,
    /// `unicast`, `blackhole`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Who made it: the routing protocol number.
    pub protocol: u8,
    /// The smaller, the better; absent is 0.
    pub metric: Option<u32>,
    /// All ways that it leads.
    pub hops: Vec<Hop>,
}

/// One way that a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Hop {
    /// The next router; absent on a connected network.
    pub gateway: Option<IpAddr>,
    /// The interface, which bears the neighbour's name.
    pub dev: Option<String>,
    /// The cable is cut at the other end.
    pub linkdown: bool,
}

impl Lab {
    /// The kernel's main table of a router or pod, both families.
    ///
    /// # Errors
    ///
    /// If there is no such place.
    pub fn routes(&self, place: &str) -> Result<Vec<Route>> {
        let text = self.do_testbed(&["routes", place, "-o", "json"])?;
        serde_json::from_str(&text).with_context(|| format!("not a list of routes: {text}"))
    }

    /// Sends 5 echo requests to each address (`ROUTER/POD`: all of a pod's) and counts answers;
    /// none at all is no error here.
    ///
    /// # Errors
    ///
    /// If there is no such place or pod.
    pub fn ping(&self, from: &str, to: &[&str]) -> Result<Vec<Tally>> {
        let arguments = [&["ping", from, "--count", "5", "-o", "json"], to].concat();
        let output = self.testbed(&arguments).stdin(Stdio::null()).output()?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!("testbed ping: {}", String::from_utf8_lossy(&output.stderr).trim())
        })
    }

    /// The BGP sessions of a router, as its own software tells them. Empty where nothing runs.
    ///
    /// # Errors
    ///
    /// If the software does not answer.
    pub fn sessions(&self, router: &str) -> Result<Vec<Session>> {
        let runs = self.topology().router(router).map_or(Runs::None, |router| router.runs);
        match speaker::sessions_command(runs) {
            Some(argv) => Ok(speaker::sessions(runs, &self.read(router, argv)?)),
            None => Ok(Vec::new()),
        }
    }

    /// True once every router has a session up with each neighbour.
    ///
    /// # Errors
    ///
    /// As [`Lab::sessions`].
    pub fn all_sessions_stand(&self) -> Result<bool> {
        for router in &self.topology().routers {
            let sessions = self.sessions(&router.name)?;
            let expected = self.topology().neighbours(&router.name).count();
            let up = sessions.iter().filter(|session| session.established).count();
            if router.runs != Runs::None && up != expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The process that holds a router's namespaces, as seen from outside of the lab.
    ///
    /// # Errors
    ///
    /// If there is no such router, or the lab has ended.
    pub fn pid(&self, router: &str) -> Result<i32> {
        let inside = *self
            .dir
            .holders()?
            .get(router)
            .with_context(|| format!("no router {router:?} in lab {}", self.name()))?;
        let supervisor = self.dir.pid()?;
        let ours = fs::read_link(format!("/proc/{supervisor}/ns/pid"))?;
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let matches = fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|ns| ns == ours)
                && innermost_pid(pid) == Some(inside);
            if matches {
                return Ok(pid);
            }
        }
        anyhow::bail!("the holder of {router} has ended")
    }

    /// A router's network namespace, for sockets of a test's own. Entering it takes root, or the
    /// lab's user namespace first.
    ///
    /// # Errors
    ///
    /// As [`Lab::pid`].
    pub fn netns(&self, router: &str) -> Result<File> {
        let path = PathBuf::from(format!("/proc/{}/ns/net", self.pid(router)?));
        File::open(&path).with_context(|| format!("cannot open {}", path.display()))
    }
}

/// The process's id in its own process id namespace: the last number of `NSpid`.
fn innermost_pid(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("NSpid:"))?;
    line.split_whitespace().next_back()?.parse().ok()
}
