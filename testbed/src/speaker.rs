//! The routing software of one router: its files, its programs, how to ask for its sessions.
//!
//! In: a [`Topology`] and the name of a router. Out: a [`Setup`]. Pure: writes and starts
//! nothing. One file a daemon in `speaker/`.

use std::path::PathBuf;

use crate::topology::{Role, Router, Runs, Topology};

mod bird;
mod frr;
mod routed;
#[cfg(test)]
mod tests;

/// All that makes one router run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Written before anything starts.
    pub files: Vec<File>,
    /// Started in this order.
    pub programs: Vec<Program>,
    /// Run to its end once the programs stand, if they take their configuration that way.
    pub load: Option<Program>,
}

/// A file inside of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Absolute, as seen inside.
    pub path: PathBuf,
    /// Whole content.
    pub text: String,
}

/// A program inside of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Names its log, `/var/log/NAME.log`, and its pid file.
    pub name: String,
    /// The command; the program is looked up in the router's `PATH`.
    pub argv: Vec<String>,
    /// Left out without complaint where it is not installed.
    pub optional: bool,
    /// How one sees that it answers; what comes next waits for it.
    pub ready: Option<Ready>,
    /// What of it must not wait for a processor.
    pub urgent: Option<Urgent>,
}

/// The threads of a program that serve BFD. Routers serve it by hardware or ahead of all else; here,
/// where a whole fabric shares a machine, they would wait behind others, and a router that is alive
/// would count as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgent {
    /// All: it does nothing else.
    Whole,
    /// The only one beside the main thread.
    SecondThread,
}

/// The sign that a program answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// This socket is there.
    Socket(PathBuf),
    /// This command succeeds.
    Command(Vec<String>),
}

/// Seconds of silence after which a peer is given up: short, since people watch.
const HOLD_TIME: u32 = 9;
/// Seconds between signs of life.
const KEEPALIVE_TIME: u32 = 3;

/// One BGP session as the router's own software tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The peer, by what the software calls it: a name or an address.
    pub peer: String,
    /// The state, in the software's own word.
    pub state: String,
    /// Routes may flow.
    pub established: bool,
}

/// The command that asks the router's software for its sessions; none if nothing runs there.
#[must_use]
pub fn sessions_command(runs: Runs) -> Option<&'static [&'static str]> {
    match runs {
        Runs::Routed => Some(&["routed", "show", "peers", "-o", "json"]),
        Runs::Bird => Some(&["birdc", "-s", "/run/bird/bird.ctl", "show", "protocols"]),
        Runs::Frr => Some(&["vtysh", "-c", "show bgp summary json"]),
        Runs::None => None,
    }
}

/// The command that shows people its sessions.
#[must_use]
pub fn sessions_command_for_people(runs: Runs) -> Option<&'static [&'static str]> {
    match runs {
        Runs::Routed => Some(&["routed", "show", "peers"]),
        Runs::Bird => Some(&["birdc", "show", "protocols"]),
        Runs::Frr => Some(&["vtysh", "-c", "show bgp summary"]),
        Runs::None => None,
    }
}

/// The command that shows people the routes that the router's software has learned.
#[must_use]
pub fn table_command(runs: Runs) -> Option<&'static [&'static str]> {
    match runs {
        Runs::Routed => Some(&["routed", "show", "routes"]),
        Runs::Bird => Some(&["birdc", "show", "route"]),
        Runs::Frr => Some(&["vtysh", "-c", "show bgp ipv4 unicast", "-c", "show bgp ipv6 unicast"]),
        Runs::None => None,
    }
}

/// Reads what [`sessions_command`] printed; what cannot be read is no session.
#[must_use]
pub fn sessions(runs: Runs, printed: &str) -> Vec<Session> {
    match runs {
        Runs::Routed => routed::sessions(printed),
        Runs::Bird => bird::sessions(printed),
        Runs::Frr => frr::sessions(printed),
        Runs::None => Vec::new(),
    }
}

/// Everything that one router needs.
#[must_use]
pub fn setup(topology: &Topology, router: &Router) -> Setup {
    let mut setup = match router.runs {
        Runs::Routed => routed::setup(topology, router),
        Runs::Bird => bird::setup(topology, router),
        Runs::Frr => frr::setup(topology, router),
        Runs::None => own_program(router),
    };
    if router.role == Role::Node {
        setup.files.push(File {
            path: "/etc/cni/net.d/10-slash32.conflist".into(),
            text: CONFLIST.into(),
        });
    }
    // The topology's own files win over generated ones of the same path.
    setup.files.retain(|file| !router.files.contains_key(&file.path));
    let own = router.files.iter();
    setup.files.extend(own.map(|(path, text)| File { path: path.clone(), text: text.clone() }));
    setup
}

impl Program {
    fn new(name: &str, argv: &[&str]) -> Self {
        let argv = argv.iter().map(ToString::to_string).collect();
        Self { name: name.into(), argv, optional: false, ready: None, urgent: None }
    }

    fn ready_with(self, socket: &str) -> Self {
        Self { ready: Some(Ready::Socket(socket.into())), ..self }
    }

    fn ready_when(self, argv: &[&str]) -> Self {
        let argv = argv.iter().map(ToString::to_string).collect();
        Self { ready: Some(Ready::Command(argv)), ..self }
    }

    fn urgent(self, urgent: Option<Urgent>) -> Self {
        Self { urgent, ..self }
    }

    fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

fn own_program(router: &Router) -> Setup {
    let programs = match router.command.first() {
        None => Vec::new(),
        Some(first) => {
            let name = first.rsplit('/').next().unwrap_or(first).to_owned();
            let argv = router.command.clone();
            vec![Program { name, argv, optional: false, ready: None, urgent: None }]
        }
    };
    Setup { programs, ..Setup::default() }
}

/// How a route server or reflector treats a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    RouteServer,
    RouteReflector,
}

/// What `peer` is to `own`: none unless `own` only speaks.
fn client(own: &Router, peer: &Router) -> Option<Client> {
    match own.role {
        Role::Spine | Role::Tor | Role::Node => None,
        Role::Speaker if own.asn == peer.asn => Some(Client::RouteReflector),
        Role::Speaker => Some(Client::RouteServer),
    }
}

/// The generated text, or the topology's in its place, and what the topology adds.
fn own_words(router: &Router, generated: String) -> String {
    let mut text = router.config.clone().unwrap_or(generated);
    if let Some(extra) = &router.extra_config {
        text.push('\n');
        text.push_str(extra);
    }
    text
}

/// What a container runtime reads on every node.
const CONFLIST: &str = r#"{
  "cniVersion": "1.1.0",
  "name": "slash32",
  "plugins": [
    { "type": "slash32" }
  ]
}
"#;
