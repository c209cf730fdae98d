//! The goals of the pod path, as ratios of one run, or as sizes.

use super::Families;
use super::report::{Cell, DaemonUse, PluginFile};
use crate::bench::goal::Goal;

/// Those goals of which the run had what it takes.
pub(super) fn goals(cells: &[Cell], daemon: &[DaemonUse], plugin: &PluginFile) -> Vec<Goal> {
    let cell = |present, families, callers| {
        cells.iter().find(|cell| {
            (cell.present, cell.families, cell.callers) == (present, families, callers)
        })
    };
    let mut goals = Vec::new();
    let empty = cell(0, Families::Dual, 1);
    if let Some(cell) = empty {
        if let Some(kernel) = &cell.kernel {
            let least = cell.floor.add.summary().p50_us + kernel.add.summary().p50_us;
            let ratio = cell.slash32.add.summary().p50_us / least;
            goals.push(Goal::at_most("ADD p50, both families: to floor and kernel", ratio, 1.6));
        }
        let ratio = cell.slash32.del.summary().p50_us / cell.floor.del.summary().p50_us;
        goals.push(Goal::at_most("DEL p50, both families: to floor", ratio, 1.5));
    }
    if let Some(Cell { slash32, reference: Some(reference), .. }) = cell(0, Families::Ipv4, 1) {
        let ratio = slash32.add.summary().p50_us / reference.add.summary().p50_us;
        goals.push(Goal::at_most("ADD p50, IPv4: to ptp and host-local", ratio, 1.0 / 6.0));
    }
    if let (Some(empty), Some(full)) = (empty, cell(2000, Families::Dual, 1)) {
        let of = |cell: &Cell| {
            let Cell { slash32, .. } = cell;
            [&slash32.add, &slash32.check, &slash32.del].map(|timing| timing.summary().p50_us)
        };
        for (name, (full, empty)) in
            ["ADD", "CHECK", "DEL"].iter().zip(of(full).into_iter().zip(of(empty)))
        {
            let name = format!("{name} p50, both families: 2000 pods to none");
            goals.push(Goal::at_most(&name, full / empty, 2.0));
        }
    }
    let removals = cells.iter().filter(|cell| cell.callers > 1 && cell.present == 0);
    let removals = removals.filter_map(|cell| Some(cell.removal.as_ref()?.rate()));
    if let Some(least) = removals.reduce(f64::min) {
        goals.push(Goal::at_least("devices removed in a second, several callers", least, 500.0));
    }
    if let Some(DaemonUse { resident, .. }) = daemon.iter().find(|at| at.pods == 500) {
        let mebioctets = *resident as f64 / f64::from(1 << 20);
        goals.push(Goal::at_most("daemon with 500 pods, MiB resident", mebioctets, 25.0));
    }
    let mebioctets = plugin.octets as f64 / f64::from(1 << 20);
    goals.push(Goal::at_most("plugin, MiB", mebioctets, 1.5));
    goals.push(Goal::at_least("plugin is static", f64::from(u8::from(plugin.is_static)), 1.0));
    goals
}
