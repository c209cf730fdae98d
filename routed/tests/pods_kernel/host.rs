//! A host of its own for each test: a network namespace with the pods' pump in it, and pods.
//!
//! A namespace lives as long as a descriptor of it or a process in it, so nothing is left behind
//! however a test ends.

use std::{
    fs::File,
    future::Future,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use routed::{
    kernel::{netns::Traveller, pods::fuse::Fuse, sysctl},
    node::{self, NodeHandle},
};
use routed_core::{
    attachment::{AttachmentId, PodName},
    ipam::{IpamSettings, PoolSettings, Wish},
    pod::{
        GuardSettings, PodState, Settings,
        check::Expected,
        nat::NatSettings,
        verb::{Attach, PodError, Reply, Request},
        wiring::{RouteStamp, Wiring},
    },
};

/// Runs a test on a thread of its own, in a network namespace of its own: the host's.
pub(crate) fn on_a_host<F: Future<Output = ()>>(
    pools: &[&str],
    test: impl FnOnce(Host) -> F + Send,
) {
    thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("the tests need root");
            run(&["ip", "link", "set", "lo", "up"]);
            run(&["ip", "address", "add", "192.0.2.1/32", "dev", "lo"]);
            run(&["ip", "address", "add", "2001:db8::1/128", "dev", "lo", "nodad"]);
            // The kernel makes it usable a moment later.
            run(&["ping", "-c", "1", "-i", "0.1", "-w", "5", "-n", "2001:db8::1"]);
            for family in bgp::family::Family::ALL {
                sysctl::enable_forwarding(family).unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async { test(Host::new(pools)).await });
        };
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// The host and its pump.
pub(crate) struct Host {
    pub(crate) settings: Settings,
    pub(crate) node: NodeHandle,
    pump: tokio::task::JoinHandle<()>,
    traveller: Traveller,
    /// Of the journal.
    pub(crate) folder: tempfile::TempDir,
}

/// Protocol number of what BGP would have taught.
pub(crate) const LEARNED: u8 = 131;

impl Host {
    fn new(pools: &[&str]) -> Self {
        let settings = Settings {
            ipam: IpamSettings {
                pools: vec![PoolSettings {
                    name: "default".to_owned(),
                    ranges: pools.iter().map(|pool| pool.parse().unwrap()).collect(),
                    block_ipv4: 26,
                    block_ipv6: 122,
                    announce: true,
                }],
                reserved: vec![],
                floating: Vec::new(),
                lost: Vec::new(),
                cooldown: Duration::ZERO,
            },
            mtu: Some(1500),
            routes: RouteStamp { table: 254, protocol: 132, learned: LEARNED },
            guard: Some(GuardSettings { closed_ports: vec![179] }),
            nat: NatSettings::default(),
        };
        let folder = tempfile::tempdir().unwrap();
        let (node, pump) = node::spawn(settings.clone(), &folder.path().join("leases")).unwrap();
        Self { settings, node, pump, traveller: Traveller::at_home().unwrap(), folder }
    }

    /// The daemon dies and starts again.
    pub(crate) async fn restart(&mut self) {
        let journal = self.folder.path().join("leases");
        let (node, pump) = node::spawn(self.settings.clone(), &journal).unwrap();
        self.node = node;
        let before = std::mem::replace(&mut self.pump, pump);
        before.abort();
        // Perhaps it was stopped before.
        if !before.is_finished() {
            let _ = before.await;
        }
    }

    /// Starts again, with threads that die after so many messages to the kernel.
    pub(crate) async fn restart_with(&mut self, fuse: Fuse) {
        self.stop().await;
        let journal = self.folder.path().join("leases");
        let (node, pump) = node::spawn_with(self.settings.clone(), &journal, fuse).unwrap();
        (self.node, self.pump) = (node, pump);
    }

    /// The daemon dies.
    pub(crate) async fn stop(&mut self) {
        self.pump.abort();
        if !self.pump.is_finished() {
            let _ = (&mut self.pump).await;
        }
    }

    pub(crate) async fn ask(&self, request: Request, netns: Option<&Pod>) -> Reply {
        let netns = netns.map(|pod| pod.netns.try_clone().unwrap());
        self.node.ask(request, netns).await.unwrap()
    }

    pub(crate) async fn try_add(&self, pod: &Pod) -> Result<Wiring, PodError> {
        self.add_as(pod, attach(pod)).await
    }

    pub(crate) async fn add_as(&self, pod: &Pod, attach: Attach) -> Result<Wiring, PodError> {
        match self.ask(Request::Attach(attach), Some(pod)).await {
            Reply::Attached(wiring) => Ok(*wiring),
            Reply::Failed(error) => Err(error),
            Reply::Done => panic!("ADD has a result"),
        }
    }

    pub(crate) async fn add(&self, pod: &Pod) -> Wiring {
        self.try_add(pod).await.unwrap()
    }

    pub(crate) async fn del(&self, pod: &Pod) {
        assert_eq!(self.ask(Request::Detach(pod.id.clone()), None).await, Reply::Done);
    }

    /// What CHECK finds; empty if it is content.
    pub(crate) async fn check(&self, pod: &Pod, wiring: &Wiring) -> String {
        let expected = Expected {
            listed: true,
            mac: Some(wiring.inside.mac),
            mtu: Some(wiring.mtu),
            addresses: wiring.lease.iter().collect(),
            destinations: wiring.destinations.clone(),
            tells_mtu: true,
        };
        match self.ask(Request::Check(pod.id.clone(), expected), Some(pod)).await {
            Reply::Done => String::new(),
            Reply::Failed(error) => error.to_string(),
            Reply::Attached(_) => panic!("CHECK has no result"),
        }
    }

    pub(crate) async fn gc(&self, valid: &[&Pod]) -> Reply {
        let valid = valid.iter().map(|pod| pod.id.clone()).collect();
        let network = "net".to_owned();
        self.ask(Request::Collect(routed_core::pod::verb::Collect { network, valid }), None).await
    }

    pub(crate) async fn leased(&self) -> u128 {
        self.node.pools().await.unwrap().iter().map(|pool| pool.leased).sum()
    }

    /// A command on the host; what it prints.
    pub(crate) fn on_host(&self, command: &str) -> String {
        output(&command.split(' ').collect::<Vec<_>>()).unwrap()
    }

    /// A command in a pod.
    pub(crate) fn inside(&self, pod: &Pod, command: &str) -> Result<String, String> {
        let words: Vec<_> = command.split(' ').collect();
        self.traveller.within(pod.netns.as_fd(), || output(&words)).unwrap()
    }

    pub(crate) fn ping(&self, from: Option<&Pod>, to: IpAddr) {
        let command = format!("ping -c 1 -W 2 -n {to}");
        match from {
            Some(pod) => self.inside(pod, &command).map(drop).unwrap(),
            None => drop(self.on_host(&command)),
        }
    }

    /// Everything in the host's namespace that a pod could have left behind, without what the
    /// kernel changes by itself.
    pub(crate) fn state(&self) -> String {
        let links = self.on_host("ip -o link");
        let links = links.replace(" state UNKNOWN ", " state UP ");
        let parts = ["address", "route show table all", "neigh show nud permanent", "rule"];
        let parts = parts.map(|part| self.on_host(&format!("ip -o {part}")));
        let permits = |set| output(&["nft", "list", "set", "inet", "slash32", set]);
        // Before the survey there is no table.
        let rules = ["sources4", "sources6"].map(|set| permits(set).unwrap_or_default());
        let rules = rules.map(|set| if set.contains("elements") { set } else { String::new() });
        format!("{links}\n{}\n{}", parts.join("\n"), rules.join("\n"))
    }

    /// Waits until the host's state is as it was, and no pod is left but those that are ready:
    /// pairs are deleted after DEL has been answered.
    pub(crate) async fn settles_to(&self, before: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let ready = |pod: &node::PodStatus| pod.state == PodState::Ready;
        while self.state() != before || !self.node.pods().await.unwrap().iter().all(ready) {
            assert!(Instant::now() < deadline, "before:\n{before}\nnow:\n{}", self.state());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A pod's namespace.
pub(crate) struct Pod {
    pub(crate) id: AttachmentId,
    pub(crate) netns: OwnedFd,
}

impl Pod {
    pub(crate) fn new(name: &str) -> Self {
        let open = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            OwnedFd::from(File::open("/proc/thread-self/ns/net").unwrap())
        };
        let netns = thread::spawn(open).join().unwrap();
        Self { id: AttachmentId::new("net", name, "eth0").unwrap(), netns }
    }

    /// Another interface of the same pod.
    pub(crate) fn second(&self, ifname: &str) -> Self {
        let id = AttachmentId::new("net", self.id.container_id(), ifname).unwrap();
        Self { id, netns: self.netns.try_clone().unwrap() }
    }
}

pub(crate) fn attach(pod: &Pod) -> Attach {
    let name = PodName { namespace: "default".to_owned(), name: pod.id.container_id().to_owned() };
    Attach {
        id: pod.id.clone(),
        pod: Some(name),
        wish: Wish::default(),
        mac: None,
        mtu: None,
        default_route: None,
        destinations: vec![],
    }
}

fn run(words: &[&str]) {
    output(words).unwrap();
}

fn output(words: &[&str]) -> Result<String, String> {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{words:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}
