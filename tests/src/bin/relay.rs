//! `relay PORT SOCKET`: see the module `relay` of the package.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|port| port.parse().ok());
    let (Some(port), Some(socket)) = (port, arguments.next()) else {
        eprintln!("relay PORT SOCKET");
        return ExitCode::FAILURE;
    };
    match tests::relay::from_port(port, socket.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::FAILURE
        }
    }
}
