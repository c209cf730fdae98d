//! How soon the kernel lets the thread of BFD run when something is due: before everything that is not
//! real-time, if it may.
//!
//! The lowest real-time priority is enough: all ordinary threads come after it, and whatever else is
//! real-time on the machine comes first. The kernel keeps a twentieth of each second for the others
//! (`kernel.sched_rt_runtime_us`), which limits what a fault in this thread could do.

use std::{fmt, io};

/// In which class a thread runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduling {
    /// SCHED_FIFO with the lowest priority.
    RealTime,
    /// The usual one, with this nice value.
    Nice(i32),
    /// The usual one, as everything else.
    #[default]
    Usual,
}

impl Scheduling {
    /// Is the thread late only if real-time threads keep it waiting?
    #[must_use]
    pub fn is_real_time(self) -> bool {
        self == Self::RealTime
    }
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RealTime => f.write_str("real-time"),
            Self::Nice(nice) => write!(f, "nice {nice}"),
            Self::Usual => f.write_str("usual"),
        }
    }
}

/// Gives the calling thread the best class that it may have. Threads that it starts have the usual one.
///
/// # Errors
///
/// With what it got instead: why it is not real-time.
pub(super) fn raise() -> Result<Scheduling, (Scheduling, io::Error)> {
    // SAFETY: the parameter is a valid `sched_param` for the length of the call, and 0 is the calling
    // thread.
    let outcome = unsafe {
        let priority = libc::sched_get_priority_min(libc::SCHED_FIFO);
        let mut param: libc::sched_param = std::mem::zeroed();
        param.sched_priority = priority;
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param)
    };
    if outcome == 0 {
        return Ok(Scheduling::RealTime);
    }
    let error = io::Error::last_os_error();
    // SAFETY: takes numbers only; for PRIO_PROCESS Linux takes 0 as the calling thread.
    let outcome = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    Err((if outcome == 0 { Scheduling::Nice(NICE) } else { Scheduling::Usual }, error))
}

/// What is left without real-time: some nine times the processor time of an ordinary thread.
const NICE: i32 = -10;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn policy() -> i32 {
        // SAFETY: takes a number only; 0 is the calling thread.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn thread_is_as_it_says_and_those_that_it_starts_are_usual() {
        let raised = thread::spawn(|| {
            let outcome = raise();
            let child = thread::spawn(policy).join().unwrap();
            (outcome, policy(), child)
        });
        let (outcome, policy, child) = raised.join().unwrap();
        assert_eq!(child, libc::SCHED_OTHER);
        match outcome {
            Ok(Scheduling::RealTime) => {
                assert_eq!(policy, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK);
            }
            Ok(other) => panic!("{other} is no success"),
            // Not root, or a kernel that keeps real-time from cgroups.
            Err((scheduling, error)) => {
                assert_eq!(policy, libc::SCHED_OTHER);
                assert!(!scheduling.is_real_time());
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            }
        }
    }
}
