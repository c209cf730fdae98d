//! Where the peer is: where the configuration says, or where it was found on its link.
//!
//! In: what the link's discovery says. Out: the session, begun when there is somebody to have it
//! with, and ended when there is no longer.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use bgp::session::{Cease, Input};
use tokio::net::TcpStream;

use super::PeerTask;
use crate::peering::{
    discovery::{NoPeer, Search},
    status::LastError,
};

/// See the module.
pub(super) struct Whereabouts {
    /// Where the peer is, if that is known, its port aside.
    peer: Option<SocketAddr>,
    /// Why it is not known.
    pub(super) absence: Option<LastError>,
    search: Option<Search>,
}

impl Whereabouts {
    /// Those of a peer with this address, or else of one that is searched for.
    pub(super) fn new(fixed: Option<IpAddr>, search: Option<Search>) -> Self {
        Self { peer: fixed.map(|address| (address, 0).into()), absence: None, search }
    }

    /// Waits for news of the search; forever if there is none. May be dropped at any point.
    pub(super) async fn changed(&mut self) {
        if let Some(search) = &mut self.search
            && search.found.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Whether the connection comes from the peer, as far as the listener could not tell: it knows
    /// the interface, but not who is the peer there.
    fn accepts(&self, stream: &TcpStream) -> bool {
        if self.search.is_none() {
            return true;
        }
        let (Some(SocketAddr::V6(peer)), Ok(SocketAddr::V6(source))) =
            (self.peer, stream.peer_addr())
        else {
            return false;
        };
        (peer.ip(), peer.scope_id()) == (source.ip(), source.scope_id())
    }

    /// Has the link told that we are no router any longer, if there is one that was told that we are.
    pub(super) fn leave(&mut self) {
        if let Some(search) = self.search.take() {
            // An error means that the search has ended already.
            let _ = search.leave.send(());
        }
    }
}

impl PeerTask {
    /// Where to dial the peer, if that is known.
    pub(super) fn peer_address(&self) -> Option<SocketAddr> {
        let mut peer = self.whereabouts.peer?;
        peer.set_port(self.settings.port);
        Some(peer)
    }

    /// Begins the session if it is wanted, there is somebody to have it with, and nothing is held
    /// against it.
    pub(super) fn begin(&mut self) {
        if !self.session.is_barred() {
            self.begin_anyway();
        }
    }

    /// The same even if the peer had announced too much: an operator wants it.
    pub(super) fn begin_anyway(&mut self) {
        let recovers = self.liveness.recovers_by().is_some();
        if self.whereabouts.peer.is_none() || !self.inbox.status.borrow().wanted || recovers {
            return;
        }
        if self.awaits_bfd() {
            self.inbox.status.send_modify(|status| {
                status.last_error = Some(LastError::AwaitsBfd);
                status.failed_at = Some(Instant::now());
            });
        } else {
            self.handle(Input::Start);
        }
    }

    /// The search has news. A session with whoever was the peer before is over, without a word that
    /// nobody would hear.
    pub(super) fn found(&mut self) {
        let Some(search) = &mut self.whereabouts.search else { return };
        let finding = search.found.borrow_and_update().clone();
        let (peer, absence) = match finding {
            Ok(found) => (Some(found.into()), None),
            Err(NoPeer::Absent(absence)) => {
                let interface = self.settings.address.interface().cloned().unwrap_or_default();
                (None, Some(LastError::NoPeer(interface, absence)))
            }
            Err(NoPeer::Deaf(error)) => (None, Some(LastError::Socket(error))),
        };
        let name = Arc::clone(&self.settings.name);
        let before = std::mem::replace(&mut self.whereabouts.peer, peer);
        self.whereabouts.absence = absence;
        let address = self.peer_address();
        self.inbox.status.send_modify(|status| {
            status.peer = address;
            if let Some(absence) = &self.whereabouts.absence {
                status.last_error = Some(absence.clone());
                status.failed_at = Some(Instant::now());
            }
        });
        if peer == before {
            return;
        }
        if let Some(reason) = &self.whereabouts.absence {
            tracing::info!(peer = %name, %reason, "peer lost on its link");
        } else if let Some(address) = address {
            tracing::info!(peer = %name, %address, "peer found on its link");
        }
        self.handle(Input::Stop(Cease::LinkDown));
        self.watch_path();
        self.begin();
    }

    /// Whether a connection that the listener took is from the peer. If not it is closed without a
    /// word: the other side may be about to become the peer, and a NOTIFICATION would make it rest.
    pub(super) fn is_from_peer(&self, stream: &TcpStream) -> bool {
        let accepted = self.whereabouts.accepts(stream);
        if !accepted {
            let (peer, source) = (&self.settings.name, stream.peer_addr().ok());
            tracing::debug!(%peer, ?source, "connection dropped: not from the peer on this link");
        }
        accepted
    }
}
