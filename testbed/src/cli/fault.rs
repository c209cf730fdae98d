//! `testbed fault …`: what can go wrong in a lab, made to go wrong.

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use nix::sys::signal::Signal;

use super::inside::{in_router, router_of};
use super::print;
use crate::fault::{self, Here};
use crate::lab::Lab;
use crate::registry::{LabDir, Plan, Registry};
use crate::speaker;
use crate::topology::Runs;

#[derive(Debug, Subcommand)]
pub(super) enum Fault {
    /// Lose so many of a hundred packets of a cable, at random, in both directions; 0 ends it
    Loss {
        /// The router
        router: String,
        /// The router at the other end of the cable, or the LAN
        neighbour: String,
        /// 0 to 100; fractions are possible
        percent: f64,
        /// Only what ROUTER sends
        #[arg(long)]
        one_way: bool,
    },
    /// Lose all that goes from one router to the next, and nothing the other way; links stay up
    Oneway {
        /// Who sends
        router: String,
        /// Who hears nothing any more
        neighbour: String,
    },
    /// Let packets of a cable arrive so many milliseconds late, in both directions; 0 ends it. Takes
    /// a kernel with netem
    Delay {
        /// The router
        router: String,
        /// The router at the other end of the cable, or the LAN
        neighbour: String,
        /// 0 to 10000; fractions are possible
        millis: f64,
        /// Only what ROUTER sends
        #[arg(long)]
        one_way: bool,
    },
    /// Swallow all packets of a router while its links stay up: dead, and no cable tells
    Swallow {
        /// The router
        router: String,
    },
    /// Stop daemons where they are (SIGSTOP): all of a router, or one by name
    Freeze {
        /// The router
        router: String,
        /// Such as bgpd
        daemon: Option<String>,
    },
    /// Let frozen daemons go on (SIGCONT)
    Thaw {
        /// The router
        router: String,
        /// Such as bgpd
        daemon: Option<String>,
    },
    /// Ask daemons to end (SIGTERM): all of a router, or one by name
    Stop {
        /// The router
        router: String,
        /// Such as bgpd
        daemon: Option<String>,
    },
    /// End daemons without warning (SIGKILL): all of a router, or one by name
    Kill {
        /// The router
        router: String,
        /// Such as bgpd
        daemon: Option<String>,
    },
    /// Set the wall clock of a router's daemons ahead or back; the first time they are restarted for
    /// it. Takes Debian's package faketime
    Clock {
        /// The router
        router: String,
        /// Seconds off, such as 3600 or -86400; 0 ends it
        #[arg(allow_negative_numbers = true)]
        seconds: i64,
    },
    /// Let daemons lose notifications of the kernel (ENOBUFS), by a flood of them while they are frozen
    Overflow {
        /// The router
        router: String,
        /// Such as zebra
        daemon: Option<String>,
    },
    /// Remove the routes from the kernel that a router's daemons have put there. No `clear` brings
    /// them back; daemons should
    Flush {
        /// The router
        router: String,
    },
    /// Show what is wrong, in the lab or with one router
    Show {
        /// The router
        router: Option<String>,
    },
    /// Undo all faults, of the lab or of one router: daemons run, links are on and lose nothing
    Clear {
        /// The router
        router: Option<String>,
    },
}

