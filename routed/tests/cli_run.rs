//! Promises of `routed run` as a process: it comes up, says why it cannot, and goes in order.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A running daemon and the lines of its log. Killed when dropped.
struct Daemon {
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Daemon {
    fn start(config: &Path) -> Self {
        Self::started(config, &[])
    }

    fn started(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_routed"))
            .args(["run", "--config", config.to_str().unwrap()])
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, log }
    }

    /// The exit code and what the log had to say that was not read yet.
    fn wait(&mut self) -> (Option<i32>, Vec<String>) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.log.iter().collect());
            }
            assert!(Instant::now() < end, "the daemon does not end");
            thread::sleep(Duration::from_millis(20));
        }
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A speaker without peers whose sockets are in this folder.
fn write_config(folder: &Path, http: u16) -> std::path::PathBuf {
    let path = folder.join("routed.toml");
    let text = format!(
        "[node]\nname = \"n1\"\nmode = \"speaker\"\n\
         [bgp]\nasn = 64512\nrouter_id = \"10.0.0.1\"\nlisten = [\"127.0.0.1:{}\"]\n\
         [sockets]\ncni = \"{folder}/cni.sock\"\nadmin = \"{folder}/routed.sock\"\n\
         http = \"127.0.0.1:{http}\"\n",
        free_port(),
        folder = folder.display(),
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_speaker_answers_and_ends_with_its_socket_at_sigterm() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(&write_config(folder.path(), free_port()));
        let socket = folder.path().join("routed.sock");
        let end = Instant::now() + Duration::from_secs(20);
        let shown = loop {
            let output = Command::new(env!("CARGO_BIN_EXE_routed"))
                .args(["show", "peers", "--socket", socket.to_str().unwrap()])
                .output()
                .unwrap();
            if output.status.success() {
                break String::from_utf8(output.stdout).unwrap();
            }
            assert!(Instant::now() < end, "{}", String::from_utf8_lossy(&output.stderr));
            thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(shown, "no peers: routed.toml has no [[peers]] of this kind\n");
        daemon.signal(signal);
        let (code, log) = daemon.wait();
        assert_eq!(code, Some(0), "{log:?}");
        assert!(!socket.exists());
        assert!(log.iter().any(|line| line.contains("no [[peers]]")), "warnings: {log:?}");
    }
}

#[test]
fn what_cannot_be_listened_on_ends_the_daemon_with_a_word_on_why() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut daemon = Daemon::start(&write_config(folder.path(), port));
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(1));
    let last = log.last().unwrap();
    assert!(last.starts_with(&format!("routed: sockets.http: cannot listen on 127.0.0.1:{port}")));
}

#[test]
fn a_second_daemon_on_the_same_socket_does_not_take_it_away() {
    let folder = tempfile::tempdir().unwrap();
    let first = Daemon::start(&write_config(folder.path(), free_port()));
    let socket = folder.path().join("routed.sock");
    let end = Instant::now() + Duration::from_secs(20);
    while !socket.exists() {
        assert!(Instant::now() < end, "no socket");
        thread::sleep(Duration::from_millis(20));
    }
    let mut second = Daemon::start(&write_config(folder.path(), free_port()));
    let (code, log) = second.wait();
    assert_eq!(code, Some(1));
    assert!(log.last().unwrap().contains("another routed is listening on"), "{log:?}");
    assert!(socket.exists());
    drop(first);
}

fn routed(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_routed")).args(arguments).output().unwrap()
}

/// A service manager's socket, and what it hears.
fn service_manager(folder: &Path) -> (std::path::PathBuf, UnixDatagram) {
    let path = folder.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (path, socket)
}

fn heard(socket: &UnixDatagram) -> String {
    let mut octets = [0; 64];
    let length = socket.recv(&mut octets).expect("the service manager is told");
    String::from_utf8(octets[..length].to_vec()).unwrap()
}

#[test]
fn stop_waits_until_the_daemon_has_ended_and_the_service_manager_hears_of_it() {
    for (how, code) in [("--graceful", 0), ("--withdraw", 10), ("--drain", 10)] {
        let folder = tempfile::tempdir().unwrap();
        let (notify, manager) = service_manager(folder.path());
        let config = write_config(folder.path(), free_port());
        let mut daemon = Daemon::started(&config, &[("NOTIFY_SOCKET", notify.to_str().unwrap())]);
        assert_eq!(heard(&manager), "READY=1");
        let socket = folder.path().join("routed.sock");
        let mut arguments = vec!["stop", how, "--socket", socket.to_str().unwrap()];
        if how == "--drain" {
            arguments.extend(["--settle", "0"]);
        }
        let stopped = routed(&arguments);
        assert!(stopped.status.success(), "{how}: {stopped:?}");
        assert!(!socket.exists(), "{how}: returned before the end");
        assert_eq!(heard(&manager), "STOPPING=1");
        let told = String::from_utf8(stopped.stdout).unwrap();
        assert!(told.contains("stopped: peers"), "{how}: {told}");
        assert_eq!(told.contains("drained: every peer"), how == "--drain", "{how}: {told}");
        let (ended, log) = daemon.wait();
        assert_eq!(ended, Some(code), "{how}: {log:?}");
        assert!(!folder.path().join("routed.drain").exists(), "{how}: remembered");
    }
    let nowhere = routed(&["stop", "--socket", "/nonexistent/routed.sock"]);
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn the_unit_is_one_that_systemd_takes_and_names_options_that_exist() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/routed.service");
    let text = fs::read_to_string(&unit).unwrap();
    let program = env!("CARGO_BIN_EXE_routed");
    let commands = text.lines().filter_map(|line| line.split_once("=/usr/local/bin/routed "));
    let mut seen = 0;
    for (_, arguments) in commands {
        seen += 1;
        let mut words = arguments.split_whitespace();
        let command = words.next().unwrap();
        let help = String::from_utf8(routed(&[command, "--help"]).stdout).unwrap();
        for option in words.filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "routed {command} has no {option}");
        }
    }
    assert_eq!(seen, 4, "check, run, reload, stop");

    // A program of that name need not be installed where this is verified.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("routed.service");
    fs::write(&copy, text.replace("/usr/local/bin/routed", program)).unwrap();
    match Command::new("systemd-analyze").arg("verify").arg(&copy).output() {
        Ok(verified) => {
            let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
            let ours: Vec<_> =
                complaints.lines().filter(|line| line.contains("routed.service")).collect();
            assert_eq!(ours, [""; 0], "{complaints}");
        }
        Err(error) => eprintln!("not verified by systemd-analyze: {error}"),
    }
}
