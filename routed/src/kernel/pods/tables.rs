//! Hears of changes of our tables by others, on a thread of its own.
//!
//! In: the kernel's notifications about nf_tables. Out: [`Job::Restore`] of each table that somebody
//! else has touched, or of all when notifications were lost. Ends when nobody takes the jobs.

use std::{
    collections::BTreeSet,
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

use routed_core::pod::RuleTable;

use super::{Job, guard, nat};
use crate::kernel::{
    filter,
    nft::{NftError, SUBSYSTEM, attribute, messages},
};

/// Ports of the sockets whose changes are ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    /// Of the guard.
    pub(super) guard: u32,
    /// Of NAT.
    pub(super) nat: u32,
}

/// Starts listening in the calling thread's network namespace.
///
/// # Errors
///
/// If the kernel gives us no socket or no thread.
pub(super) fn spawn(own: Own, jobs: mpsc::WeakSender<Job>) -> Result<(), NftError> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    // SAFETY: the descriptor is open and stays so for the length of this borrow, since `socket`
    // owns it and outlives it.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1)).map_err(io::Error::from)?;
    // Every pod that comes or goes changes the table; that need not wake anybody.
    SockRef::from(&fd).attach_filter(&filter::all_but(own.guard))?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.add_membership(NFNLGRP_NFTABLES)?;
    thread::Builder::new().name("pods-guard".to_owned()).spawn(move || run(&socket, own, &jobs))?;
    Ok(())
}

fn run(socket: &Socket, own: Own, jobs: &mpsc::WeakSender<Job>) {
    let mut incoming = Vec::with_capacity(DATAGRAM);
    // Holding a sender would keep the thread that takes the jobs from ending.
    while jobs.strong_count() > 0 {
        incoming.clear();
        let mut tables: BTreeSet<_> = match socket.recv(&mut incoming, 0) {
            Ok(_) => messages(&incoming).filter_map(|message| touched(message, own)).collect(),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => all(),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut => BTreeSet::new(),
                _ => {
                    return tracing::error!(
                        %error, "changes of our tables of rules by others are not noticed any more; \
                                 restart routed"
                    );
                }
            },
        };
        if tables.is_empty() {
            continue;
        }
        // What belongs together comes together; and two programs that both insist would
        // otherwise keep a core busy.
        thread::sleep(SETTLE);
        loop {
            incoming.clear();
            match socket.recv(&mut incoming, libc::MSG_DONTWAIT) {
                Ok(_) => tables.extend(messages(&incoming).filter_map(|one| touched(one, own))),
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => tables = all(),
                Err(_) => break,
            }
        }
        let Some(jobs) = jobs.upgrade() else { return };
        for table in tables {
            if jobs.blocking_send(Job::Restore(table)).is_err() {
                return;
            }
        }
    }
}

fn all() -> BTreeSet<RuleTable> {
    BTreeSet::from([RuleTable::Guard, RuleTable::Nat])
}

/// Which of our tables it is about, if it is by somebody else.
fn touched(message: &[u8], own: Own) -> Option<RuleTable> {
    const NFTA_TABLE: u16 = 1;
    const GENERATION: u16 = SUBSYSTEM << 8 | 15;
    let kind = u16::from_ne_bytes([message[4], message[5]]);
    let port = message[12..].first_chunk().map_or(0, |port| u32::from_ne_bytes(*port));
    // In every kind of message about an object of a table the first attribute is the table's name;
    // in that about the generation it is a number.
    if kind >> 8 != SUBSYSTEM || kind == GENERATION || [own.guard, own.nat].contains(&port) {
        return None;
    }
    let name = attribute(message.get(20..)?, NFTA_TABLE)?.strip_suffix(&[0])?;
    let tables = [(guard::NAME, RuleTable::Guard), (nat::NAME, RuleTable::Nat)];
    tables.into_iter().find(|(own, _)| name == own.as_bytes()).map(|(_, table)| table)
}

const NFNLGRP_NFTABLES: u32 = 7;
/// Octets asked for as receive buffer.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Octets of one datagram.
const DATAGRAM: usize = 64 << 10;
/// From the first change to the repair.
const SETTLE: Duration = Duration::from_millis(5);
