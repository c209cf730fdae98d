//! Promises of `routed reload`, SIGHUP and `routed peer`, kept by daemons as processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// A running daemon on loopback with its own file and folder. Killed when dropped.
struct Daemon {
    child: Child,
    folder: TempDir,
    log: Arc<Mutex<Vec<String>>>,
    address: Ipv4Addr,
}

/// A /24 of loopback for one test. Several runs may share the machine.
fn net() -> impl Fn(u8) -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let run = u8::try_from(std::process::id() % 100).unwrap() + 20;
    let test = NEXT.fetch_add(1, Ordering::Relaxed) + 200;
    move |host| Ipv4Addr::new(127, run, test, host)
}

impl Daemon {
    /// A speaker at this address, its last octet in its AS, with these further lines.
    fn start(address: Ipv4Addr, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("routed.toml"), Self::text(&folder, address, more)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_routed"))
            .args(["run", "--config", folder.path().join("routed.toml").to_str().unwrap()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let daemon = Self { child, folder, log, address };
        daemon.until("running", |daemon| daemon.run(&["show", "peers"]).status.success());
        daemon
    }

    fn text(folder: &TempDir, address: Ipv4Addr, more: &str) -> String {
        let folder = folder.path().display();
        format!(
            "[node]\nname = \"n{host}\"\nmode = \"speaker\"\n\
             [sockets]\nadmin = \"{folder}/routed.sock\"\ncni = \"{folder}/cni.sock\"\nhttp = \"\"\n\
             [bgp]\nasn = 650{host:02}\nrouter_id = \"10.0.0.{host}\"\nlisten = [\"{address}:1790\"]\n\
             connect_retry = 1\nhold_time = 9\nimport = \"all\"\nexport = \"all\"\n{more}",
            host = address.octets()[3],
        )
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("routed.toml")
    }

    /// Another text in its file.
    fn edit(&self, more: &str) {
        fs::write(self.file(), Self::text(&self.folder, self.address, more)).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        let socket = self.folder.path().join("routed.sock");
        Command::new(env!("CARGO_BIN_EXE_routed"))
            .args(args)
            .args(["--socket", socket.to_str().unwrap()])
            .output()
            .unwrap()
    }

    /// What the command prints; it must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the command complains about; it must fail with code 1.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn peers(&self) -> Vec<Value> {
        serde_json::from_str(&self.ok(&["show", "peers", "-o", "json"])).unwrap()
    }

    fn peer(&self, name: &str) -> Value {
        let peers = self.peers();
        peers.into_iter().find(|peer| peer["name"] == name).unwrap_or_default()
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            let log = self.log.lock().unwrap();
            assert!(Instant::now() < end, "never {what}: {}", log.join("\n"));
            drop(log);
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn established(&self, name: &str) {
        self.until("established", |daemon| daemon.peer(name)["state"] == "Established");
    }

    fn said(&self, what: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(what))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `[[peers]]` table for the daemon at this address.
fn peer(address: Ipv4Addr, own: Ipv4Addr, more: &str) -> String {
    let host = address.octets()[3];
    format!(
        "[[peers]]\nname = \"p{host}\"\naddress = \"{address}\"\nlocal_address = \"{own}\"\n\
         port = 1790\nasn = 650{host:02}\n{more}\n"
    )
}

#[test]
fn a_dry_run_tells_what_would_change_and_the_reload_does_just_that() {
    let net = net();
    let daemon = Daemon::start(net(1), &peer(net(2), net(1), ""));
    assert_eq!(daemon.ok(&["reload"]), "no changes\n");

    let edited =
        peer(net(2), net(1), "hold_time = 30\nexport = \"none\"") + &peer(net(3), net(1), "");
    daemon.edit(&edited);
    let table = format!(
        "EFFECT  SETTING              OLD  NEW\n\
         reset   peers[p2].hold_time  9    30\n\
         soft    peers[p2].export     all  none\n\
         none    peers[p3]            -    {} AS 65003\n",
        net(3)
    );
    let dry = daemon.ok(&["reload", "--dry-run"]);
    assert_eq!(dry, format!("{table}\nnothing applied: this was a dry run\n"));
    assert_eq!(daemon.peers().len(), 1);

    assert_eq!(daemon.ok(&["reload"]), format!("{table}\napplied\n"));
    assert_eq!(daemon.peers().len(), 2);
    assert_eq!(daemon.peer("p2")["export"], "none");
    assert!(daemon.said("configuration: peers[p2].hold_time: 9 -> 30 (reset)"));
    let again: Value = serde_json::from_str(&daemon.ok(&["reload", "-o", "json"])).unwrap();
    assert_eq!(again["changes"], Value::Array(Vec::new()));
    assert_eq!(again["applied"], true);
}

#[test]
fn a_reload_leaves_sessions_alone_that_it_does_not_concern() {
    let net = net();
    let a = Daemon::start(net(1), &peer(net(2), net(1), ""));
    let b = Daemon::start(net(2), &peer(net(1), net(2), ""));
    a.established("p2");
    b.established("p1");
    let count = |daemon: &Daemon, name| daemon.peer(name)["established_count"].clone();
    let before = (count(&a, "p2"), count(&b, "p1"));

    a.edit(
        &(peer(net(2), net(1), "import = \"none\"\nconnect_retry = 9") + &peer(net(3), net(1), "")),
    );
    a.ok(&["reload"]);
    let c = Daemon::start(net(3), &peer(net(1), net(3), ""));
    a.established("p3");
    a.edit(&peer(net(2), net(1), ""));
    a.signal(Signal::SIGHUP);
    a.until("without the third", |daemon| daemon.peers().len() == 1);

    assert_eq!((count(&a, "p2"), count(&b, "p1")), before);
    assert_eq!(a.peer("p2")["state"], "Established");
    c.until("told", |daemon| daemon.peer("p1")["last_error"].to_string().contains("De-configured"));
}

#[test]
fn a_broken_file_changes_nothing_and_every_fault_is_told() {
    let net = net();
    let daemon = Daemon::start(net(1), &peer(net(2), net(1), ""));
    let before = daemon.peers();
    daemon.edit(&(peer(net(2), net(1), "hold_time = 2") + "[[peers]]\nasn = \"extern\"\n"));

    let error = daemon.refused(&["reload"]);
    for fault in [
        "not reloaded, nothing has changed",
        "peers[0].hold_time: hold time of 2 s is not allowed",
        "peers[1].address: missing",
        "peers[1].asn: \"extern\" is not an AS number",
    ] {
        assert!(error.contains(fault), "{fault} is not in {error}");
    }
    assert!(daemon.refused(&["reload", "--dry-run"]).contains("peers[1].address"));
    daemon.signal(Signal::SIGHUP);
    daemon.until("said", |daemon| daemon.said("the configuration is not reloaded"));
    assert!(daemon.said("peers[0].hold_time") && daemon.said("peers[1].asn"));
    fs::remove_file(daemon.file()).unwrap();
    assert!(daemon.refused(&["reload"]).contains("cannot be read: No such file"));
    assert_eq!(daemon.peers().len(), before.len());

    daemon.edit("");
    daemon.signal(Signal::SIGHUP);
    daemon.until("reloaded", |daemon| daemon.peers().is_empty());
    assert!(daemon.said("no [[peers]]"), "warnings of the new file");
}

#[test]
fn what_needs_a_restart_is_told_and_left_and_told_again() {
    let net = net();
    let daemon = Daemon::start(net(1), &peer(net(2), net(1), ""));
    let edited = peer(net(2), net(1), "connect_retry = 7") + "[kernel]\nmetric = 20\n";
    daemon.edit(&edited);

    let text = daemon.ok(&["reload"]);
    assert!(text.contains("restart  kernel.metric            none  20\n"), "{text}");
    assert!(text.contains("only from the next start of routed on"), "{text}");

    let again = daemon.ok(&["reload"]);
    assert!(again.contains("kernel.metric") && !again.contains("connect_retry"), "{again}");
}

#[test]
fn an_operator_stops_starts_and_resets_a_session_with_words_for_the_other_side() {
    let net = net();
    let a = Daemon::start(net(1), &peer(net(2), net(1), ""));
    let b = Daemon::start(net(2), &peer(net(1), net(2), ""));
    a.established("p2");

    a.ok(&["peer", "p2", "disable", "new line card"]);
    b.until("told", |daemon| daemon.peer("p1")["last_error"].to_string().contains("new line card"));
    assert_eq!(a.peer("p2")["enabled"], false);
    // Another configuration does not start it.
    a.edit(&peer(net(2), net(1), "hold_time = 30"));
    a.ok(&["reload"]);
    assert_eq!(a.peer("p2")["enabled"], false);

    a.ok(&["peer", &net(2).to_string(), "enable"]);
    a.established("p2");
    b.established("p1");
    let count = a.peer("p2")["established_count"].as_u64().unwrap();
    a.ok(&["peer", "p2", "reset", "again"]);
    a.until("reset", |daemon| {
        daemon.peer("p2")["established_count"].as_u64().unwrap() > count
            && daemon.peer("p2")["state"] == "Established"
    });
}

#[test]
fn routes_are_told_again_in_the_direction_asked_for() {
    let net = net();
    let a = Daemon::start(net(1), &peer(net(2), net(1), ""));
    let b = Daemon::start(net(2), &peer(net(1), net(2), ""));
    a.established("p2");
    b.established("p1");
    let refreshes = |daemon: &Daemon, name, direction: &str| {
        daemon.peer(name)[format!("messages_{direction}")]["route_refresh"].as_u64().unwrap()
    };
    let before = refreshes(&b, "p1", "received");

    a.ok(&["peer", "p2", "refresh", "in"]);
    b.until("asked", |daemon| refreshes(daemon, "p1", "received") >= before + 2);
    a.ok(&["peer", "p2", "refresh", "out"]);
    a.ok(&["peer", "p2", "refresh"]);
    b.until("asked", |daemon| refreshes(daemon, "p1", "received") >= before + 4);
    assert_eq!(a.peer("p2")["state"], "Established");
}

#[test]
fn what_cannot_be_done_with_a_peer_is_refused_with_a_remedy() {
    let net = net();
    let daemon = Daemon::start(net(1), &peer(net(2), net(1), ""));
    let error = daemon.refused(&["peer", "p9", "reset"]);
    assert!(error.contains("no peer has the name or address \"p9\"; known are p2"), "{error}");
    let error = daemon.refused(&["peer", "p2", "refresh"]);
    assert!(error.contains("p2 has no established session"), "{error}");
    let long = "x".repeat(256);
    let output = daemon.run(&["peer", "p2", "reset", &long]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("at most 255"), "{error}");
}
