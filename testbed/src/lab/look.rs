//! What a test needs to reach into a lab by itself: process ids and namespaces.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Lab;

impl Lab {
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
