//! Keeps the node a router: puts forwarding back on when somebody switches it off.
//!
//! In: the kernel's notifications about network settings (RTNLGRP_*_NETCONF). Out: the settings as they
//! were at our start, and a word for each family that had to be put right. Decides nothing else.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use bgp::family::Family;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::{
    socket::{setsockopt, sockopt},
    time::{TimeVal, TimeValLike},
};

use super::{netlink::NetlinkError, routes::StartError, sysctl};

/// As long as this lives, forwarding is kept on.
#[derive(Debug)]
pub struct Forwarding {
    _alive: Arc<()>,
}

/// Keeps forwarding of these families on in the calling thread's network namespace, and calls `mended`
/// each time that it was off.
///
/// # Errors
///
/// [`StartError`] if the kernel gives us no socket or no thread.
pub fn keep(
    families: Vec<Family>,
    mended: impl Fn(Family) + Send + 'static,
) -> Result<Forwarding, StartError> {
    let socket = subscribe()?;
    let alive = Arc::new(());
    let watched = Arc::downgrade(&alive);
    let thread = thread::Builder::new().name("forwarding".to_owned()).spawn(move || {
        watch(&socket, &families, &mended, &watched);
    });
    thread.map_err(StartError::Thread)?;
    Ok(Forwarding { _alive: alive })
}

fn watch(socket: &Socket, families: &[Family], mended: &impl Fn(Family), alive: &Weak<()>) {
    let mut incoming = Vec::with_capacity(DATAGRAM);
    let mut said = None;
    let mut hear = |flags| {
        incoming.clear();
        socket.recv(&mut incoming, flags).is_ok()
    };
    while alive.strong_count() > 0 {
        mend(families, mended, &mut said);
        // Whatever it says, or that something was lost: the settings themselves are looked at. After
        // a second without news as well, which costs two small reads.
        hear(0);
        mend(families, mended, &mut said);
        // One change comes as a notification for each interface; and two programs that both insist
        // must not keep a core busy.
        thread::sleep(SETTLE);
        while hear(libc::MSG_DONTWAIT) {}
    }
}

/// Puts right what is off. Says so, or why it cannot, unless it has just been `said`: a program that
/// insists would fill the log.
fn mend(families: &[Family], mended: &impl Fn(Family), said: &mut Option<Instant>) {
    for family in families {
        let outcome = sysctl::enable_forwarding(*family);
        if let Ok(false) = outcome {
            continue;
        }
        let is_news = said.is_none_or(|at| at.elapsed() >= PAUSE);
        match outcome {
            Ok(_) => {
                mended(*family);
                if is_news {
                    tracing::warn!(%family, "another program switched forwarding off; restored");
                }
            }
            Err(error) if is_news => tracing::error!(%error, "forwarding cannot be put right"),
            Err(_) => {}
        }
        if is_news {
            *said = Some(Instant::now());
        }
    }
}

fn subscribe() -> Result<Socket, NetlinkError> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    // SAFETY: the descriptor is open and stays so for the length of this borrow, since `socket`
    // owns it and outlives it.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1)).map_err(io::Error::from)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in [libc::RTNLGRP_IPV4_NETCONF, libc::RTNLGRP_IPV6_NETCONF] {
        socket.add_membership(group)?;
    }
    Ok(socket)
}

/// Between two words in the log.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two repairs.
const SETTLE: Duration = Duration::from_millis(50);
/// Octets of one datagram; what does not fit is not needed.
const DATAGRAM: usize = 4096;
