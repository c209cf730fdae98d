//! Connections passed on, octet by octet: the API server of a test listens on the host's loopback, which
//! a node's namespace does not have. A socket in the file system leads out of it.
//!
//! In: connections. Out: the same to somewhere else. Each ends when both sides have said all, or either
//! is gone.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
};

/// Passes everything that comes to this socket on to a port of loopback, for as long as the process
/// lives; whether somebody listens there or not.
///
/// # Errors
///
/// If there can be no such socket.
pub fn from_socket(socket: &Path, port: u16) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            thread::spawn(move || {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
                join((&near, &far), |how| near.shutdown(how), |how| far.shutdown(how));
            });
        }
    });
    Ok(())
}

/// Passes everything that comes to a port of this namespace's loopback on to a socket.
///
/// # Errors
///
/// If nobody can listen there, or no connection can be accepted any more.
pub fn from_port(port: u16, socket: &Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    loop {
        let (near, _) = listener.accept()?;
        let socket = socket.to_owned();
        thread::spawn(move || {
            let Ok(far) = UnixStream::connect(socket) else { return };
            join((&near, &far), |how| near.shutdown(how), |how| far.shutdown(how));
        });
    }
}

fn join<A, B>(
    (near, far): (&A, &B),
    end_near: impl Fn(Shutdown) -> io::Result<()> + Sync,
    end_far: impl Fn(Shutdown) -> io::Result<()> + Sync,
) where
    A: Sync,
    B: Sync,
    for<'a> &'a A: Read + Write,
    for<'a> &'a B: Read + Write,
{
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*near, &mut &*far);
            let _ = end_far(Shutdown::Write);
        });
        let _ = io::copy(&mut &*far, &mut &*near);
        // Whoever waits for a server that is gone is to notice.
        let _ = end_near(Shutdown::Both);
        let _ = end_far(Shutdown::Both);
    });
}
