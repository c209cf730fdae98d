//! Hears of changes of our table by others, on a thread of its own.
//!
//! In: the kernel's notifications about nf_tables. Out: [`Job::Restore`] when somebody else has
//! touched our table, or when notifications were lost. Ends when nobody takes the jobs.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    thread,
    time::Duration,
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt},
        time::{TimeVal, TimeValLike},
    },
};
use socket2::SockRef;
use tokio::sync::mpsc;

use super::TABLE;
use crate::kernel::{
    filter,
    nft::{NftError, SUBSYSTEM, attribute, messages},
    pods::Job,
};

/// Starts listening in the calling thread's network namespace. `own` is the port of the socket whose
/// changes are ours.
///
/// # Errors
///
/// If the kernel gives us no socket or no thread.
pub fn spawn(own: u32, jobs: mpsc::WeakSender<Job>) -> Result<(), NftError> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    // SAFETY: the descriptor is open and stays so for the length of this borrow, since `socket`
    // owns it and outlives it.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1)).map_err(io::Error::from)?;
    // Every pod that comes or goes changes the table; that need not wake anybody.
    SockRef::from(&fd).attach_filter(&filter::all_but(own))?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.add_membership(NFNLGRP_NFTABLES)?;
    thread::Builder::new().name("pods-guard".to_owned()).spawn(move || run(&socket, own, &jobs))?;
    Ok(())
}

fn run(socket: &Socket, own: u32, jobs: &mpsc::WeakSender<Job>) {
    let mut incoming = Vec::with_capacity(DATAGRAM);
    // Holding a sender would keep the thread that takes the jobs from ending.
    while jobs.strong_count() > 0 {
        incoming.clear();
        let touched = match socket.recv(&mut incoming, 0) {
            Ok(_) => messages(&incoming).any(|message| touches(message, own)),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => true,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut => false,
                _ => {
                    return tracing::error!(
                        %error, "changes of the table slash32 by others are not noticed any more; \
                                 restart routed"
                    );
                }
            },
        };
        if touched {
            // What belongs together comes together; and two programs that both insist would
            // otherwise keep a core busy.
            thread::sleep(SETTLE);
            while socket
                .recv(
                    &mut {
                        incoming.clear();
                        &mut incoming
                    },
                    libc::MSG_DONTWAIT,
                )
                .is_ok()
            {}
            let Some(jobs) = jobs.upgrade() else { return };
            if jobs.blocking_send(Job::Restore).is_err() {
                return;
            }
        }
    }
}

/// Is it about our table and by somebody else?
fn touches(message: &[u8], own: u32) -> bool {
    const NFTA_TABLE: u16 = 1;
    const GENERATION: u16 = SUBSYSTEM << 8 | 15;
    let kind = u16::from_ne_bytes([message[4], message[5]]);
    let port = message[12..].first_chunk().map_or(0, |port| u32::from_ne_bytes(*port));
    // In every kind of message about an object of a table the first attribute is the table's name;
    // in that about the generation it is a number.
    kind >> 8 == SUBSYSTEM
        && kind != GENERATION
        && port != own
        && message
            .get(20..)
            .and_then(|attributes| attribute(attributes, NFTA_TABLE))
            .is_some_and(|name| name.strip_suffix(&[0]) == Some(TABLE.as_bytes()))
}

const NFNLGRP_NFTABLES: u32 = 7;
/// Octets asked for as receive buffer.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Octets of one datagram.
const DATAGRAM: usize = 64 << 10;
/// From the first change to the repair.
const SETTLE: Duration = Duration::from_millis(5);
