//! The demo's voice: numbered steps, commands, their output, verdicts.
//!
//! Colours and pauses only where a person watches: on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Where the demo prints.
pub(super) struct Console {
    colours: bool,
    pause: Duration,
    step: u32,
}

impl Console {
    /// Prints to stdout.
    pub(super) fn new(fast: bool) -> Self {
        let person = std::io::stdout().is_terminal();
        let colours = person && std::env::var_os("NO_COLOR").is_none();
        let pause = if person && !fast { READING_TIME } else { Duration::ZERO };
        Self { colours, pause, step: 0 }
    }

    /// The first line.
    pub(super) fn title(&mut self, text: &str) {
        self.print(BOLD, text);
    }

    /// A new step begins.
    pub(super) fn step(&mut self, text: &str) {
        if self.step > 0 {
            std::thread::sleep(self.pause);
        }
        self.step += 1;
        self.print(BOLD, &format!("\n{}. {text}", self.step));
    }

    /// A command as a person would type it.
    pub(super) fn command(&mut self, arguments: &str) {
        self.print(BLUE, &format!("   $ ./testbed/run {arguments}"));
    }

    /// What a command printed.
    pub(super) fn output(&mut self, text: &str) {
        for line in text.lines() {
            self.print("", &format!("     {line}"));
        }
    }

    /// Anything else.
    pub(super) fn plain(&mut self, text: &str) {
        for line in text.lines() {
            self.print("", &format!("   {line}"));
        }
    }

    /// Something was verified.
    pub(super) fn held(&mut self, what: &str) {
        self.print(GREEN, &format!("   ✓ {what}"));
    }

    /// Something did not hold.
    pub(super) fn failure(&mut self, what: &str) {
        self.print(RED, &format!("   ✗ step {} did not hold", self.step));
        self.plain(what);
    }

    fn print(&self, colour: &str, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader who has gone (`| head`) ends the demo by its own steps, not by a panic.
        let _ = if self.colours && !colour.is_empty() {
            writeln!(out, "{colour}{text}\x1b[0m")
        } else {
            writeln!(out, "{text}")
        };
        let _ = out.flush();
    }
}

/// Long enough to take in a step, short enough not to wait for it.
const READING_TIME: Duration = Duration::from_millis(1500);
const BOLD: &str = "\x1b[1m";
const BLUE: &str = "\x1b[36m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[1;31m";
