//! Whether this run of the daemon takes over from an earlier one, and what of that one's forwarding
//! has survived: what graceful restart tells the peers (RFC 4724 §4.1).
//!
//! In: a mark that every run leaves in /run, which lives as long as a boot; and the kernel's
//! routes. Out: what our first OPENs say. Changes nothing but the mark.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bgp::{
    config::Restarted,
    family::{Family, FamilySet},
};
use routed_core::fib::route::Route;
use serde::{Deserialize, Serialize};

use crate::config::{Config, DynamicPeers, Mode};

/// What a run leaves behind.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Of this format. One of a later release says no more than that there was a run.
    version: u32,
    /// The boot that the run belonged to.
    boot: String,
    /// The node's own ranges at its start; unknown of releases before these were noted.
    #[serde(default)]
    ranges: Option<Vec<String>>,
}

/// What has survived of an earlier run; `None` if there was none since the node booted.
///
/// `kernel` lists the kernel's routes. A family's forwarding state has survived if every own range that
/// the earlier run had has its route of ours in the kernel, or, without such ranges, if any route of ours
/// is there. A range that is new with this run says nothing about what has survived. A router that
/// forwards nothing has nothing to lose.
#[must_use]
pub fn survey(config: &Config, kernel: &[Route]) -> Option<Restarted> {
    let mark = read(&place(config))?;
    if mark.version == VERSION && mark.boot != boot() {
        return None;
    }
    let forwarding = match config.node.mode {
        Mode::Speaker => FamilySet::ALL,
        Mode::Node => {
            let former = mark.ranges.as_deref();
            Family::ALL.into_iter().filter(|f| survived(config, kernel, former, *f)).collect()
        }
    };
    Some(Restarted { forwarding, deferral: config.speaker.selection_deferral_time })
}

/// The configuration with what every session must say of the restart.
#[must_use]
pub fn announced(mut config: Config, restarted: Option<Restarted>) -> Config {
    announce(&mut config, restarted);
    config
}

/// The same in place. Members of groups of dynamic peers hear it as well: they come back too.
pub(crate) fn announce(config: &mut Config, restarted: Option<Restarted>) {
    let groups = config.dynamic_peers.iter_mut().map(DynamicPeers::template_mut);
    let sessions = config.peers.iter_mut().chain(groups).map(|peer| &mut peer.session);
    for restart in sessions.filter_map(|session| session.graceful_restart.as_mut()) {
        restart.restarted = restarted;
    }
}

/// Leaves the mark for the next run.
///
/// # Errors
///
/// The file system's.
pub fn leave_mark(config: &Config) -> io::Result<()> {
    let place = place(config);
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    let ranges = config.pods.iter().flat_map(|pods| &pods.prefixes).map(ToString::to_string);
    let mark = Mark { version: VERSION, boot: boot(), ranges: Some(ranges.collect()) };
    // Written whole or not at all: a daemon that dies here must not leave half of it.
    let draft = place.with_extension("new");
    fs::write(&draft, serde_json::to_string(&mark)? + "\n")?;
    fs::rename(draft, place)
}

fn survived(config: &Config, kernel: &[Route], former: Option<&[String]>, family: Family) -> bool {
    let ours = |route: &&Route| {
        route.protocol == config.kernel.protocol
            && route.key.table == config.kernel.table
            && route.key.prefix.family() == family
    };
    let ours: Vec<_> = kernel.iter().filter(ours).map(|route| route.key.prefix).collect();
    let own = config.pods.iter().flat_map(|pods| pods.prefixes.iter().copied());
    let own = own.filter(|range| former.is_none_or(|former| former.contains(&range.to_string())));
    // A single address has no blackhole: it is the very route to its pod.
    let mut own = own.filter(|r| r.family() == family && r.len() < family.max_len()).peekable();
    if own.peek().is_none() { !ours.is_empty() } else { own.all(|range| ours.contains(&range)) }
}

/// Beside the administrator's socket, so that several daemons on a host keep apart.
fn place(config: &Config) -> PathBuf {
    mark_beside(&config.sockets.admin)
}

/// The mark of the daemon with this socket.
pub(crate) fn mark_beside(socket: &Path) -> PathBuf {
    socket.with_extension("run")
}

fn read(place: &Path) -> Option<Mark> {
    let text = fs::read_to_string(place).ok()?;
    // Whatever it is, a run has left it; one that cannot be read says no more than that.
    Some(serde_json::from_str(&text).unwrap_or(Mark {
        version: 0,
        boot: String::new(),
        ranges: None,
    }))
}

