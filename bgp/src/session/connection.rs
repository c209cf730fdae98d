//! One connection's part of the session machine, from the moment both ends are joined
//! (RFC 4271 §8.2.2, states OpenSent to Established).
//!
//! In: octets, deadlines, the end of the connection. Out: what the session must do about it, as
//! one [`Reaction`] each. Changes nothing but its own inbox and phase, which the session moves
//! on once it agrees: a collision may still say otherwise.

use bytes::Bytes;

use crate::{
    config::SessionConfig,
    family::Family,
    session::{
        Cause, ConnId, Established, IgnoredRefresh, State,
        collision::{Opener, Rival},
        inbox::{BadHeader, Inbox, TYPE_AT, TYPE_OPEN, TYPE_UPDATE},
        negotiate,
        restart::Loss,
    },
    wire::{self, Codec, ErrorCode, Message, Notification, Update},
};

/// A connection over which our OPEN has been sent.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) opener: Opener,
    pub(super) phase: Phase,
    inbox: Inbox,
    sent_open: Bytes,
    received_open: Bytes,
}

/// How far the handshake is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    OpenSent,
    OpenConfirm(Box<Established>),
    Established(Box<Established>),
}

/// Something that happened to the connection.
#[derive(Debug)]
pub(super) enum Event {
    /// A well-formed message (RFC 4271 §8.1.5, events 19 and 24 to 27).
    Message(Message),
    /// Octets that earn a NOTIFICATION (events 21, 22 and 28).
    Malformed(Notification),
    /// A NOTIFICATION that would earn one itself, which it does not get.
    MalformedNotification(Notification),
    /// Event 10.
    HoldExpired,
    /// Event 11.
    KeepaliveDue,
    /// RFC 9687.
    SendHoldExpired,
    /// Event 18.
    Closed,
}

/// Something that the peer said.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) event: Event,
    /// The whole message and how it was read; `None` if not even its header is good.
    pub(super) message: Option<(Bytes, Codec)>,
}

/// What the session does about it.
#[derive(Debug)]
pub(super) enum Reaction {
    /// Nothing more.
    Stay,
    /// The OPEN is good: go to OpenConfirm, unless a collision is lost.
    Agree(Box<Established>),
    /// Go to Established.
    Establish,
    /// Pass the UPDATE up.
    Deliver(Update),
    /// The peer asks for a family again: pass the request up.
    Refresh(Family),
    /// The peer announces a family again from here on.
    RefreshBegin(Family),
    /// The peer has announced a family again.
    RefreshEnd(Family),
    /// A ROUTE-REFRESH that somebody shall hear of.
    IgnoreRefresh(IgnoredRefresh),
    /// Send a KEEPALIVE.
    Keepalive,
    /// The connection ends.
    End(Ending),
}

/// How a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a NOTIFICATION from us.
    Tell(Notification),
    /// Without one, since none may or needs to be sent.
    Quietly(Cause),
    /// At once, since nothing can be sent.
    Abort(Cause),
    /// It has already ended.
    Gone,
}

impl Ending {
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Tell(notification) => Cause::Sent(notification.clone()),
            Self::Quietly(cause) | Self::Abort(cause) => cause.clone(),
            Self::Gone => Cause::Closed,
        }
    }

    /// True if the connection ended because nobody was there any more, false if one of both
    /// sides wanted it to end.
    pub(super) fn found_dead(&self) -> bool {
        match self {
            Self::Tell(notification) => notification.error() == ErrorCode::HOLD_TIMER_EXPIRED,
            Self::Abort(cause) => {
                matches!(cause, Cause::SendHoldExpired | Cause::PeerRestarted)
            }
            Self::Gone => true,
            Self::Quietly(_) => false,
        }
    }

    /// What it means for the peer's routes if the session stood on this connection.
    pub(super) fn loss(&self) -> Loss {
        match self {
            Self::Tell(notification) | Self::Quietly(Cause::Received(notification)) => {
                match notification.error() {
                    ErrorCode::HARD_RESET => Loss::Hard,
                    ErrorCode::COLLISION => Loss::Collision,
                    _ => Loss::Notified,
                }
            }
            Self::Gone | Self::Abort(Cause::PeerRestarted) => Loss::Silent,
            Self::Quietly(_) | Self::Abort(_) => Loss::Notified,
        }
    }
}

impl Connection {
    pub(super) fn new(id: ConnId, opener: Opener, sent_open: Bytes) -> Self {
        Self {
            id,
            opener,
            phase: Phase::OpenSent,
            inbox: Inbox::default(),
            sent_open,
            received_open: Bytes::new(),
        }
    }

