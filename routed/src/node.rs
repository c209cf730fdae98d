//! The pods' pump: one task that owns the machine and moves what happens in, what to do out.
//!
//! In: requests of runtimes, questions of `routed show`, answers of the kernel, time. Out: what the
//! kernel shall do, replies, log lines. Owns [`Pods`] and the descriptors of the namespaces that came
//! with requests. Has a thread of its own, which also serves the plugin's socket and speaks netlink:
//! from a request to its answer no other thread has to wake. Ends when every [`NodeHandle`] is dropped;
//! what is left the next run adopts.
//!
//! Decides nothing itself.

use std::{
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bgp::prefix::Prefix;
use routed_core::{
    attachment::AttachmentId,
    fib::route::PROTO_PODS,
    ipam::{BlockUse, Lease, PoolUse},
    pod::{
        GuardSettings, PodState, Pods, Settings,
        drift::DriftCounters,
        nat::{NatSettings, NatState},
        verb::{NotReady, Reply, Request},
        wiring::{RouteStamp, Wiring},
    },
};
use tokio::{
    runtime,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

mod journal;
mod pump;

use journal::Journal;
use pump::{Ends, Input, Pump, Queues};

use crate::{
    config::{Config, Nat, Pods as PodsConfig, Service},
    kernel::{
        netlink::NetlinkError,
        pods::{self, Worker, fuse::Fuse},
    },
};

/// Asks the pump. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    inputs: mpsc::Sender<Input>,
    ranges: watch::Receiver<Vec<Prefix>>,
    announced: watch::Receiver<Vec<Prefix>>,
}

/// The pump has ended: the daemon is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is stopping; try again when it runs again")]
pub struct Stopped;

/// The book of leases, as shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Who has what.
    pub leased: Vec<(AttachmentId, Lease)>,
    /// What nobody has, and for how long.
    pub idle: Vec<(IpAddr, Duration)>,
}

/// One pod, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStatus {
    /// Everything about its network.
    pub wiring: Wiring,
    /// How far it is.
    pub state: PodState,
}

