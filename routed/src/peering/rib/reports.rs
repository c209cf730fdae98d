//! The RIB's reports for monitoring stations: the reader's end, and those who wait for some.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use bgp::{
    family::Family,
    rib::{
        DumpCursor, Dumped, ImportCounts, Monitored, PeerCounts, PeerId, Report, Rib, RibConfig,
        StationId, ViewSet,
    },
};
use tokio::sync::oneshot;

use super::{Command, RibHandle, RibStopped, Way};

/// What one station must be told, for the task that carries it there: everything there is, then
/// changes, always with the newest state. When this is dropped the RIB forgets the station.
pub struct Reports {
    way: Arc<Way>,
    station: StationId,
    asked: Option<oneshot::Receiver<Vec<Report>>>,
    /// Its counterpart in the thread tells whether a reader is still there.
    _reader: Arc<()>,
}

/// A new station, as the thread is told of it.
pub(crate) struct Registration {
    station: StationId,
    views: ViewSet,
    reader: Weak<()>,
}

impl RibHandle {
    /// Begins to keep reports of these views for a station.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn monitor(&self, views: ViewSet) -> Result<Reports, RibStopped> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let station = StationId(NEXT.fetch_add(1, Ordering::Relaxed));
        let reader = Arc::new(());
        let registration = Registration { station, views, reader: Arc::downgrade(&reader) };
        self.send(Command::Monitor(registration)).await?;
        Ok(Reports { way: Arc::clone(&self.way), station, asked: None, _reader: reader })
    }
}

impl RibHandle {
    /// What each of these peers accounts for.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn session_counts(
        &self,
        peers: Vec<PeerId>,
    ) -> Result<Vec<SessionCounts>, RibStopped> {
        self.look(move |rib| {
            let routes = |peer| Family::ALL.map(|family| rib.peer_counts(peer, family));
            let counts = |peer| (routes(peer), rib.import_counts(peer));
            peers.into_iter().map(counts).collect()
        })
        .await
    }

    /// Settings of the router, and the sessions that stand or whose paths are kept.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn router_and_sessions(
        &self,
    ) -> Result<(RibConfig, Vec<Arc<Monitored>>), RibStopped> {
        self.look(|rib| (rib.config().clone(), rib.sessions().cloned().collect())).await
    }

    /// A slice of everything that peers have announced; see [`Rib::dump`].
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn dump(
        &self,
        cursor: DumpCursor,
        budget: usize,
    ) -> Result<(Vec<Dumped>, Option<DumpCursor>), RibStopped> {
        self.look(move |rib| rib.dump(cursor, budget)).await
    }
}

/// Routes by family in the order of [`Family::ALL`], and what became of announcements.
pub type SessionCounts = ([PeerCounts; Family::ALL.len()], ImportCounts);

impl Reports {
    /// The next reports, of at most about `budget` sessions and prefixes; waits until there are
    /// some. May be dropped at any point without losing one.
    ///
    /// # Errors
    ///
    /// [`RibStopped`].
    pub async fn next(&mut self, budget: usize) -> Result<Vec<Report>, RibStopped> {
        if self.asked.is_none() {
            // Behind the registration.
            let room = self.way.0.lanes.reserve().await?;
            let (answer, asked) = oneshot::channel();
            room.send(Command::PullReports { station: self.station, budget, answer });
            self.asked = Some(asked);
        }
        let asked = self.asked.as_mut().expect("set above");
        let reports = asked.await;
        self.asked = None;
        reports.map_err(|_| RibStopped)
    }
}

/// The stations as the RIB's thread sees them.
#[derive(Default)]
pub(super) struct Stations(BTreeMap<StationId, Waiting>);

struct Waiting {
    reader: Weak<()>,
    /// What it has asked for and not been answered.
    pull: Option<(usize, oneshot::Sender<Vec<Report>>)>,
}

impl Stations {
    pub(super) fn add(&mut self, rib: &mut Rib, registration: Registration) {
        let Registration { station, views, reader } = registration;
        rib.add_station(station, views);
        self.0.insert(station, Waiting { reader, pull: None });
    }

    pub(super) fn ask(
        &mut self,
        station: StationId,
        budget: usize,
        answer: oneshot::Sender<Vec<Report>>,
    ) {
        if let Some(waiting) = self.0.get_mut(&station) {
            waiting.pull = Some((budget, answer));
        }
    }

    /// Tells each station that has both asked and something to hear; forgets those that are gone.
    pub(super) fn answer(&mut self, rib: &mut Rib) {
        self.0.retain(|station, waiting| {
            if waiting.reader.strong_count() == 0 {
                rib.remove_station(*station);
                return false;
            }
            if let Some((budget, answer)) = waiting.pull.take_if(|_| rib.has_reports(*station)) {
                let reports = rib.poll_reports(*station, budget);
                if reports.is_empty() {
                    waiting.pull = Some((budget, answer));
                } else {
                    // If the reader goes in this very moment, so does the station.
                    let _ = answer.send(reports);
                }
            }
            true
        });
    }
}
