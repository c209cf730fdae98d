//! Threads that wait for no ordinary one.

use std::io;

/// The thread with this id, 0 for the calling one, runs ahead of all ordinary ones from now on, with the lowest
/// real-time priority; so do threads that it starts afterwards.
///
/// # Errors
///
/// The kernel's: `PermissionDenied` without CAP_SYS_NICE.
pub(crate) fn raise(thread: libc::pid_t) -> io::Result<()> {
    // SAFETY: `param` is a valid `sched_param` for the length of the call, which only reads it.
    let outcome = unsafe {
        let mut param: libc::sched_param = std::mem::zeroed();
        param.sched_priority = libc::sched_get_priority_min(libc::SCHED_FIFO);
        libc::sched_setscheduler(thread, libc::SCHED_FIFO, &raw const param)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
