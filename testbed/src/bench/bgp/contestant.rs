//! The speakers that are compared, each with a configuration that is fair to it: every neighbour
//! known by address and AS, waits for the connection, may announce and is told everything with the
//! speaker as next hop; hold time 180 s; one best path to a prefix that has several ASes to come by; no kernel
//! routes. A node has them, with all equal paths in use.

use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::bench::arena::DIR;
use crate::bench::load::Identity;

/// A speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Contestant {
    /// No speaker: passes messages on without looking into them. The floor.
    Relay,
    /// Ours.
    Routed,
    /// BIRD.
    Bird,
    /// FRR's bgpd as it comes.
    Frr,
    /// FRR's bgpd with `coalesce-time 0`.
    FrrCo0,
    /// `GoBGP`.
    Gobgp,
}

/// What the speaker is to do in a scenario.
#[derive(Clone, Debug, Default)]
pub(super) struct Duty {
    pub(super) peers: Vec<Identity>,
    /// Writes what it learns into the kernel, and has a range of its own.
    pub(super) is_node: bool,
    /// For `routed`: keys of the peer of this number, and what stands after all peers.
    pub(super) peer_keys: Option<fn(usize) -> String>,
    pub(super) tail: String,
}

impl Contestant {
    /// Writes the configuration and gives the command.
    pub(super) fn prepare(self, duty: &Duty, bin_dir: &Path) -> Result<Vec<String>> {
        let file = format!("{DIR}/config");
        fs::write(&file, self.config(duty))?;
        let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let program = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut argv = match self {
            Self::Relay => words("/proc/self/exe bench relay"),
            Self::Routed => {
                let routed = program(bin_dir.join("routed"));
                [vec![routed], words(&format!("run --log warn --config {file}"))].concat()
            }
            Self::Bird => words(&format!("bird -f -c {file} -s {DIR}/ctl")),
            Self::Frr | Self::FrrCo0 => words(&format!(
                "bgpd -Z -n -u root -g root --log stdout -f {file} -i {DIR}/pid --vty_socket {DIR} \
                 -P 0"
            )),
            Self::Gobgp => words(&format!(
                "gobgpd -t toml -f {file} --api-hosts 127.0.0.1:50051 -l error --disable-stdlog"
            )),
        };
        if !argv[0].contains('/') {
            argv[0] = program(find(&argv[0]).with_context(|| self.hint())?);
        }
        Ok(argv)
    }

    /// What it calls itself.
    ///
    /// # Errors
    ///
    /// It is not installed; says where to get it.
    pub(super) fn version(self, bin_dir: &Path) -> Result<String> {
        let path = match self {
            Self::Relay => return Ok("built in".into()),
            Self::Routed => {
                let path = bin_dir.join("routed");
                path.is_file().then_some(path)
            }
            Self::Bird => find("bird"),
            Self::Frr | Self::FrrCo0 => find("bgpd"),
            Self::Gobgp => find("gobgpd"),
        };
        let path = path.with_context(|| self.hint())?;
        let argument = if self == Self::Routed { "version" } else { "--version" };
        let output = Command::new(&path).arg(argument).output()?;
        // BIRD says it on stderr.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        match said.lines().next() {
            Some(line) if output.status.success() => Ok(line.trim().to_owned()),
            _ => bail!("{} does not run: {said}", path.display()),
        }
    }

    /// How long it may keep the first routes of so many new peers to itself, on purpose: FRR gathers
    /// for a second and 50 ms a peer, at most 10 s. That is waited for before anything is measured.
    pub(super) fn warm_up(self, peers: usize) -> Duration {
        match self {
            Self::Frr => {
                let peers = u64::try_from(peers).unwrap_or(u64::MAX);
                Duration::from_millis(1000 + 50 * peers.min(180))
            }
            _ => Duration::ZERO,
        }
    }

    fn hint(self) -> String {
        match self {
            Self::Relay => "cannot start the relay".into(),
            Self::Routed => "no routed beside this program; `./testbed/run bench` builds it, or \
                             name its folder with --bin-dir"
                .into(),
            Self::Bird => missing("bird", "bird2"),
            Self::Frr | Self::FrrCo0 => missing("bgpd", "frr"),
            Self::Gobgp => missing("gobgpd", "gobgpd"),
        }
    }

    /// What its configuration comes to, for people; of many peers the first.
    pub(super) fn shown(self, duty: &Duty) -> String {
        let peers = duty.peers.iter().take(1).cloned().collect();
        self.config(&Duty { peers, ..duty.clone() })
    }

    fn config(self, duty: &Duty) -> String {
        match self {
            Self::Relay => String::new(),
            Self::Routed => routed(duty),
            Self::Bird => bird(duty),
            Self::Frr => frr(duty, ""),
            Self::FrrCo0 => frr(duty, " coalesce-time 0\n"),
            Self::Gobgp => gobgp(duty),
        }
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().expect("none is hidden").get_name())
    }
}

