//! Speakers made from a `routed.toml`, and waiting for what they promise.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use bgp::{
    attrs::{Attrs, NextHop},
    config::Restarted,
    family::FamilySet,
    prefix::Prefix,
    rib::{PathView, Verdict},
    session::{Cease, State},
};
use routed::{
    config::Config,
    kernel::watch::Links,
    peering::{BestChanges, PeerHandle, PeerStatus, Peering},
    restart,
};
use tokio::sync::watch;

/// Port on which everybody listens: the addresses keep tests apart.
pub(crate) const PORT: u16 = 1790;

/// Longest wait for anything that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A /24 of loopback that no other test uses.
#[derive(Clone, Copy)]
pub(crate) struct Net(u8, u8);

impl Net {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        // Several runs may share the machine.
        let run = u8::try_from(std::process::id() % 200).unwrap() + 20;
        Self(run, NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn host(self, host: u8) -> IpAddr {
        Ipv4Addr::new(127, self.0, self.1, host).into()
    }

    /// A number that tells it from those of other tests of this run.
    pub(crate) const fn third(self) -> u8 {
        self.1
    }

    pub(crate) fn socket(self, host: u8) -> SocketAddr {
        SocketAddr::new(self.host(host), PORT)
    }
}

/// A running speaker.
pub(crate) struct Speaker {
    pub(crate) peering: Peering,
    pub(crate) best: BestChanges,
}

/// What a speaker's configuration says.
#[derive(Clone)]
pub(crate) struct Plan {
    net: Net,
    host: u8,
    asn: u32,
    /// Source address of its sessions.
    local: IpAddr,
    /// Where it listens.
    listen: Vec<SocketAddr>,
    /// Pod range, from its first moment on.
    pods: Option<String>,
    /// Further lines of `[bgp]`.
    bgp: String,
    peers: String,
}

impl Plan {
    pub(crate) fn new(net: Net, host: u8, asn: u32) -> Self {
        let (bgp, peers) = (String::new(), String::new());
        let (local, listen) = (net.host(host), vec![net.socket(host)]);
        Self { net, host, asn, local, listen, pods: None, bgp, peers }
    }

    /// Listens elsewhere.
    pub(crate) fn listening_on(mut self, listen: &[SocketAddr]) -> Self {
        self.listen = listen.to_vec();
        self
    }

    /// Adds a group of dynamic peers, `group`, with these lines and a next hop.
    pub(crate) fn dynamic(self, prefix: &str, lines: &str) -> Self {
        self.dynamic_named("group", prefix, lines)
    }

    /// The same with another name.
    pub(crate) fn dynamic_named(mut self, name: &str, prefix: &str, lines: &str) -> Self {
        self.peers += &format!(
            "[[dynamic_peers]]\nname = \"{name}\"\nprefix = \"{prefix}\"\n\
             next_hop_ipv4 = \"10.0.0.{}\"\n{lines}\n",
            self.host,
        );
        self
    }

    /// Has a pod range. Then it is a node, which uses no path before the kernel has confirmed its
    /// next hop.
    pub(crate) fn pods(mut self, range: &str) -> Self {
        self.pods = Some(range.to_owned());
        self
    }

    /// Adds lines to `[bgp]`.
    pub(crate) fn bgp(mut self, lines: &str) -> Self {
        self.bgp += &format!("{lines}\n");
        self
    }

    /// Dials from another address than that of its host.
    pub(crate) const fn dialling_from(mut self, local: IpAddr) -> Self {
        self.local = local;
        self
    }

    /// Adds a peer at `host`, named after it: `p2` for .2. `more` are further lines.
    pub(crate) fn peer(self, host: u8, asn: u32, more: &str) -> Self {
        let address = self.net.host(host);
        self.peer_at(address, host, asn, more)
    }

    /// The same with an address of its own.
    pub(crate) fn peer_at(mut self, address: IpAddr, host: u8, asn: u32, more: &str) -> Self {
        let own = self.local;
        self.peers += &format!(
            "[[peers]]\nname = \"p{host}\"\naddress = \"{address}\"\nport = {PORT}\nasn = {asn}\n\
             local_address = \"{own}\"\nnext_hop_ipv4 = \"10.0.0.{}\"\n{more}\n",
            self.host,
        );
        self
    }

