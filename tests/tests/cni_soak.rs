//! Pods come and go by the thousand, called for by 32 callers at once, while the daemon is killed
//! again and again: no address is ever given to two pods, and at the end nothing is left.
//!
//! `SLASH32_SOAK` sets the number of cycles (default: 2000); the seed is printed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use plugin::{
    client,
    rpc::{Attach, AttachmentId, Check, Request, Response},
};
use tests::node::{Node, Pod, on_a_node};

const POOLS: &str = "ipv4 = [\"10.244.0.0/22\"]\nipv6 = [\"fd00:10:244:1::/64\"]\ncooldown = 0\n";
const CALLERS: usize = 32;

fn cycles() -> usize {
    std::env::var("SLASH32_SOAK").map_or(2000, |text| text.parse().expect("a number of cycles"))
}

/// What one caller does, and what all of them have.
struct Soak {
    socket: PathBuf,
    /// Who has which address now, as far as runtimes know.
    in_use: Mutex<BTreeMap<IpAddr, String>>,
    next: AtomicUsize,
    added: AtomicUsize,
}

impl Soak {
    fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            in_use: Mutex::default(),
            next: AtomicUsize::new(0),
            added: AtomicUsize::new(0),
        }
    }

    /// Takes cycles until there are no more.
    fn call(&self, netns: &OwnedFd, cycles: usize) {
        loop {
            let cycle = self.next.fetch_add(1, Ordering::Relaxed);
            if cycle >= cycles {
                return;
            }
            // A runtime whose ADD fails sends DEL and makes another sandbox a little later.
            let mut attempt = 0;
            while !self.cycle(netns, cycle, attempt) {
                thread::sleep(Duration::from_millis(20));
                attempt += 1;
            }
        }
    }

    /// A pod from ADD to DEL. Several interfaces of one namespace, so that no time goes into making
    /// namespaces; each has a container of its own. False if there was no ADD.
    fn cycle(&self, netns: &OwnedFd, cycle: usize, attempt: usize) -> bool {
        let id = AttachmentId {
            network: "soak".to_owned(),
            container_id: format!("c{cycle}-{attempt}"),
            ifname: format!("e{cycle}"),
        };
        let attach = Request::Add(Attach {
            id: id.clone(),
            netns: "/run/netns/soak".to_owned(),
            args: BTreeMap::new(),
            ips: vec![],
            mac: None,
            mtu: None,
            default_route: Some(false),
            pool: None,
            routes: vec![],
            delegated: false,
        });
        let answer = client::call(&self.socket, &attach, Some(netns.as_fd()));
        let added = matches!(answer, Ok(Response::Added(_)));
        if let Ok(Response::Added(result)) = answer {
            self.added.fetch_add(1, Ordering::Relaxed);
            let addresses: Vec<_> = result.ips.iter().map(|ip| ip.address.ip()).collect();
            self.take(&addresses, &id.container_id);
            if cycle.is_multiple_of(8) {
                let netns_path = "/run/netns/soak".to_owned();
                let check = Check { id: id.clone(), netns: netns_path, prev_result: result };
                let answer =
                    client::call(&self.socket, &Request::Check(check), Some(netns.as_fd()));
                assert!(
                    !matches!(answer, Ok(Response::Error(ref e)) if e.code == 103),
                    "{answer:?}"
                );
            }
            // Before DEL: from then on they are anybody's.
            self.leave(&addresses);
        }
        let answer = client::detach(&self.socket, &id).unwrap();
        assert_eq!(answer, Response::Done, "{id:?}");
        added
    }

    fn take(&self, addresses: &[IpAddr], who: &str) {
        let mut in_use = self.in_use.lock().unwrap();
        assert_eq!(addresses.len(), 2);
        for address in addresses {
            let before = in_use.insert(*address, who.to_owned());
            assert_eq!(before, None, "{address} was given to {who} as well");
        }
    }

    fn leave(&self, addresses: &[IpAddr]) {
        let mut in_use = self.in_use.lock().unwrap();
        for address in addresses {
            in_use.remove(address);
        }
    }
}

/// Whole numbers that look random, from a seed.
fn dice(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn run(node: &mut Node, soak: &Soak, cycles: usize, mut disturb: impl FnMut(&mut Node)) {
    let pods: Vec<_> = (0..CALLERS).map(|caller| Pod::new(&format!("ns{caller}"))).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = pods
            .iter()
            .map(|pod| {
                let netns = pod.netns();
                scope.spawn(move || soak.call(netns, cycles))
            })
            .collect();
        scope.spawn(|| {
            for caller in callers {
                caller.join().unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            disturb(node);
        }
    });
}

#[test]
fn pods_by_the_thousand_with_a_daemon_that_is_killed_again_and_again() {
    on_a_node(POOLS, |node| {
        let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
        let mut seed = u64::try_from(seed).unwrap() | 1;
        println!("seed {seed}");
        let before = node.state();
        let soak = Soak::new(&node.path("cni.sock"));
        let mut kills = 0;
        run(node, &soak, cycles(), |node| {
            // A machine that is so slow that no daemon ever came to serve would prove nothing.
            let (added, begun) = (soak.added.load(Ordering::Relaxed), Instant::now());
            thread::sleep(Duration::from_millis(200 + dice(&mut seed) % 600));
            while soak.added.load(Ordering::Relaxed) < cycles().min(added + CALLERS) {
                assert!(begun.elapsed() < Duration::from_secs(60), "{}", node.log());
                thread::sleep(Duration::from_millis(5));
            }
            node.kill();
            thread::sleep(Duration::from_millis(dice(&mut seed) % 30));
            node.start();
            kills += 1;
        });
        let added = soak.added.load(Ordering::Relaxed);
        println!("{} of {} pods were added, {kills} kills", added, cycles());
        assert!(kills > 0 && added == cycles());
        node.kill();
        node.start();
        node.settles_to(&before);
        let deadline = Instant::now() + Duration::from_secs(30);
        while node.routed("show leases -o json").unwrap().contains("container_id\": \"") {
            assert!(Instant::now() < deadline, "{}", node.routed("show leases").unwrap());
            thread::sleep(Duration::from_millis(20));
        }
        let check = format!("ipam check --journal {}", node.path("leases").display());
        assert_eq!(node.routed(&check).unwrap(), "leases, interfaces and journal agree\n");
        let sets = node.run("nft list table inet slash32");
        assert!(!sets.contains(" . 10.244."), "{sets}");
    });
}

#[test]
fn daemons_memory_stays_flat() {
    on_a_node(POOLS, |node| {
        let before = node.state();
        let socket = node.path("cni.sock");
        let resident = |node: &Node| -> u64 {
            let status = format!("/proc/{}/status", node.daemon().unwrap());
            let status = std::fs::read_to_string(status).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let rest = |_: &mut Node| thread::sleep(Duration::from_millis(20));
        // Until then peaks of many pods at once still make the allocator keep more.
        run(node, &Soak::new(&socket), 3200, rest);
        node.settles_to(&before);
        let early = resident(node);
        run(node, &Soak::new(&socket), 1600, rest);
        node.settles_to(&before);
        let late = resident(node);
        println!("resident: {early} KiB, then {late} KiB");
        assert!(late < early + 3 * 1024, "{early} KiB, then {late} KiB");
    });
}
