//! The plugin killed at every point at which it can matter, and runtimes that race for one container: at
//! the end there is one pod or none, and nothing is left of it. And a clock that is set to another year.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    sync::Barrier,
    thread,
    time::SystemTime,
};

use nix::{
    sys::{
        ptrace,
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};
use serde_json::{Value, json};
use tests::{
    node::{Node, Pod, on_a_node, program},
    runtime::{Attachment, Runtime, conf},
};

const POOLS: &str = "ipv4 = [\"10.244.1.0/26\"]\nipv6 = [\"fd00:10:244:1::/64\"]\ncooldown = 0\n";

fn network(node: &Node) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "pods",
        "plugins": [{"type": "slash32", "socket": node.path("cni.sock")}],
    })
}

/// Calls the plugin and kills it when it enters this system call of its own, counted from its start;
/// true if it ended before that.
#[expect(clippy::zombie_processes, reason = "waited for as a traced process, by waitpid")]
fn call_and_kill(node: &Node, verb: &str, attachment: &Attachment<'_>, at: usize) -> bool {
    let stdin = node.path("stdin");
    let plugin = &attachment.network["plugins"][0];
    fs::write(&stdin, conf(attachment, plugin, None).to_string()).unwrap();
    let mut command = Command::new(program("slash32"));
    command
        .env_clear()
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", attachment.container)
        .env("CNI_NETNS", &attachment.netns)
        .env("CNI_IFNAME", attachment.ifname)
        .env("CNI_PATH", "/nonexistent")
        .stdin(File::open(&stdin).unwrap())
        .stdout(Stdio::null());
    // SAFETY: ptrace(PTRACE_TRACEME) is one system call and touches no memory of ours.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    // It has stopped at its exec, which is the first stop.
    let mut status = waitpid(pid, None).unwrap();
    // Each system call stops it twice, on entering and on leaving.
    for _ in 0..=2 * at {
        if let WaitStatus::Exited(_, code) = status {
            assert_eq!(code, 0, "{verb} that was left alone");
            return true;
        }
        ptrace::syscall(pid, None).unwrap();
        status = waitpid(pid, None).unwrap();
    }
    if matches!(status, WaitStatus::Exited(..)) {
        return true;
    }
    kill(pid, Signal::SIGKILL).unwrap();
    while !matches!(status, WaitStatus::Signaled(..)) {
        status = waitpid(pid, None).unwrap();
    }
    false
}

fn is_clean(node: &Node, before: &str) {
    node.settles_to(before);
    let leases = node.routed("show leases -o json").unwrap();
    assert!(!leases.contains("container_id\": \""), "{leases}");
    let check = format!("ipam check --journal {}", node.path("leases").display());
    assert_eq!(node.routed(&check).unwrap(), "leases, interfaces and journal agree\n");
}

#[test]
fn plugin_killed_at_any_system_call_of_an_add() {
    on_a_node(POOLS, |node| {
        let network = network(node);
        let pod = Pod::new("a");
        let attachment = Attachment::new(&network, &pod, "eth0");
        let before = node.state();
        let mut runtime = Runtime::default();
        let mut calls = 0;
        while !call_and_kill(node, "ADD", &attachment, calls) {
            // Some runtimes try again, all send DEL in the end.
            if calls % 2 == 0 {
                runtime.add(&attachment).unwrap();
                runtime.check(&attachment).unwrap();
            }
            runtime.del(&attachment).unwrap();
            node.settles_to(&before);
            calls += 1;
        }
        // Reading, opening, connecting, asking, waiting, printing.
        assert!(calls > 20, "{calls}");
        runtime.del(&attachment).unwrap();
        is_clean(node, &before);
    });
}

#[test]
fn plugin_killed_at_any_system_call_of_a_del() {
    on_a_node(POOLS, |node| {
        let network = network(node);
        let pod = Pod::new("a");
        let attachment = Attachment::new(&network, &pod, "eth0");
        let before = node.state();
        let mut runtime = Runtime::default();
        let mut calls = 0;
        loop {
            runtime.add(&attachment).unwrap();
            if call_and_kill(node, "DEL", &attachment, calls) {
                break;
            }
            runtime.del(&attachment).unwrap();
            node.settles_to(&before);
            calls += 1;
        }
        assert!(calls > 20, "{calls}");
        is_clean(node, &before);
    });
}