    pub(crate) fn config(&self) -> Config {
        let Self { host, asn, bgp, peers, .. } = self;
        let listen: Vec<_> = self.listen.iter().map(ToString::to_string).collect();
        let (mode, pods) = match &self.pods {
            Some(range) => ("node", format!("[pods]\nipv4 = [\"{range}\"]\n")),
            None => ("speaker", String::new()),
        };
        let text = format!(
            "[node]\nname = \"n{host}\"\nmode = \"{mode}\"\n\
             [bgp]\nasn = {asn}\nrouter_id = \"10.0.0.{host}\"\nlisten = {listen:?}\n\
             hold_time = 9\nconnect_retry = 1\nimport = \"all\"\nexport = \"all\"\n{bgp}{peers}{pods}",
        );
        Config::parse(Path::new("test.toml"), &text)
            .unwrap_or_else(|error| panic!("{text}\n{error}"))
            .config
    }

    pub(crate) fn start(self) -> Speaker {
        self.begin(None)
    }

    /// Starts the speaker as one that has restarted, with its forwarding state, and waits for so
    /// long at most for what its peers have to say.
    pub(crate) fn restart(self, deferral: Duration) -> Speaker {
        self.begin(Some(Restarted { forwarding: FamilySet::ALL, deferral }))
    }

    fn begin(self, restarted: Option<Restarted>) -> Speaker {
        let config = restart::announced(self.config(), restarted);
        let (peering, best) = Peering::start(&config, watch::channel(Links::default()).1).unwrap();
        Speaker { peering, best }
    }
}

impl Speaker {
    pub(crate) fn peer(&self, host: u8) -> PeerHandle {
        self.peering.peer(&format!("p{host}")).unwrap()
    }

    /// Waits until the peer's status is as wanted.
    pub(crate) async fn status(
        &self,
        host: u8,
        what: &str,
        wanted: impl Fn(&PeerStatus) -> bool,
    ) -> PeerStatus {
        let start = Instant::now();
        // Counters wake nobody, so look now and then.
        loop {
            let status = self.peer(host).status();
            if wanted(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "p{host}: not {what}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn established(&self, host: u8) -> PeerStatus {
        self.status(host, "established", |status| status.state == State::Established).await
    }

    /// Waits until the peer is established more often than `before`: collisions of both sides'
    /// connections can take more than one attempt.
    pub(crate) async fn established_again(&self, host: u8, before: u64) -> PeerStatus {
        self.status(host, "established again", |status| {
            status.state == State::Established && status.established_count > before
        })
        .await
    }

    pub(crate) async fn originate(&self, prefixes: &[&str]) {
        for text in prefixes {
            self.peering.rib().originate(prefix(text), originated()).await.unwrap();
        }
    }

    /// The best path of each prefix.
    pub(crate) async fn best(&self) -> Vec<(Prefix, PathView)> {
        let routes = self.peering.rib().routes().await.unwrap();
        let best = routes.into_iter().filter_map(|(prefix, paths)| {
            paths.into_iter().find(|path| path.verdict == Verdict::Best).map(|path| (prefix, path))
        });
        best.collect()
    }

    /// Waits until the best routes are to exactly these prefixes, in prefix order.
    pub(crate) async fn best_are(&self, prefixes: &[&str]) -> Vec<(Prefix, PathView)> {
        let wanted: Vec<_> = prefixes.iter().map(|text| prefix(text)).collect();
        let start = Instant::now();
        loop {
            let best = self.best().await;
            let have: Vec<_> = best.iter().map(|(prefix, _)| *prefix).collect();
            if have == wanted {
                return best;
            }
            let routes = self.peering.rib().routes().await.unwrap();
            assert!(start.elapsed() < PATIENCE, "not {wanted:?}: {have:?} of {routes:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.peering.stop(Cease::AdminShutdown("end of test".to_owned())).await;
    }
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(crate) fn originated() -> Arc<Attrs> {
    Arc::new(Attrs::originated(NextHop::new(Ipv4Addr::UNSPECIFIED.into())))
}

/// A test's promise that something does not happen is kept for this long.
pub(crate) const NEVER: Duration = Duration::from_millis(1500);
