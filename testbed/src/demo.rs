//! The demo: two racks, a fabric, pods, a cut router, for a person who watches.
//!
//! In: which software the fabric runs. Out: numbered steps with the commands and their real
//! output, each verified. Ends with exit code 0 only if every step held; what did not hold says
//! what was expected, what was seen and where the logs are. Leaves nothing behind, unless asked
//! to keep the lab.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::lab::{Lab, Options};
use crate::topology::{Runs, Topology};

mod console;
mod steps;

use console::Console;

/// How to show it.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Software of ToRs and spine.
    pub(crate) fabric: Runs,
    /// Leave the lab up at the end.
    pub(crate) keep: bool,
    /// No pauses for reading.
    pub(crate) fast: bool,
    /// Where `routed` and `slash32` are.
    pub(crate) bin_dir: Option<PathBuf>,
}

/// Something that a step expected did not hold.
#[derive(Debug, thiserror::Error)]
#[error("expected: {expected}\nseen:     {seen}")]
struct Missed {
    expected: String,
    seen: String,
}

/// Shows the demo. True if every step held.
pub(crate) fn run(wish: &Wish) -> Result<bool> {
    let mut console = Console::new(wish.fast);
    console.title("Slash32: every pod its own /32 and /128, every route in BGP");
    let lab = match raise(wish, &mut console) {
        Ok(lab) => lab,
        Err(error) => {
            console.failure(&format!("{error:#}"));
            return Ok(false);
        }
    };
    let mut stage = Stage { lab: &lab, console };
    let held = match steps::all(&mut stage) {
        Ok(()) => true,
        Err(error) => {
            stage.console.failure(&format!("{error:#}"));
            stage.keep_logs()?;
            false
        }
    };
    let console = stage.console;
    if wish.keep {
        return keep(lab, console).map(|()| held);
    }
    let cleaned = steps::clean_up(lab, console)?;
    Ok(held && cleaned)
}

fn raise(wish: &Wish, console: &mut Console) -> Result<Lab> {
    let topology = Topology::load("two-racks").context("the demo's own topology")?;
    console.step("Raise two racks of two nodes, two ToRs and a spine in network namespaces");
    console.plain(DRAWING);
    console.command(&format!("up two-racks --name {LAB} --tor {}", wish.fabric));
    let options = Options {
        name: Some(LAB.into()),
        fabric: Some(wish.fabric),
        nodes: Some(Runs::Routed),
        bin_dir: wish.bin_dir.clone(),
    };
    let lab = Lab::up_telling(topology, &options, |step| console.plain(&format!("… {step}")))?;
    console.held(&format!(
        "{} routers run: routed on the nodes, {} on ToRs and spine",
        lab.topology().routers.len(),
        wish.fabric
    ));
    Ok(lab)
}

fn keep(lab: Lab, mut console: Console) -> Result<()> {
    let dir = lab.dir().display().to_string();
    lab.detach()?;
    console.plain(&format!(
        "\nThe lab stays up, in {dir}. Look around:\n\
         \x20 ./testbed/run show\n\
         \x20 ./testbed/run exec rack1-node1 routed show routes\n\
         \x20 ./testbed/run exec rack1-node1/web sh\n\
         and at the end:\n\
         \x20 ./testbed/run down"
    ));
    Ok(())
}

/// What the steps work with.
struct Stage<'a> {
    lab: &'a Lab,
    console: Console,
}

impl Stage<'_> {
    /// Runs a `testbed` command for all to see. Returns its stdout.
    fn show(&mut self, arguments: &[&str]) -> Result<String> {
        let text = self.run(arguments)?;
        self.console.output(&text);
        Ok(text)
    }

    /// The same without its output, unless it fails.
    fn run(&mut self, arguments: &[&str]) -> Result<String> {
        self.console.command(&shell_words(arguments));
        let output = self.lab.testbed(arguments).stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            self.console.output(&text);
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            self.console.output(&complaint);
            return Err(Missed {
                expected: "the command succeeds".into(),
                seen: format!("{}; {}", output.status, complaint.trim()),
            }
            .into());
        }
        Ok(text)
    }

    /// Says that it holds, or ends the demo with what was seen instead.
    fn expect(&mut self, expected: &str, held: bool, seen: &str) -> Result<()> {
        if held {
            self.console.held(expected);
            return Ok(());
        }
        Err(Missed { expected: expected.into(), seen: seen.trim().into() }.into())
    }

    /// Waits until it holds; what `look` returns is what was seen last.
    fn wait(
        &mut self,
        expected: &str,
        patience: Duration,
        mut look: impl FnMut(&Lab) -> Result<Look>,
    ) -> Result<()> {
        let mut seen = String::new();
        let (lab, begun) = (self.lab, Instant::now());
        let held = lab.wait_until(expected, patience, || {
            Ok(match look(lab)? {
                Look::Held => true,
                Look::Seen(text) => {
                    seen = text;
                    false
                }
            })
        });
        let Err(error) = held else {
            let after = begun.elapsed().as_secs_f64();
            self.console.held(&format!("{expected} (after {after:.1} s)"));
            return Ok(());
        };
        if seen.is_empty() {
            seen = format!("{error:#}");
        }
        let expected = format!("{expected} within {} s", patience.as_secs());
        Err(Missed { expected, seen }.into())
    }

    /// The lab goes, its logs must not.
    fn keep_logs(&mut self) -> Result<()> {
        let to = std::env::temp_dir().join(format!("slash32-demo-{}", std::process::id()));
        std::fs::create_dir_all(&to)?;
        copy_if_there(&self.lab.dir().join("supervisor.log"), &to.join("supervisor.log"))?;
        for router in &self.lab.topology().routers {
            for entry in std::fs::read_dir(self.lab.node_dir(&router.name).join("log"))? {
                let from = entry?.path();
                let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
                copy_if_there(&from, &to.join(format!("{}.{name}", router.name)))?;
            }
        }
        self.console.plain(&format!("logs:     {}", to.display()));
        Ok(())
    }
}

/// What a look at the lab found.
enum Look {
    Held,
    Seen(String),
}

impl Look {
    fn at(held: bool, seen: impl FnOnce() -> String) -> Self {
        if held { Self::Held } else { Self::Seen(seen()) }
    }
}

fn copy_if_there(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        std::fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// As one would type it.
fn shell_words(arguments: &[&str]) -> String {
    let quoted = arguments
        .iter()
        .map(|word| if word.contains(' ') { format!("\"{word}\"") } else { (*word).to_owned() });
    quoted.collect::<Vec<_>>().join(" ")
}

const LAB: &str = "demo";
const DRAWING: &str = "
                 spine1           192.0.2.0/24 2001:db8::/48: the rest of the world
                /      \\
            tor1        tor2      every node is cabled to both
           / | \\ \\    / / | \\
  rack1-node1  rack1-node2   rack2-node1  rack2-node2
  10.244.11/24 10.244.12/24  10.244.21/24 10.244.22/24     pod ranges, and an IPv6 /64 each
";