    /// The next message in `octets`; `None` when they are used up. Reads no further after an
    /// error, since the connection ends there.
    pub(super) fn read(&mut self, octets: &mut Bytes) -> Option<Heard> {
        let codec = self.codec();
        let event = match self.inbox.next(octets, codec.max_receive_len) {
            Ok(None) => return None,
            Ok(Some(message)) => {
                if message[TYPE_AT] == TYPE_OPEN {
                    // Copied, or it would hold all that was read with it in memory.
                    self.received_open = Bytes::copy_from_slice(&message);
                }
                let event = self.decode(&message, &codec);
                return Some(Heard { event, message: Some((message, codec)) });
            }
            Err(BadHeader::Answer(notification)) => Event::Malformed(notification),
            Err(BadHeader::Unanswerable(notification)) => {
                Event::MalformedNotification(notification)
            }
        };
        Some(Heard { event, message: None })
    }

    /// What an event means in this phase. Every pair is written out.
    pub(super) fn react(&self, event: Event, config: &SessionConfig) -> Reaction {
        use Message::{Keepalive, Notification, Open, Refresh, Update};
        match (&self.phase, event) {
            (Phase::OpenSent, Event::Message(Open(open))) => {
                match negotiate::agree(config, &open) {
                    Ok(terms) => Reaction::Agree(Box::new(Established {
                        sent_open: self.sent_open.clone(),
                        received_open: self.received_open.clone(),
                        ..terms
                    })),
                    Err(notification) => tell(notification),
                }
            }
            (Phase::OpenConfirm(_), Event::Message(Keepalive)) => Reaction::Establish,
            (Phase::Established(_), Event::Message(Keepalive)) => Reaction::Stay,
            (Phase::Established(_), Event::Message(Update(update))) => Reaction::Deliver(update),
            (Phase::Established(terms), Event::Message(Refresh(refresh))) => {
                refreshed(refresh, terms)
            }
            (Phase::OpenSent, Event::Message(message @ (Update(_) | Keepalive | Refresh(_))))
            | (
                Phase::OpenConfirm(_),
                Event::Message(message @ (Open(_) | Update(_) | Refresh(_))),
            )
            | (Phase::Established(_), Event::Message(message @ Open(_))) => {
                tell(self.unexpected(kind(&message)))
            }
            (
                Phase::OpenSent | Phase::OpenConfirm(_) | Phase::Established(_),
                Event::Message(Notification(notification)),
            ) => Reaction::End(Ending::Quietly(Cause::Received(notification))),
            (
                Phase::OpenSent | Phase::OpenConfirm(_) | Phase::Established(_),
                Event::MalformedNotification(earned),
            ) => Reaction::End(Ending::Quietly(Cause::ReceivedMalformed(earned))),
            (
                Phase::OpenSent | Phase::OpenConfirm(_) | Phase::Established(_),
                Event::Malformed(notification),
            ) => tell(notification),
            (
                Phase::OpenSent | Phase::OpenConfirm(_) | Phase::Established(_),
                Event::HoldExpired,
            ) => tell(wire::Notification::new(ErrorCode::HOLD_TIMER_EXPIRED, Bytes::new())),
            (
                Phase::OpenSent | Phase::OpenConfirm(_) | Phase::Established(_),
                Event::SendHoldExpired,
            ) => Reaction::End(Ending::Abort(Cause::SendHoldExpired)),
            (Phase::OpenSent | Phase::OpenConfirm(_) | Phase::Established(_), Event::Closed) => {
                Reaction::End(Ending::Gone)
            }
            (Phase::OpenSent, Event::KeepaliveDue) => Reaction::Stay,
            (Phase::OpenConfirm(_) | Phase::Established(_), Event::KeepaliveDue) => {
                Reaction::Keepalive
            }
        }
    }

    /// OpenSent to OpenConfirm.
    pub(super) fn confirm(&mut self, terms: Box<Established>) {
        self.phase = Phase::OpenConfirm(terms);
    }

    /// OpenConfirm to Established. False, and nothing happens, in any other phase.
    pub(super) fn establish(&mut self) -> bool {
        match std::mem::replace(&mut self.phase, Phase::OpenSent) {
            Phase::OpenConfirm(terms) => {
                self.phase = Phase::Established(terms);
                true
            }
            other @ (Phase::OpenSent | Phase::Established(_)) => {
                self.phase = other;
                false
            }
        }
    }