#[test]
fn plugin_killed_without_a_daemon_while_it_notes_a_del() {
    on_a_node(POOLS, |node| {
        let network = network(node);
        let pod = Pod::new("a");
        let attachment = Attachment::new(&network, &pod, "eth0");
        let before = node.state();
        Runtime::default().add(&attachment).unwrap();
        node.kill();
        let mut calls = 0;
        while !call_and_kill(node, "DEL", &attachment, calls) {
            calls += 1;
        }
        assert!(calls > 20, "{calls}");
        // Drafts of notes that were not finished are no notes, and do no harm.
        node.start();
        is_clean(node, &before);
    });
}

#[test]
fn runtimes_that_race_for_one_container_get_one_pod_and_leave_none() {
    on_a_node(POOLS, |node| {
        let network = network(node);
        let before = node.state();
        for round in 0..20 {
            let pod = Pod::new("contested");
            let attachment = Attachment::new(&network, &pod, "eth0");
            let start = Barrier::new(3);
            let race = |deed: &dyn Fn(&mut Runtime) -> Result<Value, Value>| {
                start.wait();
                deed(&mut Runtime::default())
            };
            let add = |runtime: &mut Runtime| runtime.add(&attachment);
            let del = |runtime: &mut Runtime| runtime.del(&attachment).map(|()| Value::Null);
            let third: &(dyn Fn(&mut Runtime) -> Result<Value, Value> + Sync) =
                if round % 2 == 0 { &add } else { &del };
            let outcomes = thread::scope(|scope| {
                let racers = [
                    scope.spawn(|| race(&add)),
                    scope.spawn(|| race(&add)),
                    scope.spawn(|| race(third)),
                ];
                racers.map(|racer| racer.join().unwrap())
            });
            let results: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
            if round % 2 == 0 {
                // All are told of the same pod, which is whole.
                assert_eq!(results[0], results[1], "round {round}");
                assert_eq!(results[0], results[2], "round {round}");
                let mut runtime = Runtime::default();
                runtime.add(&attachment).unwrap();
                runtime.check(&attachment).unwrap();
            }
            Runtime::default().del(&attachment).unwrap();
            node.settles_to(&before);
        }
        is_clean(node, &before);
    });
}

/// Answers questions for the time of day with an offset from a file.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    char text[32] = {0};
    int file = open(getenv("CLOCK_OFFSET"), O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
    close(file);
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += offset();
    return (int)result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (at) *at = exact.tv_sec;
    return exact.tv_sec;
}
"#;

#[test]
fn clock_that_is_set_years_ahead_or_back_ends_no_cooldown_and_harms_no_pod() {
    let pools = "ipv4 = [\"10.244.1.0/29\"]\ncooldown = 3600\n";
    on_a_node(pools, |node| {
        let (source, shim, offset) =
            (node.path("shim.c"), node.path("shim.so"), node.path("clock"));
        fs::write(&source, SHIM).unwrap();
        let compiler = ["-shared", "-fPIC", "-O1", "-o"];
        let compiled = Command::new("cc").args(compiler).args([&shim, &source]).status().unwrap();
        assert!(compiled.success());
        node.set_env("LD_PRELOAD", &shim);
        node.set_env("CLOCK_OFFSET", &offset);
        node.kill();
        node.start();

        let network = network(node);
        let pods: Vec<_> = (0..7).map(|number| Pod::new(&format!("p{number}"))).collect();
        let attachment = |number: usize| Attachment::new(&network, &pods[number], "eth0");
        let mut runtime = Runtime::default();
        runtime.add(&attachment(0)).unwrap();
        runtime.add(&attachment(1)).unwrap();
        runtime.del(&attachment(1)).unwrap();

        let year = 365 * 24 * 3600_i64;
        for (number, years) in [(2, 10), (3, -10), (4, 1), (5, -1)] {
            fs::write(&offset, (years * year).to_string()).unwrap();
            runtime.add(&attachment(number)).unwrap();
            runtime.check(&attachment(number)).unwrap();
        }
        // Of the six addresses one is idle, and stays so.
        for years in [20, -20] {
            fs::write(&offset, (years * year).to_string()).unwrap();
            let error = runtime.add(&attachment(6)).unwrap_err();
            assert_eq!(error["code"], 11, "{error}");
            node.kill();
            node.start();
            let error = runtime.add(&attachment(6)).unwrap_err();
            assert_eq!(error["code"], 11, "{error}");
            for number in [0, 2, 3, 4, 5] {
                runtime.check(&attachment(number)).unwrap();
            }
        }
        // The daemon has seen those years: they are in its log.
        let log = node.log();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / (365 * 24 * 3600);
        let about = |year: u64| (year - 1..=year + 1).any(|year| log.contains(&format!("{year}-")));
        assert!(about(1970 + now + 20) && about(1970 + now - 20), "{log}");
    });
}
