//! What the engine's single steps cost: processor instructions and time for each route.
//!
//! ```console
//! $ cargo bench -p bgp                          # every case
//! $ cargo bench -p bgp -- insert withdraw       # some
//! ```
//!
//! Instructions are counted by valgrind, if it is on the machine: they are the same from run to run
//! and whatever else the machine does. Time is the shortest of some runs. Neither has in it what
//! goes before a case.

#![expect(clippy::disallowed_methods, reason = "measures, and reads its arguments")]

mod cases;

use std::{
    env,
    io::ErrorKind,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use cases::{CASES, Case};

/// Of these the shortest counts.
const RUNS: usize = 5;

fn main() -> ExitCode {
    // cargo puts `--bench` among them.
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [flag, name] = &args[..]
        && flag == ONCE
    {
        return named(name).map_or(ExitCode::FAILURE, |case| {
            measured((case.prepare)());
            ExitCode::SUCCESS
        });
    }
    if let Some(unknown) = args.iter().find(|name| named(name).is_none()) {
        let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        eprintln!("error: there is no case {unknown:?}; take some of: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    println!("{:<14} {:>14} {:>10}   each", "", "instructions", "ns");
    for case in CASES.iter().filter(|case| args.is_empty() || args.iter().any(|it| it == case.name))
    {
        let count = instructions(case).map_or_else(|| "-".to_owned(), |all| each(case, all));
        let time = (0..RUNS).map(|_| time(case)).min().unwrap_or_default();
        let nanoseconds = u64::try_from(time.as_nanos()).expect("runs are short");
        println!("{:<14} {count:>14} {:>10}   {}", case.name, each(case, nanoseconds), case.unit);
    }
    ExitCode::SUCCESS
}

fn named(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

fn each(case: &Case, all: u64) -> String {
    (all / case.units).to_string()
}

fn time(case: &Case) -> Duration {
    let work = (case.prepare)();
    let begin = Instant::now();
    measured(work);
    begin.elapsed()
}

/// What valgrind counts; `None` if it is not here.
fn instructions(case: &Case) -> Option<u64> {
    let itself = env::current_exe().expect("a program can find itself");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"])
        .arg(itself)
        .args([ONCE, case.name])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => panic!("valgrind does not start: {error}"),
    };
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected : "));
    collected.and_then(|(_, count)| count.trim().parse().ok())
}

/// The one function in which instructions are counted.
#[inline(never)]
fn measured(work: Box<dyn FnOnce()>) {
    work();
}

/// Have a case done once, for valgrind to look on.
const ONCE: &str = "--once";
