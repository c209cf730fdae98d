//! Monitoring stations (BMP, RFC 7854): which there are, and the task of each.
//!
//! In: the configuration, and what the RIB's thread reports. Out: a connection to each station on
//! which it is told of sessions and routes. What must be told is decided in the `bgp` package;
//! here it is carried there.
//!
//! A station that does not read costs two bits for each prefix and view in the RIB and a bounded
//! queue here; it delays neither the RIB nor a peer nor another station.

mod link;
mod statistics;
mod status;
mod task;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use bgp::bmp;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

pub use self::status::{Messages, Phase, StationError, StationStatus};
use self::task::{Order, StationTask};
use crate::{
    config::{Config, Station},
    peering::RibHandle,
};

/// The stations. Dropping this aborts their tasks without a word to them; see [`Self::stop`].
pub struct Stations {
    rib: RibHandle,
    router: Arc<Router>,
    members: Vec<Member>,
    published: watch::Sender<Arc<[StationHandle]>>,
    tasks: JoinSet<()>,
}

/// A station that there is.
struct Member {
    handle: StationHandle,
    orders: mpsc::Sender<Order>,
}

/// One station, to be looked at; cheap to clone.
#[derive(Clone, Debug)]
pub struct StationHandle {
    /// Its settings.
    pub settings: Arc<Station>,
    status: watch::Receiver<StationStatus>,
}

/// The stations there are, always current; cheap to clone.
#[derive(Clone, Debug)]
pub struct StationList(watch::Receiver<Arc<[StationHandle]>>);

/// Who we are to stations.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Router {
    /// The node's name.
    name: String,
    /// Whose the Loc-RIB is.
    us: bmp::Peer,
}

impl Stations {
    /// Begins to connect to every station. Must be called inside a tokio runtime with I/O and
    /// time.
    #[must_use]
    pub fn start(config: &Config, rib: RibHandle) -> Self {
        let router = Arc::new(Router::of(config));
        let (published, _) = watch::channel(Arc::new([]) as Arc<[StationHandle]>);
        let tasks = JoinSet::new();
        let mut stations = Self { rib, router, members: Vec::new(), published, tasks };
        for settings in &config.stations {
            stations.engage(Arc::new(settings.clone()));
        }
        stations.publish();
        stations
    }

    /// Goes on with another configuration. Only what differs is touched.
    pub async fn apply(&mut self, config: &Config) {
        // A task that has ended needs no memory.
        while self.tasks.try_join_next().is_some() {}
        let router = Arc::new(Router::of(config));
        let moved = *router != *self.router;
        self.router = router;
        let members = std::mem::take(&mut self.members).into_iter();
        let mut former: BTreeMap<SocketAddr, Member> =
            members.map(|member| (member.handle.settings.address, member)).collect();
        for settings in &config.stations {
            let settings = Arc::new(settings.clone());
            let Some(mut member) = former.remove(&settings.address) else {
                self.engage(settings);
                continue;
            };
            if moved || member.handle.settings != settings {
                let order = Order::Configure(Arc::clone(&settings), Arc::clone(&self.router));
                member.order(order).await;
                member.handle.settings = settings;
            }
            self.members.push(member);
        }
        self.publish();
        for member in former.values() {
            member.order(Order::Dismiss).await;
        }
    }

    /// Tells every station that we go, and waits until it has taken that, for a second at most.
    pub async fn stop(mut self) {
        for member in &self.members {
            member.order(Order::Stop).await;
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// To look at them.
    #[must_use]
    pub fn list(&self) -> StationList {
        StationList(self.published.subscribe())
    }

    fn engage(&mut self, settings: Arc<Station>) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (status_in, status) = watch::channel(StationStatus::default());
        let router = Arc::clone(&self.router);
        let rib = self.rib.clone();
        let task = StationTask::new(Arc::clone(&settings), router, rib, inbox, status_in);
        self.tasks.spawn(task.run());
        self.members.push(Member { handle: StationHandle { settings, status }, orders });
    }

    fn publish(&self) {
        let handles = self.members.iter().map(|member| member.handle.clone());
        self.published.send_replace(handles.collect());
    }
}

impl Member {
    /// Does nothing if the task has ended, as it does with the RIB.
    async fn order(&self, order: Order) {
        let _ = self.orders.send(order).await;
    }
}

impl StationHandle {
    /// How it stands at this moment.
    #[must_use]
    pub fn status(&self) -> StationStatus {
        self.status.borrow().clone()
    }
}

impl StationList {
    /// That of a daemon without stations.
    #[must_use]
    pub fn none() -> Self {
        Self(watch::channel(Arc::new([]) as Arc<[StationHandle]>).1)
    }

    /// Those there are now, in the order of the configuration.
    #[must_use]
    pub fn now(&self) -> Arc<[StationHandle]> {
        Arc::clone(&self.0.borrow())
    }
}

impl Router {
    fn of(config: &Config) -> Self {
        let (asn, router_id) = (config.speaker.asn, config.speaker.router_id);
        let us = bmp::Peer { address: None, asn, router_id };
        Self { name: config.node.name.clone(), us }
    }
}

/// Orders that may wait for a station's task, which takes them at once.
const ORDERS: usize = 4;