    /// What was agreed on; `None` before the peer's OPEN.
    pub(super) fn terms(&self) -> Option<&Established> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::OpenConfirm(terms) | Phase::Established(terms) => Some(terms),
        }
    }

    /// The same, to change what is not the peer's to agree to.
    pub(super) fn terms_mut(&mut self) -> Option<&mut Established> {
        match &mut self.phase {
            Phase::OpenSent => None,
            Phase::OpenConfirm(terms) | Phase::Established(terms) => Some(terms),
        }
    }

    /// The terms of the session that stands; `None` before.
    pub(super) fn established(&self) -> Option<&Established> {
        match &self.phase {
            Phase::OpenSent | Phase::OpenConfirm(_) => None,
            Phase::Established(terms) => Some(terms),
        }
    }

    pub(super) const fn state(&self) -> State {
        match self.phase {
            Phase::OpenSent => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        }
    }

    /// As seen from another connection in a collision.
    pub(super) const fn as_rival(&self) -> Rival {
        match self.phase {
            Phase::OpenSent => Rival::OpenSent,
            Phase::OpenConfirm(_) => Rival::OpenConfirm,
            Phase::Established(_) => Rival::Established,
        }
    }

    fn codec(&self) -> Codec {
        self.terms().map_or_else(Codec::default, |terms| terms.codec)
    }

    /// An UPDATE too early is not even looked into: without terms nobody can tell whether it is
    /// well formed.
    fn decode(&self, message: &Bytes, codec: &Codec) -> Event {
        if message[TYPE_AT] == TYPE_UPDATE && self.established().is_none() {
            return Event::Malformed(self.unexpected(TYPE_UPDATE));
        }
        match wire::decode(message, codec) {
            Ok(message) => Event::Message(message),
            Err(notification) => Event::Malformed(self.understandable(notification, message)),
        }
    }

    /// The error code for ROUTE-REFRESH is only known to those who know the enhanced one
    /// (RFC 7313 §5); to others it is a bad length like any other (RFC 4271 §6.1).
    fn understandable(&self, notification: Notification, message: &Bytes) -> Notification {
        let enhanced = self.terms().is_some_and(|terms| terms.enhanced_refresh);
        match u16::try_from(message.len()) {
            Ok(len) if !enhanced && notification.error() == ErrorCode::INVALID_REFRESH_LENGTH => {
                Notification::bad_message_length(len)
            }
            Ok(_) | Err(_) => notification,
        }
    }

    /// A message that has no place in this phase, with its type as data (RFC 6608 §4).
    fn unexpected(&self, kind: u8) -> Notification {
        let error = match self.phase {
            Phase::OpenSent => ErrorCode::UNEXPECTED_IN_OPEN_SENT,
            Phase::OpenConfirm(_) => ErrorCode::UNEXPECTED_IN_OPEN_CONFIRM,
            Phase::Established(_) => ErrorCode::UNEXPECTED_IN_ESTABLISHED,
        };
        Notification::new(error, vec![kind])
    }
}

/// A connection that the peer opened while another one is established. It is not spoken to
/// until the established one has been probed: if the peer has restarted and its old connection
/// is dead, this one takes its place.
#[derive(Clone, Debug)]
pub(super) struct Challenger {
    pub(super) id: ConnId,
    /// What the peer has said so far.
    pub(super) said: Vec<u8>,
}

const fn tell(notification: Notification) -> Reaction {
    Reaction::End(Ending::Tell(notification))
}

/// What a ROUTE-REFRESH asks for. One for a family that was not negotiated is ignored (RFC 2918
/// §4), as are the marks of an enhanced refresh that was not, and unknown subtypes (RFC 7313 §5).
fn refreshed(refresh: wire::Refresh, terms: &Established) -> Reaction {
    let wire::Refresh { afi, subtype, safi } = refresh;
    if subtype > wire::Refresh::END {
        return Reaction::IgnoreRefresh(IgnoredRefresh::UnknownSubtype { afi, subtype, safi });
    }
    let family = refresh.family().filter(|family| terms.families.contains(*family));
    match (family, subtype) {
        (Some(family), wire::Refresh::REQUEST) => Reaction::Refresh(family),
        (Some(family), wire::Refresh::BEGIN) if terms.enhanced_refresh => {
            Reaction::RefreshBegin(family)
        }
        (Some(family), wire::Refresh::END) if terms.enhanced_refresh => {
            Reaction::RefreshEnd(family)
        }
        (Some(_) | None, _) => Reaction::Stay,
    }
}

/// The type octet (RFC 4271 §4.1, RFC 2918 §3).
const fn kind(message: &Message) -> u8 {
    match message {
        Message::Open(_) => TYPE_OPEN,
        Message::Update(_) => TYPE_UPDATE,
        Message::Notification(_) => 3,
        Message::Keepalive => 4,
        Message::Refresh(_) => 5,
    }
}
