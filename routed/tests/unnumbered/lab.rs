//! Routers: network namespaces with a daemon in each, and the cables between them.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that must come, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A network namespace, and the folder of the programs in it. Everything ends when it is dropped.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    /// Keeps the namespace; for ten minutes at most, should nobody end it.
    holder: Child,
    pub(crate) folder: TempDir,
    pub(crate) programs: Vec<Child>,
}

impl Host {
    pub(crate) fn new(name: &'static str) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 600"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "a new network namespace; run the test as root");
        let folder = tempfile::tempdir().unwrap();
        let host = Self { name, holder, folder, programs: Vec::new() };
        host.ip("link set lo up");
        host
    }

    /// Where the namespace can be entered.
    pub(crate) fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// A program to be run in the namespace and the folder.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace())).arg(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn try_run(&self, program: &str, arguments: &str) -> Output {
        self.command(program).args(arguments.split_whitespace()).output().unwrap()
    }

    pub(crate) fn run(&self, program: &str, arguments: &str) -> String {
        let output = self.try_run(program, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {program} {arguments}: {errors}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn ip(&self, arguments: &str) -> String {
        self.run("ip", arguments)
    }

    /// Starts a program whose log goes to a file of its name.
    pub(crate) fn start(&mut self, program: &str, name: &str, arguments: &[&str]) {
        let log = File::create(self.folder.path().join(format!("{name}.log"))).unwrap();
        let child = self
            .command(program)
            .args(arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; ./testbed/run test installs it"));
        self.programs.push(child);
    }

    /// Ends the daemon without a word to anybody.
    pub(crate) fn kill(&mut self) {
        for mut program in self.programs.drain(..) {
            program.kill().unwrap();
            program.wait().unwrap();
        }
    }

    /// Starts `routed`, which originates the host's ranges, with these tables of peers.
    pub(crate) fn routed(&mut self, number: u8, peers: &str) {
        let text = format!(
            "[node]\nname = \"{}\"\n\
             [bgp]\nasn = {}\nrouter_id = \"10.0.0.{number}\"\nhold_time = 9\nconnect_retry = 1\n\
             import = \"all\"\nexport = \"all\"\n\
             [pods]\nipv4 = [\"10.244.{number}.0/24\"]\nipv6 = [\"fd00:10:244:{number}::/64\"]\n\
             [sockets]\ncni = \"{folder}/cni.sock\"\nadmin = \"{folder}/admin.sock\"\nhttp = \"\"\n\
             {peers}",
            self.name,
            65_000 + u32::from(number),
            folder = self.folder.path().display(),
        );
        fs::write(self.path("routed.toml"), text).unwrap();
        let program = env!("CARGO_BIN_EXE_routed");
        self.start(program, "routed", &["run", "--config", "routed.toml", "--log", "debug"]);
        // Somebody in the ranges, for pings.
        self.ip(&format!("address add 10.244.{number}.1/32 dev lo"));
        self.ip(&format!("-6 address add fd00:10:244:{number}::1/128 dev lo"));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `routed show` shows; null as long as there is no answer.
    pub(crate) fn show(&self, what: &str) -> Value {
        let arguments = format!("show {what} -o json --socket admin.sock");
        let output = self.try_run(env!("CARGO_BIN_EXE_routed"), &arguments);
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// The only peer.
    pub(crate) fn peer(&self) -> Value {
        self.show("peers")[0].clone()
    }

    pub(crate) fn state(&self) -> String {
        text(&self.peer()["state"])
    }

    /// Why there is no session.
    pub(crate) fn reason(&self) -> String {
        text(&self.peer()["last_error"])
    }

    pub(crate) fn is_established(&self) -> bool {
        self.state() == "Established"
    }

    /// Where the kernel sends packets to this destination, hops in order: `via inet6 fe80::1 eth1`.
    pub(crate) fn route(&self, destination: &str) -> Vec<String> {
        let family = if destination.contains(':') { "-6" } else { "-4" };
        let shown = self.ip(&format!("{family} -j route show {destination} proto 132"));
        let routes: Vec<Value> = serde_json::from_str(&shown).unwrap();
        let objects: Vec<Value> = serde_json::from_str(&self.ip("-j nexthop show")).unwrap();
        // Gone, perhaps, since the route was listed.
        let object = |id: &Value| objects.iter().find(|it| it["id"] == *id).unwrap_or(&Value::Null);
        let hop = |hop: &Value| {
            let via = match hop["via"].as_object() {
                Some(via) => format!("inet6 {}", text(&via["host"])),
                None => text(&hop["gateway"]),
            };
            let is_ipv6 = family == "-4" && via.contains(':') && !via.starts_with("inet6");
            format!("{}{via} {}", if is_ipv6 { "inet6 " } else { "" }, text(&hop["dev"]))
        };
        let members = |route: &Value| object(&route["nhid"])["group"].as_array().cloned();
        let mut hops: Vec<_> = routes
            .iter()
            .flat_map(|route| match members(route) {
                Some(members) => members.iter().map(|member| hop(object(&member["id"]))).collect(),
                None => vec![hop(route)],
            })
            .collect();
        hops.sort();
        hops
    }

    /// Our link-local address on an interface that the kernel has found to be ours.
    pub(crate) fn link_local(&self, interface: &str) -> Option<String> {
        let shown = self.ip(&format!("-6 -j address show dev {interface} scope link -tentative"));
        let links: Value = serde_json::from_str(&shown).unwrap();
        let addresses = links.as_array()?.iter().find_map(|link| link["addr_info"].as_array())?;
        Some(text(&addresses.first()?["local"]))
    }

    /// Whether packets from one of our ranges reach one of another router's, and come back.
    pub(crate) fn reaches(&self, from: &str, to: &str) -> bool {
        self.try_run("ping", &format!("-c 1 -W 1 -I {from} {to}")).status.success()
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for program in &mut self.programs {
            // It may have ended already.
            let _ = program.kill();
            let _ = program.wait();
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        if std::thread::panicking() {
            for file in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
                if file.path().extension().is_some_and(|extension| extension == "log") {
                    let log = fs::read_to_string(file.path()).unwrap_or_default();
                    println!("==== {} {}\n{log}", self.name, file.path().display());
                }
            }
        }
    }
}

/// Lays a cable between two hosts; both ends are up.
pub(crate) fn cable((a, a_end): (&Host, &str), (b, b_end): (&Host, &str)) {
    a.ip(&format!("link add {a_end} type veth peer name {b_end} netns {}", b.holder.id()));
    a.ip(&format!("link set {a_end} up"));
    b.ip(&format!("link set {b_end} up"));
}

/// Two routers with a cable between their interfaces eth1.
pub(crate) fn pair() -> (Host, Host) {
    let (a, b) = (Host::new("a"), Host::new("b"));
    cable((&a, "eth1"), (&b, "eth1"));
    (a, b)
}

/// Waits until a condition holds, and says how long it took.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never {what}");
        sleep(Duration::from_millis(50));
    }
    println!("{what} after {:?}", start.elapsed());
    start.elapsed()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