/// The kernel's name for this boot.
pub(crate) fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use routed_core::fib::route::{RouteKey, Target};

    use super::*;

    /// A node with an IPv4 range and an IPv6 one, whose sockets are in this folder.
    fn config(folder: &Path, mode: &str) -> Config {
        let pods = match mode {
            "node" => "[pods]\nipv4 = [\"10.244.1.0/24\"]\nipv6 = [\"fd00:10:244:1::/64\"]\n",
            _ => "",
        };
        let text = format!(
            "[node]\nname = \"n\"\nmode = \"{mode}\"\n\
             [bgp]\nasn = 65001\nrouter_id = \"10.0.0.1\"\nimport = \"all\"\nexport = \"all\"\n\
             selection_deferral_time = 7\n\
             [[peers]]\naddress = \"10.1.1.0\"\nasn = 65002\n{pods}\
             [sockets]\nadmin = \"{}/routed.sock\"\n",
            folder.display()
        );
        Config::parse(Path::new("routed.toml"), &text).unwrap().config
    }

    fn blackhole(prefix: &str, protocol: u8) -> Route {
        let key = RouteKey::new(254, prefix.parse().unwrap(), None);
        Route { key, protocol, target: Target::Blackhole }
    }

    #[test]
    fn the_first_run_of_a_boot_has_not_restarted() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "node");
        assert_eq!(survey(&config, &[blackhole("10.244.1.0/24", 132)]), None);
        let place = folder.path().join("routed.run");
        fs::write(&place, "{\"version\":1,\"boot\":\"another\"}").unwrap();
        assert_eq!(survey(&config, &[]), None, "a mark that outlived its boot");
    }

    #[test]
    fn rfc4724_4_1_a_family_counts_as_preserved_if_its_own_ranges_are_still_ours_in_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "node");
        leave_mark(&config).unwrap();
        let forwarding = |kernel: &[Route]| survey(&config, kernel).unwrap().forwarding;
        assert_eq!(forwarding(&[]), FamilySet::NONE);
        let four: FamilySet = [Family::Ipv4Unicast].into_iter().collect();
        assert_eq!(forwarding(&[blackhole("10.244.1.0/24", 132)]), four);
        let others = [blackhole("10.244.1.0/24", 12), blackhole("fd00:10:244:1::/64", 12)];
        assert_eq!(forwarding(&others), FamilySet::NONE, "somebody else's routes");
        let both = [blackhole("10.244.1.0/24", 132), blackhole("fd00:10:244:1::/64", 132)];
        assert_eq!(forwarding(&both), FamilySet::ALL);
    }

    #[test]
    fn a_range_that_is_new_with_this_run_says_nothing_about_the_run_before() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "node");
        let mark = |ranges: &str| {
            let text = format!("{{\"version\":1,\"boot\":\"{}\"{ranges}}}", boot());
            fs::write(folder.path().join("routed.run"), text).unwrap();
        };
        let forwarding = |kernel: &[Route]| survey(&config, kernel).unwrap().forwarding;
        let another = [blackhole("10.244.9.0/24", 132), blackhole("fd00:10:244:1::/64", 132)];
        mark(",\"ranges\":[\"10.244.9.0/24\",\"fd00:10:244:1::/64\"]");
        assert_eq!(forwarding(&another), FamilySet::ALL);
        assert_eq!(forwarding(&another[1..]), [Family::Ipv6Unicast].into_iter().collect());
        mark(",\"ranges\":[\"10.244.1.0/24\",\"fd00:10:244:1::/64\"]");
        assert_eq!(forwarding(&another), [Family::Ipv6Unicast].into_iter().collect());
        // Left by an earlier release.
        mark("");
        assert_eq!(forwarding(&another), [Family::Ipv6Unicast].into_iter().collect());
    }

    #[test]
    fn a_router_that_forwards_nothing_loses_nothing_by_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "speaker");
        assert_eq!(survey(&config, &[]), None);
        leave_mark(&config).unwrap();
        let restarted = survey(&config, &[]).unwrap();
        assert_eq!(restarted.forwarding, FamilySet::ALL);
        assert_eq!(restarted.deferral, Duration::from_secs(7), "as configured");
    }

    #[test]
    fn a_mark_that_cannot_be_read_still_says_that_there_was_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "node");
        for text in ["", "{", "{\"version\":9,\"boot\":\"x\",\"more\":1}"] {
            fs::write(folder.path().join("routed.run"), text).unwrap();
            assert_eq!(survey(&config, &[]).unwrap().forwarding, FamilySet::NONE, "{text:?}");
        }
    }

    #[test]
    fn every_session_that_restarts_gracefully_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let deferral = Duration::from_secs(60);
        let restarted = Restarted { forwarding: FamilySet::ALL, deferral };
        let config = announced(config(folder.path(), "node"), Some(restarted));
        let said = config.peers[0].session.graceful_restart.as_ref().unwrap().restarted;
        assert_eq!(said, Some(restarted));
    }
}