pub(super) fn run(name: Option<&str>, fault: Fault) -> Result<i32> {
    match fault {
        Fault::Loss { router, neighbour, percent, one_way } => {
            ensure!((0.0..=100.0).contains(&percent), "{percent} %: use 0 to 100");
            if !one_way {
                return both_ways(name, "loss", &router, &neighbour, percent);
            }
            lose(name, router, &neighbour, percent)
        }
        Fault::Oneway { router, neighbour } => lose(name, router, &neighbour, 100.0),
        Fault::Delay { router, neighbour, millis, one_way } => {
            ensure!((0.0..=10_000.0).contains(&millis), "{millis} ms: use 0 to 10000");
            if !one_way {
                return both_ways(name, "delay", &router, &neighbour, millis);
            }
            on_link(name, router, &neighbour, |here| fault::delay(&neighbour, millis, here.bin_dir))
        }
        Fault::Swallow { router } => {
            at(name, router, |here| fault::swallow(here.ifnames, here.bin_dir))
        }
        Fault::Freeze { router, daemon } => {
            at(name, router, |here| fault::freeze(here.setup, daemon.as_deref()))
        }
        Fault::Thaw { router, daemon } => {
            at(name, router, |here| fault::thaw(here.setup, daemon.as_deref()))
        }
        Fault::Stop { router, daemon } => {
            at(name, router, |here| fault::signal(here.setup, daemon.as_deref(), Signal::SIGTERM))
        }
        Fault::Kill { router, daemon } => {
            at(name, router, |here| fault::signal(here.setup, daemon.as_deref(), Signal::SIGKILL))
        }
        Fault::Clock { router, seconds } => at(name, router, |here| fault::step(here, seconds)),
        Fault::Overflow { router, daemon } => at(name, router, |here| {
            let lost = fault::overflow(here.setup, daemon.as_deref())?;
            print(&format!("{lost} notifications dropped\n"))
        }),
        Fault::Flush { router } => flush(name, router),
        Fault::Show { router: None } => print(&Lab::find(name)?.faults()?).map(|()| 0),
        Fault::Show { router: Some(router) } => {
            let of = router.clone();
            at(name, router, |here| {
                let lines = fault::list(here)?;
                print(&lines.iter().map(|line| format!("{of}: {line}\n")).collect::<String>())
            })
        }
        Fault::Clear { router: None } => Lab::find(name)?.clear_faults().map(|()| 0),
        Fault::Clear { router: Some(router) } => at(name, router, fault::clear),
    }
}

fn lose(name: Option<&str>, router: String, neighbour: &str, percent: f64) -> Result<i32> {
    on_link(name, router, neighbour, |here| fault::lose(neighbour, percent, here.bin_dir))
}

fn flush(name: Option<&str>, router: String) -> Result<i32> {
    let plan = Registry::open()?.find(name)?.plan()?;
    // As /etc/iproute2/rt_protos has them; `routed` has a number of its own.
    let protocol = match router_of(&plan, &router)?.runs {
        Runs::Routed => "132",
        Runs::Bird => "12",
        Runs::Frr => "186",
        Runs::None => bail!("nothing runs on {router}"),
    };
    at(name, router, |here| fault::flush(protocol, here.bin_dir))
}

/// Each end of the cable does its part, in a process of its own.
fn both_ways(
    name: Option<&str>,
    verb: &str,
    router: &str,
    neighbour: &str,
    much: f64,
) -> Result<i32> {
    let lab = Lab::find(name)?;
    let much = much.to_string();
    lab.fault(&[verb, router, neighbour, &much, "--one-way"])?;
    // A LAN has no other end.
    if lab.topology().router(neighbour).is_some() {
        lab.fault(&[verb, neighbour, router, &much, "--one-way"])?;
    }
    Ok(0)
}

fn on_link(
    name: Option<&str>,
    router: String,
    neighbour: &str,
    work: impl FnOnce(Here<'_>) -> Result<()>,
) -> Result<i32> {
    let of = router.clone();
    at(name, router, |here| {
        ensure!(
            here.ifnames.iter().any(|ifname| ifname == neighbour),
            "no link between {of} and {neighbour}; {of} has links to {}",
            here.ifnames.join(", ")
        );
        work(here)
    })
}

fn at(
    name: Option<&str>,
    router: String,
    work: impl FnOnce(Here<'_>) -> Result<()>,
) -> Result<i32> {
    let lab: LabDir = Registry::open()?.find(name)?;
    let Plan { topology, bin_dir, .. } = &lab.plan()?;
    let of = topology
        .router(&router)
        .with_context(|| format!("no router {router:?} in lab {}", lab.name()))?;
    let setup = speaker::setup(topology, of);
    let ifnames: Vec<String> = topology.ends(&router).map(|end| end.ifname.clone()).collect();
    in_router(&lab, router, || {
        work(Here { setup: &setup, ifnames: &ifnames, bin_dir })?;
        Ok(0)
    })
}
