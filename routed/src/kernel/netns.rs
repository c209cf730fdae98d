//! Other network namespaces: a thread that goes there and comes back.
//!
//! In: the descriptor of a namespace. Out: what was done there, such as a socket opened, which
//! stays there for good. A thread of the asynchronous runtime must never do this: the next task
//! on it would find itself in a pod.

use std::{
    fs::File,
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::stat::fstat,
};

/// Proof that this thread is its owner's alone, and the way back home.
///
/// Not `Send`: it belongs to the thread that made it.
#[derive(Debug)]
pub struct Traveller {
    home: File,
    _thread: PhantomData<*const ()>,
}

impl Traveller {
    /// Makes the calling thread's present namespace its home. Call it on a thread made for the
    /// purpose, never on one of a runtime's.
    ///
    /// # Errors
    ///
    /// If /proc is not mounted.
    pub fn at_home() -> io::Result<Self> {
        Ok(Self { home: File::open("/proc/thread-self/ns/net")?, _thread: PhantomData })
    }

    /// Is this the thread's own namespace?
    ///
    /// # Errors
    ///
    /// If the descriptor cannot be looked at.
    pub fn is_home(&self, netns: BorrowedFd<'_>) -> Result<bool, Errno> {
        let (home, other) = (fstat(&self.home)?, fstat(netns)?);
        Ok((home.st_dev, home.st_ino) == (other.st_dev, other.st_ino))
    }

    /// Does something in another namespace.
    ///
    /// # Errors
    ///
    /// EINVAL if the descriptor is not of a network namespace, EPERM if we may not enter it;
    /// nothing has been done then.
    ///
    /// # Panics
    ///
    /// If there is no way back: whatever this thread did next would happen in a pod.
    pub fn within<T>(&self, netns: BorrowedFd<'_>, deed: impl FnOnce() -> T) -> Result<T, Errno> {
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        let result = deed();
        setns(self.home.as_fd(), CloneFlags::CLONE_NEWNET).expect("the way home is always open");
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_namespace_is_recognized_and_a_file_is_none() {
        let traveller = Traveller::at_home().unwrap();
        let same = File::open("/proc/self/ns/net").unwrap();
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(traveller.is_home(same.as_fd()), Ok(true));
        assert_eq!(traveller.is_home(file.as_fd()), Ok(false));
        assert_eq!(traveller.within(file.as_fd(), || ()), Err(Errno::EINVAL));
    }
}
