//! Labs as people raise them: they work, stay apart, and leave nothing behind, however they end.
//!
//! Each test has a folder of labs of its own, so that none sees another's. Needs root or user
//! namespaces, and BIRD and FRR for the tests that name them.

#![expect(clippy::unwrap_used, reason = "a test that cannot look fails")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

#[test]
fn a_lab_is_raised_used_and_gone_without_a_trace() {
    let home = Home::new();
    let before = Traces::now();
    let file = home.topology(IDLE);
    home.ok(&["up", &file]);
    assert!(home.ok(&["show"]).contains("lab idle of"));
    assert_eq!(home.ok(&["exec", "node1", "hostname"]), "node1\n");
    let links = home.ok(&["exec", "node1", "ls", "/sys/class/net"]);
    assert_eq!(links.split_whitespace().collect::<Vec<_>>(), ["lo", "tor1"]);
    let processes = home.processes("idle");
    assert_eq!(processes.len(), 3, "one supervisor, two holders: {processes:?}");

    home.ok(&["down"]);

    assert_gone(&processes);
    assert_eq!(home.folders(), [""; 0]);
    Traces::wait_for(&before);
    assert!(home.ok(&["show"]).contains("no lab is up"));
}

#[test]
fn a_killed_supervisor_takes_everything_along_and_the_next_up_sweeps() {
    let home = Home::new();
    let before = Traces::now();
    let file = home.topology(IDLE);
    home.ok(&["up", &file, "--name", "crashed"]);
    home.ok(&["exec", "node1", "sh", "-c", "sleep 1000 >/dev/null 2>&1 &"]);
    let processes = home.processes("crashed");
    assert_eq!(processes.len(), 4, "supervisor, holders, sleep: {processes:?}");

    kill(Pid::from_raw(home.supervisor("crashed")), Signal::SIGKILL).unwrap();

    assert_gone(&processes);
    Traces::wait_for(&before);
    assert_eq!(home.folders(), ["crashed"], "only its folder is left");
    home.ok(&["up", &file, "--name", "next"]);
    assert_eq!(home.folders(), ["next"]);
}

#[test]
fn down_sweeps_what_a_crash_left() {
    let home = Home::new();
    let file = home.topology(IDLE);
    home.ok(&["up", &file]);
    let supervisor = home.supervisor("idle");
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    assert_gone(&[supervisor]);

    let said = home.ok(&["down", "--name", "idle"]);

    assert!(said.contains("lab idle had crashed"), "{said}");
    assert_eq!(home.folders(), [""; 0]);
}

#[test]
fn ctrl_c_while_a_lab_is_raised_leaves_nothing() {
    let home = Home::new();
    let before = Traces::now();
    // FRR takes its time, so that the signal comes while the lab is half built.
    let file = home.topology(&IDLE.replace("runs = \"none\"", "runs = \"frr\""));
    let mut up = home.command(&["up", &file]);
    // A shell that runs the tests in the background has them, and their children, ignore it.
    // SAFETY: signal(2) is async-signal-safe, and no handler of ours is set.
    unsafe {
        up.pre_exec(|| {
            nix::sys::signal::signal(Signal::SIGINT, nix::sys::signal::SigHandler::SigDfl)?;
            Ok(())
        });
    }
    let mut up = up.stdout(Stdio::null()).spawn().unwrap();
    let holders = || home.path().join("idle/routers/node1/run/testbed");
    wait("the lab to be half built", || holders().is_dir());
    let processes = home.processes("idle");

    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();

    assert!(!up.wait().unwrap().success());
    wait("the folder to go", || home.folders().is_empty());
    assert_gone(&processes);
    Traces::wait_for(&before);
}

