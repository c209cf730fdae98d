//! Where everything that can be shown comes from: the handles of the tasks that own it.
//!
//! In: questions of `routed show`, of a metrics scrape, of a health probe. Out: answers, each
//! given by the owner of the state between two of its events, or a word on why there is none.
//! Holds no state itself.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use routed_core::fib::Fib;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    bmp::StationList,
    mrt::Recorder,
    node::{NodeHandle, Stopped},
    peering::{PeerHandle, Peers, RibHandle, RibStopped},
    show::view::ClusterView,
};

/// The handles. Cheap to clone; filled in once, when everything has been started.
#[derive(Clone)]
pub struct Sources {
    /// When the daemon started.
    pub started: Instant,
    /// The peers.
    pub peers: Peers,
    /// The RIB.
    pub rib: RibHandle,
    /// The monitoring stations.
    pub stations: StationList,
    /// The recorder of what peers say.
    pub recorder: Recorder,
    /// The pods; `None` on a router without pods.
    pub pods: Option<NodeHandle>,
    /// The CNI plugin's socket; `None` on a router without pods.
    pub cni_socket: Option<PathBuf>,
    /// The kernel's routes; `None` in speaker mode.
    pub kernel: Option<KernelHandle>,
    /// How the node stands to its cluster; `None`: it has none.
    pub cluster: Option<ClusterLook>,
}

/// A look at how the node stands to its cluster.
pub type ClusterLook = Arc<dyn Fn() -> ClusterView + Send + Sync>;

impl Sources {
    /// The peer of this name or address.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<PeerHandle> {
        self.peers.find(name)
    }
}

/// A way to look into the machine of the kernel's routes. Cheap to clone.
#[derive(Clone)]
pub struct KernelHandle(mpsc::Sender<Look>);

/// A look, to be taken by the machine's owner between two events.
pub type Look = Box<dyn FnOnce(&Fib) + Send>;

impl KernelHandle {
    /// A handle, and where its looks arrive.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Look>) {
        let (looks, arriving) = mpsc::channel(WAITING_LOOKS);
        (Self(looks), arriving)
    }

    /// What `look` sees of the machine.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`].
    pub async fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Fib) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let look = Box::new(move |fib: &Fib| {
            // Who asked may have gone.
            let _ = answer.send(look(fib));
        });
        in_time(async {
            self.0.send(look).await.map_err(|_| NoAnswer::Stopped)?;
            answered.await.map_err(|_| NoAnswer::Stopped)
        })
        .await
    }
}

/// Why nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The task has ended.
    #[error("it has ended; the daemon is stopping, or its log says what went wrong")]
    Stopped,
    /// It is too busy or stuck.
    #[error("no answer within {} s; it is stuck or overloaded, see the log", PATIENCE.as_secs())]
    Late,
}

impl From<RibStopped> for NoAnswer {
    fn from(_: RibStopped) -> Self {
        Self::Stopped
    }
}

impl From<Stopped> for NoAnswer {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// The answer, if it comes before patience ends.
///
/// # Errors
///
/// [`NoAnswer`].
pub async fn in_time<T, E: Into<NoAnswer>>(
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, NoAnswer> {
    timeout(PATIENCE, answer).await.map_err(|_| NoAnswer::Late)?.map_err(Into::into)
}

/// How long an owner may take to answer: less than the ten seconds that Prometheus and most
/// probes wait, far more than a busy task needs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks that may wait for a task: one of each face, and some operators at once.
const WAITING_LOOKS: usize = 16;

#[cfg(test)]
mod tests {
    use routed_core::fib::FibConfig;

    use super::*;

    fn fib() -> Fib {
        let config = FibConfig {
            table: 254,
            protocol: 132,
            metric: None,
            own_ranges: Vec::new(),
            addresses_wander: false,
            learned_routes: true,
            next_hop_groups: true,
            resolve_via_default: false,
            grace: Duration::ZERO,
        };
        Fib::new(config, Instant::now())
    }

    #[tokio::test]
    async fn the_owner_answers_between_its_events() {
        let (kernel, mut looks) = KernelHandle::new();
        let owner = tokio::spawn(async move {
            let fib = fib();
            while let Some(look) = looks.recv().await {
                look(&fib);
            }
        });
        assert_eq!(kernel.ask(Fib::is_ready).await, Ok(false));
        drop(kernel);
        owner.await.unwrap();
    }

    #[tokio::test]
    async fn an_owner_that_has_ended_is_told_as_such() {
        let (kernel, looks) = KernelHandle::new();
        drop(looks);
        assert_eq!(kernel.ask(Fib::is_ready).await, Err(NoAnswer::Stopped));
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_that_does_not_answer_is_not_waited_for() {
        let (kernel, _looks) = KernelHandle::new();
        assert_eq!(kernel.ask(Fib::is_ready).await, Err(NoAnswer::Late));
    }
}
