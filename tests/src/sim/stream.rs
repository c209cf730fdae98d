//! Simulated TCP: two ends, order kept in each direction, and what a host does for its process.
//!
//! In: pieces to carry and when they may arrive. Out: the pieces, each at its time. Knows no
//! links: whether a piece may pass is the world's to say.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    time::Instant,
};

use bgp::{rib::PeerId, session::ConnId};
use bytes::Bytes;

use super::{LinkId, RouterId};

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// May I?
    Syn,
    /// You may.
    SynAck,
    /// Nobody listens here.
    Refused,
    /// Octets.
    Octets(Bytes),
    /// No more from me.
    Fin,
    /// Never heard of it.
    Rst,
}

/// One end of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndId {
    stream: usize,
    side: usize,
}

impl EndId {
    /// The other end.
    pub(super) const fn far(self) -> Self {
        Self { stream: self.stream, side: 1 - self.side }
    }
}

/// A session's number for its end, with whose session it is.
pub(super) type Owner = (RouterId, PeerId, ConnId);

/// Every stream there ever was.
#[derive(Debug, Default)]
pub(super) struct Streams {
    list: Vec<Stream>,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    count: u64,
    open: BTreeMap<Owner, EndId>,
}

#[derive(Debug)]
struct Stream {
    link: LinkId,
    ends: [End; 2],
}

#[derive(Debug)]
struct End {
    router: RouterId,
    peer: PeerId,
    /// The session's number while it has the stream.
    conn: Option<ConnId>,
    arriving: VecDeque<Item>,
    /// Octets in `arriving`.
    waiting: usize,
    latest: Option<Instant>,
}

/// A piece may arrive: the first of those that wait for this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Instant,
    /// Keeps arrivals of one instant in the order in which they were sent.
    count: u64,
    end: EndId,
}

impl Streams {
    /// A stream that `near` wants, and its far end.
    pub(super) fn dial(&mut self, link: LinkId, near: Owner, far: (RouterId, PeerId)) -> EndId {
        let end = |router, peer, conn| End {
            router,
            peer,
            conn,
            arriving: VecDeque::new(),
            waiting: 0,
            latest: None,
        };
        let ends = [end(near.0, near.1, Some(near.2)), end(far.0, far.1, None)];
        self.list.push(Stream { link, ends });
        let stream = self.list.len() - 1;
        self.open.insert(near, EndId { stream, side: 0 });
        EndId { stream, side: 1 }
    }

    /// The listening side has got a number for its end.
    pub(super) fn accept(&mut self, end: EndId, conn: ConnId) {
        let state = &mut self.list[end.stream].ends[end.side];
        state.conn = Some(conn);
        self.open.insert((state.router, state.peer, conn), end);
    }

    /// The session no longer has this end.
    pub(super) fn close(&mut self, end: EndId) {
        let state = &mut self.list[end.stream].ends[end.side];
        if let Some(conn) = state.conn.take() {
            self.open.remove(&(state.router, state.peer, conn));
        }
    }

    /// Sends a piece to an end. It arrives at `at`, or later if one before it does.
    pub(super) fn push(&mut self, to: EndId, item: Item, at: Instant) {
        let state = &mut self.list[to.stream].ends[to.side];
        if let Item::Octets(octets) = &item {
            state.waiting += octets.len();
        }
        state.arriving.push_back(item);
        let at = state.latest.map_or(at, |latest| latest.max(at));
        state.latest = Some(at);
        self.schedule(to, at);
    }

    /// Whatever waits for an end on this link is sent again. `at` gives each its time.
    pub(super) fn resend(&mut self, link: LinkId, mut at: impl FnMut() -> Instant) {
        for stream in 0..self.list.len() {
            if self.list[stream].link == link {
                for side in 0..2 {
                    for _ in 0..self.list[stream].ends[side].arriving.len() {
                        self.schedule(EndId { stream, side }, at());
                    }
                }
            }
        }
    }

    /// When something may arrive next.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.arrivals.peek().map(|arrival| arrival.0.at)
    }

    /// Where that is. It stays there until [`Self::take`].
    pub(super) fn next(&mut self) -> Option<(Instant, EndId)> {
        self.arrivals.pop().map(|arrival| (arrival.0.at, arrival.0.end))
    }

    /// The piece that is first at an end.
    pub(super) fn first(&self, end: EndId) -> Option<&Item> {
        self.list[end.stream].ends[end.side].arriving.front()
    }

    /// Takes it.
    pub(super) fn take(&mut self, end: EndId) -> Option<Item> {
        let state = &mut self.list[end.stream].ends[end.side];
        let item = state.arriving.pop_front()?;
        if let Item::Octets(octets) = &item {
            state.waiting -= octets.len();
        }
        Some(item)
    }

    /// Octets on their way to an end.
    pub(super) fn waiting(&self, end: EndId) -> usize {
        self.list[end.stream].ends[end.side].waiting
    }

    /// Link, router and peer of an end.
    pub(super) fn place(&self, end: EndId) -> (LinkId, RouterId, PeerId) {
        let stream = &self.list[end.stream];
        let state = &stream.ends[end.side];
        (stream.link, state.router, state.peer)
    }

    /// The session's number for an end, while it has it.
    pub(super) fn conn(&self, end: EndId) -> Option<ConnId> {
        self.list[end.stream].ends[end.side].conn
    }

    /// The end with this owner.
    pub(super) fn find(&self, owner: Owner) -> Option<EndId> {
        self.open.get(&owner).copied()
    }

    /// The ends that a router's sessions have.
    pub(super) fn ends_of(&self, router: RouterId) -> Vec<EndId> {
        let from = (router, PeerId(0), ConnId(0));
        let ends = self.open.range(from..).take_while(|(owner, _)| owner.0 == router);
        ends.map(|(_, end)| *end).collect()
    }

    fn schedule(&mut self, end: EndId, at: Instant) {
        self.count += 1;
        self.arrivals.push(Reverse(Arrival { at, count: self.count, end }));
    }
}
