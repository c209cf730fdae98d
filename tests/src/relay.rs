//! Connections passed on, octet by octet: the API server of a test listens on the host's loopback, which
//! a node's namespace does not have. A socket in the file system leads out of it.
//!
//! In: connections, and what a test wants to become of them. Out: the same to somewhere else. Each ends
//! when both sides have said all, or either is gone.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// What becomes of everything that is said over a [`Line`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    #[default]
    Passes,
    /// Each piece, of a few kilobytes at most, is that late.
    Late(Duration),
    /// Nothing arrives, and no connection ends.
    Stalls,
    /// Every connection is cut, and each request of a new one is answered with this status of HTTP.
    Answers(u16),
}

/// All connections that are passed on, and what becomes of them now.
#[derive(Debug, Default)]
pub struct Line {
    state: Mutex<(Fate, Vec<UnixStream>)>,
    changed: Condvar,
}

impl Line {
    /// From now on.
    pub fn set(&self, fate: Fate) {
        let mut state = self.state();
        state.0 = fate;
        if matches!(fate, Fate::Answers(_)) {
            for stream in state.1.drain(..) {
                // It may have ended.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
    }

    fn fate(&self) -> Fate {
        self.state().0
    }

    fn state(&self) -> MutexGuard<'_, (Fate, Vec<UnixStream>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, stream: &UnixStream) {
        if let Ok(stream) = stream.try_clone() {
            self.state().1.push(stream);
        }
    }

    /// Waits until a piece may go on.
    fn wait(&self) {
        let state = self.state();
        let stalls = |state: &mut (Fate, Vec<UnixStream>)| state.0 == Fate::Stalls;
        let state = self.changed.wait_while(state, stalls).unwrap_or_else(PoisonError::into_inner);
        let fate = state.0;
        drop(state);
        if let Fate::Late(by) = fate {
            thread::sleep(by);
        }
    }
}

/// Passes everything that comes to this socket on to a port of loopback, for as long as the process
/// lives; whether somebody listens there or not.
///
/// # Errors
///
/// If there can be no such socket.
pub fn from_socket(socket: &Path, port: u16) -> io::Result<Arc<Line>> {
    let listener = UnixListener::bind(socket)?;
    let line = Arc::new(Line::default());
    let shared = Arc::clone(&line);
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let line = Arc::clone(&shared);
            thread::spawn(move || {
                if let Fate::Answers(status) = line.fate() {
                    // Who asks may be gone.
                    let _ = answer(&near, status);
                    return;
                }
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
                line.keep(&near);
                let wait = || line.wait();
                join((&near, &far), |how| near.shutdown(how), |how| far.shutdown(how), wait);
            });
        }
    });
    Ok(line)
}

/// Reads one request of HTTP/1.1, and says that it cannot be served.
fn answer(mut stream: &UnixStream, status: u16) -> io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; PIECE];
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            if body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0) {
                break;
            }
        }
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&piece[..read]),
        }
    }
    let body = format!(
        "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"status\":\"Failure\",\
         \"message\":\"of the test\",\"reason\":\"Test\",\"code\":{status}}}"
    );
    let head = format!(
        "HTTP/1.1 {status} Test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())?;
    stream.shutdown(Shutdown::Write)
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
            join((&near, &far), |how| near.shutdown(how), |how| far.shutdown(how), || ());
        });
    }
}

fn join<A, B>(
    (near, far): (&A, &B),
    end_near: impl Fn(Shutdown) -> io::Result<()> + Sync,
    end_far: impl Fn(Shutdown) -> io::Result<()> + Sync,
    wait: impl Fn() + Sync,
) where
    A: Sync,
    B: Sync,
    for<'a> &'a A: Read + Write,
    for<'a> &'a B: Read + Write,
{
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = pump(near, far, &wait);
            let _ = end_far(Shutdown::Write);
        });
        let _ = pump(far, near, &wait);
        // Whoever waits for a server that is gone is to notice.
        let _ = end_near(Shutdown::Both);
        let _ = end_far(Shutdown::Both);
    });
}

/// Passes on what comes from one to the other, each piece once it may go.
fn pump(mut from: impl Read, mut to: impl Write, wait: impl Fn()) -> io::Result<()> {
    let mut piece = [0; PIECE];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            read => {
                wait();
                to.write_all(&piece[..read])?;
            }
        }
    }
}

/// Octets that are passed on at once.
const PIECE: usize = 8192;