#[test]
fn a_lab_that_cannot_be_raised_says_why_and_leaves_nothing() {
    let home = Home::new();
    let before = Traces::now();
    let broken = "runs = \"bird\"\nconfig = \"router id 10.0.0.1; protocol nonsense {}\"";
    let file = home.topology(&IDLE.replacen("runs = \"none\"", broken, 1));

    let output = home.run(&["up", &file]);

    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in ["tor1: bird ended at once", "/etc/bird/bird.conf:1", "syntax error"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert_eq!(home.folders(), [""; 0]);
    Traces::wait_for(&before);
}

#[test]
fn labs_with_the_same_names_and_addresses_stand_side_by_side() {
    let home = Home::new();
    let file = home.topology(IDLE);
    home.ok(&["up", &file, "--name", "a"]);
    home.ok(&["up", &file, "--name", "b"]);
    home.ok(&["--name", "a", "exec", "node1", "touch", "/run/only-in-a"]);

    home.ok(&["--name", "a", "cut", "tor1"]);

    home.ok(&["--name", "a", "exec", "node1", "test", "-e", "/run/only-in-a"]);
    assert_eq!(
        home.run(&["--name", "b", "exec", "node1", "test", "-e", "/run/only-in-a"]).status.code(),
        Some(1)
    );
    assert_eq!(
        home.run(&["--name", "a", "ping", "node1", "10.1.0.0", "-c1"]).status.code(),
        Some(1)
    );
    home.ok(&["--name", "b", "ping", "node1", "10.1.0.0", "-c1"]);
    let unclear = home.run(&["exec", "node1", "true"]);
    assert!(String::from_utf8_lossy(&unclear.stderr).contains("several labs are up: a, b"));
    let taken = home.run(&["up", &file, "--name", "a"]);
    assert!(String::from_utf8_lossy(&taken.stderr).contains("a lab named \"a\" is up"));
    home.ok(&["--name", "a", "down"]);
    home.ok(&["ping", "node1", "10.1.0.0", "-c1"]);
}

#[test]
fn exec_passes_on_stdin_output_and_exit_code() {
    let home = Home::new();
    home.ok(&["up", &home.topology(IDLE)]);
    assert_eq!(home.run(&["exec", "node1", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(home.run(&["exec", "node1", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    assert_eq!(home.run(&["exec", "node1", "no-such-program"]).status.code(), Some(127));
    let unknown = home.run(&["exec", "node9", "true"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there are node1, tor1"));

    let mut cat = home.command(&["exec", "node1", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(b"through").unwrap();
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"through");

    // SIGTERM to the command line reaches what it runs.
    let script = "trap 'exit 3' TERM; echo set; while :; do sleep 0.01; done";
    let mut shell = home.command(&["exec", "node1", "sh", "-c", script]);
    let mut shell = shell.stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut [0; 4]).unwrap();
    kill(Pid::from_raw(shell.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(shell.wait().unwrap().code(), Some(3));
}

#[test]
fn a_router_has_its_own_etc_and_run_and_still_sees_the_hosts() {
    let home = Home::new();
    home.ok(&["up", &home.topology(IDLE)]);
    for path in ["/etc/slash32/x", "/run/x", "/var/lib/slash32/x", "/var/log/x", "/var/tmp/x"] {
        home.ok(&["exec", "node1", "touch", path]);
        assert!(!Path::new(path).exists(), "{path} is on the host");
        assert_eq!(home.run(&["exec", "tor1", "test", "-e", path]).status.code(), Some(1));
    }
    let passwd = home.ok(&["exec", "node1", "cat", "/etc/passwd"]);
    assert_eq!(passwd, fs::read_to_string("/etc/passwd").unwrap());
    assert!(home.ok(&["exec", "node1", "cat", "/etc/hosts"]).contains("10.0.0.1 tor1"));
}

#[test]
fn a_cut_router_loses_its_neighbours_until_it_is_mended() {
    let home = Home::new();
    home.ok(&["up", &home.topology(IDLE)]);
    let neighbour = ["ping", "node1", "10.1.0.0", "fd00:1::", "-q"];
    assert!(home.ok(&neighbour).contains("fd00:1::: 3 sent, 3 received, 0 lost"));

    home.ok(&["cut", "tor1"]);

    assert_eq!(home.run(&neighbour).status.code(), Some(1));
    let shown = home.ok(&["show"]);
    assert!(shown.contains("switched off") && shown.contains("cut at the other end"), "{shown}");
    home.ok(&["mend", "tor1"]);
    // After its carrier an IPv6 link looks for its neighbour anew, which takes seconds at worst.
    wait("the neighbour to be found again", || home.run(&neighbour).status.success());
    home.ok(&neighbour);
    home.ok(&["link", "node1", "tor1", "down"]);
    assert_eq!(home.run(&neighbour).status.code(), Some(1));
    let unknown = home.run(&["link", "node1", "node1", "down"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no link between"));
}

#[test]
fn bird_and_frr_find_each_other_and_their_routes_reach_the_kernel() {
    let home = Home::new();
    let file = home.topology(SPEAKERS);
    home.ok(&["up", &file]);

    let both = ["10.244.11.0/24 via 10.1.0.1", "fd00:10:244:11::/64 via"];
    wait("the pod ranges in the ToR's kernel", || {
        let routes = home.ok(&["routes", "tor1"]);
        both.iter().all(|route| routes.contains(route))
    });
    assert!(home.ok(&["show"]).contains("1/1 established"));
    home.ok(&["exec", "tor1", "vtysh", "-c", "show bgp summary"]);
    home.ok(&["exec", "node1", "birdc", "show", "protocols"]);

    home.ok(&["kill", "tor1"]);
    let killed = home.run(&["exec", "tor1", "vtysh", "-c", "show bgp summary"]);
    assert!(!killed.status.success());
    home.ok(&["start", "tor1"]);
    wait("the session to return", || home.ok(&["show"]).matches("1/1 established").count() == 2);
    let again = home.run(&["start", "tor1"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("zebra runs already"));
}

/// A router that is alive must not count as dead because its BFD waits for a processor.
#[test]
fn bfd_of_bird_and_frr_runs_ahead_of_all_else() {
    if !Uid::effective().is_root() {
        eprintln!("NOT TESTED: only root may make threads real-time");
        return;
    }
    let home = Home::new();
    let topology = format!("bfd = {{ interval = 300, multiplier = 3 }}\n{SPEAKERS}");
    home.ok(&["up", &home.topology(&topology)]);

    // Of each thread: is it the main one, and is its policy SCHED_FIFO (1)?
    let threads = |router: &str, daemon: &str| {
        let script = format!(
            "for task in /proc/$(cat /run/testbed/{daemon}.pid)/task/*; do \
             echo $(basename $task) $(sed 's/.*) //' $task/stat | cut -d' ' -f39); done"
        );
        let pid = home.ok(&["exec", router, "cat", &format!("/run/testbed/{daemon}.pid")]);
        let printed = home.ok(&["exec", router, "sh", "-c", &script]);
        let of_line = |line: &str| {
            let (thread, policy) = line.split_once(' ').unwrap();
            (thread == pid.trim(), policy == "1")
        };
        printed.lines().map(of_line).collect::<Vec<_>>()
    };
    let bfdd = threads("tor1", "bfdd");
    assert!(!bfdd.is_empty() && bfdd.iter().all(|(_, urgent)| *urgent), "{bfdd:?}");
    let bgpd = threads("tor1", "bgpd");
    assert!(bgpd.iter().all(|(_, urgent)| !urgent), "{bgpd:?}");
    let bird = threads("node1", "bird");
    assert_eq!(bird.len(), 2, "BIRD 2 has one thread beside the main one: {bird:?}");
    assert!(bird.iter().all(|(main, urgent)| main != urgent), "{bird:?}");
}

#[test]
fn an_ordinary_user_has_labs_as_well() {
    let Some(home) = Home::of_ordinary_user() else {
        eprintln!("NOT TESTED: this kernel gives ordinary users no namespaces");
        return;
    };
    let before = Traces::now();
    home.ok(&["up", &home.topology(SPEAKERS)]);
    wait("the pod ranges in the ToR's kernel", || {
        home.ok(&["routes", "tor1"]).contains("10.244.11.0/24 via 10.1.0.1")
    });
    home.ok(&["ping", "tor1", "10.1.0.1", "fd00:1::1"]);
    let processes = home.processes("idle");
    home.ok(&["down"]);
    assert_gone(&processes);
    Traces::wait_for(&before);
}

/// A folder of labs for one test, and the program as one user.
struct Home {
    dir: TempDir,
    program: PathBuf,
    uid: Option<u32>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("labs")).unwrap();
        Self { dir, program: env!("CARGO_BIN_EXE_testbed").into(), uid: None }
    }

    /// None where the kernel forbids it.
    fn of_ordinary_user() -> Option<Self> {
        let mut home = Self::new();
        if Uid::effective().is_root() {
            let uid = 1000;
            home.uid = Some(uid);
            // The build's own folder may be root's alone.
            home.program = home.dir.path().join("testbed");
            fs::copy(env!("CARGO_BIN_EXE_testbed"), &home.program).unwrap();
            fs::set_permissions(home.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            nix::unistd::chown(&home.path(), Some(Uid::from_raw(uid)), None).unwrap();
        }
        let mut probe = Command::new("true");
        if let Some(uid) = home.uid {
            probe.uid(uid).gid(uid);
        }
        // SAFETY: unshare(2) is async-signal-safe.
        unsafe {
            probe.pre_exec(|| {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(Into::into)
            });
        }
        probe.status().is_ok_and(|status| status.success()).then_some(home)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("labs")
    }

    /// Writes a topology file whose lab is called `idle`.
    fn topology(&self, text: &str) -> String {
        let path = self.dir.path().join("idle.toml");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("SLASH32_LAB_DIR", self.path()).current_dir("/");
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Stdout of a command that must succeed.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "testbed {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Names of the labs' folders.
    fn folders(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap());
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    fn supervisor(&self, lab: &str) -> i32 {
        fs::read_to_string(self.path().join(lab).join("pid")).unwrap().trim().parse().unwrap()
    }

    /// All processes in the lab's process id namespace.
    fn processes(&self, lab: &str) -> Vec<i32> {
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let of_lab = namespace(self.supervisor(lab)).expect("the supervisor lives");
        pids().into_iter().filter(|pid| namespace(*pid).as_ref() == Some(&of_lab)).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Also where the test has failed half way.
        let _ = self.run(&["down", "--all"]);
    }
}

/// What a lab could leave in the host's own namespaces.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    links: Vec<String>,
    mounts: Vec<String>,
}

impl Traces {
    fn now() -> Self {
        let links = fs::read_dir("/sys/class/net").unwrap();
        let mut links: Vec<String> =
            links.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        links.sort();
        // Other programs of this machine may mount and unmount; ours would name our folders.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = |line: &&str| line.contains("idle") || line.contains("nsfs");
        Self { links, mounts: mounts.lines().filter(ours).map(str::to_owned).collect() }
    }

    /// The kernel frees network namespaces in its own time.
    #[track_caller]
    fn wait_for(before: &Self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Self::now() != *before && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(Self::now(), *before, "something is left behind");
    }
}

#[track_caller]
fn assert_gone(processes: &[i32]) {
    wait("the processes to end", || {
        let alive = |pid: &i32| {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // A zombie waits for its parent outside of the lab; nothing of it runs.
            !state.is_empty() && !state.rsplit(')').next().unwrap_or("").starts_with(" Z")
        };
        !processes.iter().any(alive)
    });
}

#[track_caller]
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn pids() -> Vec<i32> {
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

/// Two routers on which nothing runs.
const IDLE: &str = r#"
links = [["tor1", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "none"
[[nodes]]
name = "node1"
asn = 4200000011
runs = "none"
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
"#;

/// FRR at the top of a rack, BIRD on a node.
const SPEAKERS: &str = r#"
links = [["tor1", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "frr"
[[nodes]]
name = "node1"
asn = 4200000011
runs = "bird"
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
"#;
