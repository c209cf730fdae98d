//! Promises of `routed run` as a process: it comes up, says why it cannot, and goes in order.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
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
        let mut child = Command::new(env!("CARGO_BIN_EXE_routed"))
            .args(["run", "--config", config.to_str().unwrap()])
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
