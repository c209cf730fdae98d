//! What the RIB has to say about the limits of a peer's prefixes.
//!
//! In: the limits that the session has come to. Out: a warning for each, once a session; and the
//! end of the session where that is what the limit is for (RFC 4486 §4).

use bgp::{
    family::{Family, PerFamily},
    rib::LimitKind,
    session::{Cease, Input},
};
use tokio::sync::watch;

use super::PeerTask;
use crate::peering::rib::LimitsReached;

/// The news about one session's limits.
#[derive(Default)]
pub(super) struct Limits {
    /// While a session stands.
    news: Option<watch::Receiver<LimitsReached>>,
    /// What was told to the log.
    told: LimitsReached,
}

/// How often a family's limits were reached since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitCounters {
    /// Near `max_prefixes`.
    pub near: u64,
    /// Over it, and only warned of.
    pub over: u64,
    /// Over it, and the session was ended.
    pub stopped: u64,
    /// More than `max_advertised` to tell.
    pub held_back: u64,
}

impl LimitCounters {
    const fn count(&mut self, kind: LimitKind) {
        let counter = match kind {
            LimitKind::Near => &mut self.near,
            LimitKind::Over => &mut self.over,
            LimitKind::Stop => &mut self.stopped,
            LimitKind::Advertised => &mut self.held_back,
        };
        *counter += 1;
    }
}

/// Those of each family.
pub type LimitCounts = PerFamily<LimitCounters>;

impl Limits {
    /// A session begins; where the RIB is to tell of it.
    pub(super) fn begin(&mut self) -> watch::Sender<LimitsReached> {
        let (sender, news) = watch::channel(LimitsReached::new());
        *self = Self { news: Some(news), told: LimitsReached::new() };
        sender
    }

    /// It is over.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Waits for news; forever if there is no session. May be dropped at any point.
    pub(super) async fn changed(&mut self) {
        if let Some(news) = &mut self.news
            && news.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// What has not been told yet.
    fn take(&mut self) -> LimitsReached {
        let Some(news) = &mut self.news else { return LimitsReached::new() };
        let mut fresh = news.borrow_and_update().clone();
        fresh.retain(|limit, max| self.told.get(limit) != Some(max));
        self.told.extend(fresh.iter().map(|(limit, max)| (*limit, *max)));
        fresh
    }
}

impl PeerTask {
    pub(super) fn note_limits(&mut self) {
        for ((family, kind), max) in self.limits.take() {
            self.inbox.status.send_if_modified(|status| {
                status.limits.get_mut(family).count(kind);
                // Like all counters, these wake nobody.
                false
            });
            self.note_limit(family, kind, max);
        }
    }

    fn note_limit(&mut self, family: Family, kind: LimitKind, max: u32) {
        let peer = &self.settings.name;
        match kind {
            LimitKind::Near => tracing::warn!(
                %peer, %family, max,
                "the peer comes near max_prefixes; is that meant? if so, raise the limit",
            ),
            LimitKind::Over => tracing::warn!(
                %peer, %family, max,
                "the peer has announced more than max_prefixes; its routes are taken, as \
                 action = \"warn\" says",
            ),
            LimitKind::Advertised => tracing::warn!(
                %peer, %family, max,
                "there is more to tell the peer than max_advertised; the rest is held back",
            ),
            LimitKind::Stop => {
                let restart_after = self.settings.rib.restart_after(family);
                let cease = Cease::MaxPrefixes { family, limit: max, restart_after };
                self.handle(Input::Stop(cease));
            }
        }
    }
}
