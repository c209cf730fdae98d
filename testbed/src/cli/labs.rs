//! Commands about whole labs: up, down, show, check.

use std::io::IsTerminal;
use std::time::Instant;

use anyhow::Result;

use super::{Demo, Up, print};
use crate::demo;
use crate::lab::{Lab, Options, default_name};
use crate::registry::Registry;
use crate::show;
use crate::topology::Topology;

pub(super) fn up(name: Option<&str>, up: &Up) -> Result<i32> {
    let topology = Topology::load(&up.topology)?;
    let name = name.map_or_else(|| default_name(&topology), str::to_owned);
    let options = Options {
        name: Some(name),
        fabric: up.software.tor,
        nodes: up.software.node,
        bin_dir: up.software.bin_dir.clone(),
    };
    let begun = Instant::now();
    let lab = Lab::up_telling(topology, &options, |step| {
        if std::io::stderr().is_terminal() {
            eprintln!("  … {step}");
        }
    })?;
    let name = lab.name().to_owned();
    let router = lab.topology().routers.last().map(|router| router.name.clone());
    lab.detach()?;
    print(&format!(
        "lab {name} is up ({:.1} s); next:\n  ./testbed/run show\n  ./testbed/run exec {} COMMAND…\n  ./testbed/run down\n",
        begun.elapsed().as_secs_f64(),
        router.unwrap_or_default(),
    ))?;
    Ok(0)
}

pub(super) fn down(name: Option<&str>, all: bool) -> Result<i32> {
    let registry = Registry::open()?;
    for swept in registry.sweep()? {
        print(&format!("lab {swept} had crashed; its remains are removed\n"))?;
        if name == Some(&swept) {
            return Ok(0);
        }
    }
    let labs = if all { registry.alive()? } else { vec![registry.find(name)?] };
    for lab in labs {
        lab.take_down()?;
        print(&format!("lab {} is down\n", lab.name()))?;
    }
    Ok(0)
}

pub(super) fn show(name: Option<&str>) -> Result<i32> {
    let alive = Registry::open()?.alive()?;
    let chosen = match (name, &alive[..]) {
        (Some(_), _) | (None, [_]) => Some(Lab::find(name)?),
        (None, _) => None,
    };
    match chosen {
        Some(lab) => print(&show::lab(&lab)?)?,
        None => print(&show::labs(&alive)?)?,
    }
    Ok(0)
}

pub(super) fn demo(Demo { tor, keep, fast, bin_dir }: Demo) -> Result<i32> {
    let held = demo::run(&demo::Wish { fabric: tor, keep, fast, bin_dir })?;
    Ok(if held { 0 } else { 1 })
}

pub(super) fn check(topology: &str) -> Result<i32> {
    let topology = Topology::load(topology)?;
    print(&show::topology(&topology))?;
    Ok(0)
}
