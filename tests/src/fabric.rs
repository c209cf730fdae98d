//! Fabrics of real routers, for the end-to-end tests.
//!
//! In: a topology, as `testbed` reads it. Out: a lab that is up, what each router's own software
//! says, and what its kernel holds. The lab ends with the test, however the test ends; names are
//! the test's own, so any number of tests can run side by side.
//!
//! Whatever cannot be had panics with what was seen: there is nobody but a test to tell.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;
use std::ops::Deref;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use serde_json::Value;
use testbed::{Lab, Options, Topology};

pub mod bird;
pub mod exabgp;
pub mod frr;
pub mod gobgp;
pub mod kernel;
pub mod routed;
pub mod runtime;
pub mod scripted;

/// A lab of one test. Everything that a [`Lab`] can is there as well.
#[derive(Debug)]
pub struct Fabric(Lab);

impl Fabric {
    /// Raises the topology of this text.
    #[must_use]
    pub fn up(topology: &str) -> Self {
        let topology = Topology::parse("e2e.toml", topology)
            .unwrap_or_else(|error| panic!("{topology}\n{error}"));
        let lab = Lab::up(topology, &Options::default());
        Self(lab.unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// Raises it and waits until every session stands.
    #[must_use]
    pub fn established(topology: &str) -> Self {
        let fabric = Self::up(topology);
        fabric.sessions_stand();
        fabric
    }

    /// Waits until every router has a session with each neighbour.
    pub fn sessions_stand(&self) {
        eventually(
            "all sessions stand",
            || self.all_sessions_stand().ok(),
            |all| *all == Some(true),
        );
    }

    /// Runs a command in a router or pod that must succeed. Returns its stdout.
    #[must_use]
    pub fn ask(&self, place: &str, argv: &[&str]) -> String {
        self.read(place, argv).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The same for a command that prints JSON.
    #[must_use]
    pub fn ask_json(&self, place: &str, argv: &[&str]) -> Value {
        let text = self.ask(place, argv);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{argv:?}: {error}: {text}"))
    }

    /// Waits until each of these prefixes leads to exactly these neighbours, in the kernel of a
    /// router; none at all: until there is no route to it.
    pub fn kernel_leads(&self, router: &str, prefixes: &[&str], neighbours: &[&str]) {
        for prefix in prefixes {
            let prefix: IpNetwork = prefix.parse().expect("a prefix of the test");
            eventually(
                &format!("{router}: {prefix} leads to {neighbours:?}"),
                || self.ways(router, prefix),
                |ways| ways.iter().eq(neighbours),
            );
        }
    }

    /// The neighbours that a prefix leads to, sorted.
    fn ways(&self, router: &str, prefix: IpNetwork) -> Vec<String> {
        let routes = self.routes(router).unwrap_or_else(|error| panic!("{error:#}"));
        let hops = routes.into_iter().filter(|route| route.dst == prefix).flat_map(|r| r.hops);
        let mut ways: Vec<_> = hops.filter_map(|hop| hop.dev).collect();
        ways.sort();
        ways
    }

    /// Sends echo requests, each of which must be answered.
    pub fn pings(&self, from: &str, to: &[&str]) {
        let tallies = self.ping(from, to).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(!tallies.is_empty());
        for tally in tallies {
            assert_eq!(tally.lost(), 0, "{from} to {}: {tally:?}", tally.address);
        }
    }
}

impl Deref for Fabric {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

/// One BGP route as some software tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Destination.
    pub prefix: IpNetwork,
    /// The global one, where IPv6 has two.
    pub next_hop: IpAddr,
    /// Nearest first.
    pub as_path: Vec<u32>,
    /// `65000:100`.
    pub communities: BTreeSet<String>,
    /// `4200000000:1:2`.
    pub large_communities: BTreeSet<String>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
}

impl Seen {
    /// The same route as it looks after an eBGP speaker with this AS and next hop has passed it on.
    #[must_use]
    pub fn passed_on_by(mut self, asn: u32, next_hops: [IpAddr; 2]) -> Self {
        self.as_path.insert(0, asn);
        let same_family = |hop: &&IpAddr| hop.is_ipv4() == self.prefix.is_ipv4();
        self.next_hop = *next_hops.iter().find(same_family).expect("one of each family");
        self
    }
}

/// AS numbers between spaces.
fn as_path(text: &str) -> Vec<u32> {
    let asn = |word: &str| word.parse().unwrap_or_else(|_| panic!("no AS number: {text}"));
    text.split_whitespace().map(asn).collect()
}

/// Looks until what is seen is as wanted, and returns it.
///
/// # Panics
///
/// If that takes longer than a minute: only a fault does, however busy the machine.
pub fn eventually<T: Debug>(
    what: &str,
    mut look: impl FnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let begun = Instant::now();
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for: {what}; last seen: {seen:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