fn routed(duty: &Duty) -> String {
    let (mode, export, sockets) = if duty.is_node {
        let pods = format!("cni = \"{DIR}/cni.sock\"\n[pods]\nipv4 = [\"{OWN_RANGE}\"]\n");
        ("node", "originated", pods)
    } else {
        ("speaker", "all", String::new())
    };
    let multipath = if duty.is_node { 16 } else { 1 };
    let mut text = format!(
        "[node]\nname = \"bench\"\nmode = \"{mode}\"\n[bgp]\nasn = {OWN_AS}\n\
         router_id = \"10.99.0.1\"\nlisten = [\"10.99.0.1:179\"]\nhold_time = 180\n\
         multipath = {multipath}\nimport = \"all\"\nexport = \"{export}\"\n\
         [sockets]\nadmin = \"{DIR}/routed.sock\"\n{sockets}"
    );
    for (at, Identity { asn, address, .. }) in duty.peers.iter().enumerate() {
        let keys = duty.peer_keys.map_or_else(String::new, |keys| keys(at));
        text += &format!("[[peers]]\naddress = \"{address}\"\nasn = {asn}\npassive = true\n{keys}");
    }
    text + &duty.tail
}

fn bird(duty: &Duty) -> String {
    let (node, export) = if duty.is_node {
        let node = format!(
            "protocol kernel {{ ipv4 {{ export all; }}; merge paths on; }}\n\
             protocol static own {{ ipv4; route {OWN_RANGE} blackhole; }}\n"
        );
        (node, "where proto = \"own\"")
    } else {
        (String::new(), "all")
    };
    let mut text = format!(
        "log stderr {{ warning, error, fatal, bug }};\nrouter id 10.99.0.1;\n\
         protocol device {{ }}\n{node}\
         template bgp peer {{\n  local 10.99.0.1 as {OWN_AS};\n  passive;\n  hold time 180;\n  \
         ipv4 {{ import all; export {export}; next hop self; }};\n  \
         ipv6 {{ import all; export {export}; next hop self; }};\n}}\n"
    );
    for (at, Identity { asn, address, .. }) in duty.peers.iter().enumerate() {
        text += &format!("protocol bgp p{at} from peer {{ neighbor {address} as {asn}; }}\n");
    }
    text
}

fn frr(duty: &Duty, extra: &str) -> String {
    let mut text = format!(
        "router bgp {OWN_AS}\n bgp router-id 10.99.0.1\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n timers bgp 60 180\n{extra} neighbor load peer-group\n \
         neighbor load passive\n neighbor load advertisement-interval 0\n"
    );
    for Identity { asn, address, .. } in &duty.peers {
        writeln!(text, " neighbor {address} remote-as {asn}\n neighbor {address} peer-group load")
            .expect("String takes all");
    }
    text + " address-family ipv4 unicast\n  neighbor load next-hop-self\n exit-address-family\n \
            address-family ipv6 unicast\n  neighbor load activate\n  neighbor load next-hop-self\n \
            exit-address-family\n"
}

fn gobgp(duty: &Duty) -> String {
    let mut text = format!(
        "[global.config]\nas = {OWN_AS}\nrouter-id = \"10.99.0.1\"\nport = 179\n\
         local-address-list = [\"10.99.0.1\"]\n"
    );
    for Identity { asn, address, .. } in &duty.peers {
        text += &format!(
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{address}\"\npeer-as = {asn}\n\
             [neighbors.transport.config]\npassive-mode = true\n\
             [neighbors.timers.config]\nhold-time = 180.0\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv4-unicast\"\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv6-unicast\"\n"
        );
    }
    text
}

fn missing(program: &str, package: &str) -> String {
    format!(
        "no program {program}; install it (Debian: apt-get install {package}) or leave the rival out"
    )
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let hidden = ["/usr/sbin", "/sbin", "/usr/lib/frr"].map(PathBuf::from);
    let mut dirs = std::env::split_paths(&path).chain(hidden);
    dirs.find_map(|dir| Some(dir.join(program)).filter(|file| file.is_file()))
}

/// What a node announces: the prefix of route 0, which others leave to it.
const OWN_RANGE: &str = "16.0.0.0/24";
/// The speaker's AS.
pub(super) const OWN_AS: u32 = 65000;
