//! BFD of this peer: what its state means for the session.
//!
//! In: where the peer is, the settings, the BFD session's state. Out: the end of a session whose path
//! has failed, and none begun while a strict one is down, or any shortly after a failure.
//!
//! A BFD session that never came up ends nothing, unless it is strict: a peer without BFD has the
//! session that it would have otherwise. Nor does one that is switched off (RFC 5882 §3.2).
//!
//! After a failure the peer is dialled, and heard, once BFD is up again. Sooner it may not have noticed
//! yet: when it does, it ends whatever session there is, rests after two failures in a row, and all
//! routes were told for nothing. One that has no BFD any more is waited for in bounds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::session::{Cease, Input, State};
use routed_core::bfd::State as BfdState;

use super::PeerTask;
use crate::peering::bfd::{Bfd, Path, Watch};

/// See the module.
pub(super) struct Liveness {
    bfd: Bfd,
    watch: Option<Watch>,
    /// Of them, so many were acted on.
    failures: u64,
    up: bool,
    /// The path has failed: until then no session is begun unless BFD comes up.
    recovers_by: Option<Instant>,
}

impl Liveness {
    pub(super) const fn new(bfd: Bfd) -> Self {
        Self { bfd, watch: None, failures: 0, up: false, recovers_by: None }
    }

    /// Waits for a change of state; forever if nothing is watched. May be dropped at any point.
    pub(super) async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// When BFD has been waited for long enough after a failure.
    pub(super) const fn recovers_by(&self) -> Option<Instant> {
        self.recovers_by
    }

    /// The link is gone: no need to wait for the detection time.
    pub(super) fn path_down(&self) {
        if let Some(watch) = &self.watch {
            watch.path_down();
        }
    }

    /// Nothing is watched any more; the peer is told that this is no failure.
    pub(super) fn end(&mut self) {
        self.watch = None;
        (self.failures, self.up) = (0, false);
    }
}

impl PeerTask {
    /// Has that path watched that the settings and the peer's whereabouts ask for.
    pub(super) fn watch_path(&mut self) {
        let wanted = self.settings.bfd.as_ref().zip(self.peer_address());
        let wanted = wanted.filter(|_| self.inbox.status.borrow().wanted);
        let Some((settings, remote)) = wanted else {
            self.liveness.end();
            self.inbox.status.send_if_modified(|status| status.bfd.take().is_some());
            return;
        };
        let path = Path {
            remote,
            local: self.settings.local_address,
            device: self.settings.bind_device.clone(),
            reach: settings.reach,
        };
        match &self.liveness.watch {
            Some(watch) if *watch.path() == path => watch.configure(settings.session.clone()),
            _ => {
                self.liveness.end();
                let watch = self.liveness.bfd.watch(path, settings.session.clone());
                self.liveness.watch = Some(watch);
                self.liveness_changed();
            }
        }
    }

    /// The BFD session has news.
    pub(super) fn liveness_changed(&mut self) {
        let Some(watch) = &mut self.liveness.watch else { return };
        let status = watch.status();
        let up = status.state == BfdState::Up;
        let came_up = !std::mem::replace(&mut self.liveness.up, up) && up;
        let failed =
            status.failures > std::mem::replace(&mut self.liveness.failures, status.failures);
        let failure = status.failure.filter(|_| failed);
        let peer = Arc::clone(&self.settings.name);
        let shown = self.liveness.watch.as_ref().map(Watch::reader);
        self.inbox.status.send_modify(|status| status.bfd = shown);
        let Some(bfd) = &self.settings.bfd else { return };
        let (strict, graceful) = (bfd.strict, bfd.graceful);
        if let Some(failure) = failure {
            tracing::warn!(%peer, cause = %failure.cause, "BFD: the path to the peer has failed");
            if self.session.state() > State::Active {
                let hard = failure.independent || !graceful;
                self.handle(Input::Stop(Cease::BfdDown { hard }));
                if up {
                    self.begin();
                } else {
                    self.liveness.recovers_by = Some(Instant::now() + RECOVERY);
                }
            }
        }
        if came_up {
            tracing::info!(%peer, "BFD: the path to the peer is up");
            let recovers = self.liveness.recovers_by.take().is_some();
            if recovers || strict {
                self.begin_if_idle();
            }
        }
    }

    /// BFD was waited for in vain after a failure. If the peer has none any more, the session is as good.
    pub(super) fn recovery_over(&mut self) {
        self.liveness.recovers_by = None;
        self.begin_if_idle();
    }

    fn begin_if_idle(&mut self) {
        if self.session.state() == State::Idle {
            self.begin();
        }
    }

    /// Whether a session must wait for BFD.
    pub(super) fn awaits_bfd(&self) -> bool {
        self.settings.bfd.as_ref().is_some_and(|bfd| bfd.strict) && !self.liveness.up
    }
}

/// Twice the time that BFD needs to come up if both sides send once a second (RFC 5880 §6.8.3), and
/// a peer's rest of a second before it.
const RECOVERY: Duration = Duration::from_secs(5);
