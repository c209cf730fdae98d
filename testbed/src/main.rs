//! The program `testbed`: labs for people. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    testbed::cli::main()
}