impl NodeHandle {
    /// Passes on what a runtime asks, with the pod's namespace where the verb needs one (ADD and
    /// CHECK), and waits for the answer. If the caller stops waiting, the request is still carried
    /// out.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn ask(&self, request: Request, netns: Option<OwnedFd>) -> Result<Reply, Stopped> {
        let netns = netns.map(Arc::new);
        let request = Box::new(request);
        self.put(|answer| Input::Ask { request, netns, answer }).await
    }

    /// Every pod, by network, container and interface.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn pods(&self) -> Result<Vec<PodStatus>, Stopped> {
        self.look(|pods, _| {
            let pods = pods.pods();
            pods.map(|(wiring, state)| PodStatus { wiring: wiring.clone(), state }).collect()
        })
        .await
    }

    /// The ranges that are this node's: those of the configuration, and former ones in which pods
    /// have addresses still. Always current.
    #[must_use]
    pub fn ranges(&self) -> watch::Receiver<Vec<Prefix>> {
        self.ranges.clone()
    }

    /// Those of them that peers are told of. Always current.
    #[must_use]
    pub fn announced(&self) -> watch::Receiver<Vec<Prefix>> {
        self.announced.clone()
    }

    /// Ranges that are no longer in the configuration, with the number of their leases.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn former_ranges(&self) -> Result<Vec<(Prefix, usize)>, Stopped> {
        self.look(|pods, _| pods.ipam().former().collect()).await
    }

    /// How much other programs have changed of pods' things on the host.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn drift(&self) -> Result<DriftCounters, Stopped> {
        self.look(|pods, _| pods.drift()).await
    }

    /// Whether pods of these ranges leave with an address of the node.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn nat(&self, ranges: Vec<Prefix>) -> Result<Vec<NatState>, Stopped> {
        self.look(move |pods, _| ranges.into_iter().map(|range| pods.nat_of(range)).collect()).await
    }

    /// Every range of the pools, in the order of the configuration.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn pools(&self) -> Result<Vec<PoolUse>, Stopped> {
        self.look(|pods, now| pods.ipam().pools(now).collect()).await
    }

    /// Every open block.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn blocks(&self) -> Result<Vec<BlockUse>, Stopped> {
        self.look(|pods, now| pods.ipam().blocks(now).collect()).await
    }

    /// Every lease, and every idle address with the time since its pod went.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn leases(&self) -> Result<Leases, Stopped> {
        self.look(|pods, now| Leases {
            leased: pods.ipam().leases().map(|(id, lease)| (id.clone(), lease)).collect(),
            idle: pods
                .ipam()
                .idle()
                .map(|(address, since)| (address, now.saturating_duration_since(since)))
                .collect(),
        })
        .await
    }

    /// Can ADD be served, and will its pod be reached? `None` if all is well.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn readiness(&self) -> Result<Option<NotReady>, Stopped> {
        self.look(|pods, _| pods.readiness().err()).await
    }

    /// Whether the kernel has refused rules that stand before pods or translate for them.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn lacks_rules(&self) -> Result<bool, Stopped> {
        self.look(|pods, _| pods.lacks_rules()).await
    }

    /// Goes on with other settings, for pods that are made from now on.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn reconfigure(&self, settings: Settings) -> Result<(), Stopped> {
        self.inputs.send(Input::Configured(Box::new(settings))).await.map_err(|_| Stopped)
    }

    /// Tells the smallest MTU of the ways to the peers, which new pods get unless the configuration has
    /// one; `None` if there is no way.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn path_mtu(&self, mtu: Option<u32>) -> Result<(), Stopped> {
        self.inputs.send(Input::PathMtu(mtu)).await.map_err(|_| Stopped)
    }

    /// The MTU of the configuration, if it has one.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn fixed_mtu(&self) -> Result<Option<u32>, Stopped> {
        self.look(|pods, _| pods.fixed_mtu()).await
    }

    /// Compares the pods with the kernel's interfaces and the journal, and puts right what differs.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn put_right(&self) -> Result<(), Stopped> {
        self.inputs.send(Input::PutRight).await.map_err(|_| Stopped)
    }

    /// Tells how many BGP peers there are and how many sessions are established. Without it, STATUS
    /// does not depend on BGP.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn sessions(&self, configured: usize, established: usize) -> Result<(), Stopped> {
        let input = Input::Sessions { configured, established };
        self.inputs.send(input).await.map_err(|_| Stopped)
    }

    /// Has a task run on the pods' own thread: what it asks there, it is told without another thread
    /// having to wake. Returns when the task has ended; ends it if nobody waits for that any more.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn beside(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Stopped> {
        let (leash, slipped) = oneshot::channel::<()>();
        let task = Box::pin(async move {
            tokio::select! {
                () = task => {}
                _ = slipped => {}
            }
        });
        let (ended, end) = oneshot::channel::<()>();
        let task = Box::pin(async move {
            let _ended = ended;
            task.await;
        });
        self.inputs.send(Input::Beside(task)).await.map_err(|_| Stopped)?;
        let _ = end.await;
        drop(leash);
        Ok(())
    }

    /// Asks a pump that has ended.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        let none = || watch::channel(Vec::new()).1;
        Self { inputs: mpsc::channel(1).0, ranges: none(), announced: none() }
    }

    /// What a look into the machine, between two events, shows.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Pods, Instant) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.put(|answer| {
            Input::Look(Box::new(move |pods, now| {
                // Who asked may have gone.
                let _ = answer.send(look(pods, now));
            }))
        })
        .await
    }

    async fn put<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(input(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

/// What the configuration asks of the pods' machine; `None` on a router without pods.
#[must_use]
pub fn settings(config: &Config) -> Option<Settings> {
    let pods = config.pods.as_ref()?;
    Some(Settings {
        ipam: pods.ipam.clone(),
        mtu: pods.mtu,
        routes: RouteStamp {
            table: config.kernel.table,
            protocol: PROTO_PODS,
            learned: config.kernel.protocol,
        },
        guard: pods.guard.then(|| GuardSettings { closed_ports: closed_ports(config, pods) }),
        nat: nat(pods),
    })
}

/// Own ranges see each other's addresses whatever `cluster_ranges` say.
fn nat(pods: &PodsConfig) -> NatSettings {
    let Nat { pools: _, sources, cluster_ranges, exclude, addresses } = pods.nat.clone();
    let direct = [&cluster_ranges[..], &pods.prefixes, &exclude].concat();
    NatSettings { sources, direct, addresses }
}

/// Ports of the daemon that pods do not reach.
fn closed_ports(config: &Config, pods: &PodsConfig) -> Vec<u16> {
    let bgp = config.speaker.listen.iter().map(|address| (Service::Bgp, address.port()));
    let http = config.sockets.http.iter().map(|address| (Service::Http, address.port()));
    let closed = bgp.chain(http).filter(|(service, _)| !pods.open_to_pods.contains(service));
    closed.map(|(_, port)| port).collect()
}

/// Starts the pods' thread, and the others of the kernel's side. The calling thread must be in the host's
/// network namespace and in the context of a tokio runtime. `journal` is the path of the journal of
/// leases. Aborting the task ends the pods' thread, and it ends when that does.
///
/// # Errors
///
/// If netlink cannot be used or a thread cannot be started.
pub fn spawn(
    settings: Settings,
    journal: &Path,
) -> Result<(NodeHandle, JoinHandle<()>), NetlinkError> {
    spawn_with(settings, journal, Fuse::default())
}

/// The same, with threads that die when the fuse blows, or a kernel that fails then: for tests.
///
/// # Errors
///
/// As [`spawn`].
pub fn spawn_with(
    settings: Settings,
    journal: &Path,
    fuse: Fuse,
) -> Result<(NodeHandle, JoinHandle<()>), NetlinkError> {
    let (inputs, input_queue) = mpsc::channel(QUEUE);
    let (events, event_queue) = mpsc::channel(QUEUE);
    let removals = pods::sweeper(events.clone(), fuse.clone())?;
    let (journal, memory) = Journal::open(journal);
    let pods = Pods::new(settings, memory);
    let (ranges_out, ranges) = watch::channel(pods.ipam().prefixes().collect());
    let (announced_out, announced) = watch::channel(pods.ipam().announced().collect());
    let (leash, slipped) = oneshot::channel::<()>();
    let (opened, is_open) = std::sync::mpsc::sync_channel(1);
    let (ended, end) = oneshot::channel::<()>();
    let thread = thread::Builder::new().name("pods".to_owned()).spawn(move || {
        let _ended = ended;
        let (jobs, job_queue) = mpsc::channel(1);
        let open = || -> Result<_, NetlinkError> {
            let worker = Worker::open(fuse)?;
            worker.watch_rules(jobs.downgrade())?;
            // Before the survey, so that nothing goes unnoticed.
            worker.watch_changes(events)?;
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(runtime::LocalOptions::default());
            Ok((runtime?, worker))
        };
        let (runtime, worker) = match open() {
            Ok(all) => all,
            Err(error) => return drop(opened.send(Err(error))),
        };
        // If nobody waits for it, the leash has slipped.
        let _ = opened.send(Ok(()));
        let pump = Pump::new(
            pods,
            journal,
            worker,
            Ends { ranges: ranges_out, announced: announced_out, removals },
        );
        let queues = Queues { inputs: input_queue, events: event_queue, jobs: job_queue };
        runtime.block_on(async {
            // A task: waking the future that a runtime blocks on takes a system call.
            let pump = tokio::task::spawn_local(pump.run(queues));
            tokio::select! {
                _ = pump => {}
                _ = slipped => {}
            }
        });
        drop(jobs);
    });
    thread?;
    is_open.recv().unwrap_or_else(|gone| Err(io::Error::other(gone).into()))?;
    let task = tokio::spawn(async move {
        let _leash = leash;
        let _ = end.await;
    });
    Ok((NodeHandle { inputs, ranges, announced }, task))
}

/// Things waiting in front of the pump; more wait with whoever sends them.
const QUEUE: usize = 256;
