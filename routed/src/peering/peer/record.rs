//! What the peer's task hands to the recorder: messages as they came and went, and changes of the
//! session's state.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::SystemTime,
};

use bgp::{
    aspath::Asn,
    config::PeerAs,
    mrt::{Conversation, Said},
    session::{ConnId, Established, StateChange},
    wire::{self, Codec, MAX_EXTENDED_LEN},
};

use super::PeerTask;
use crate::{
    config::Peer,
    mrt::{Recorder, Wanted},
};

/// One peer's side of the recorder.
pub(super) struct Tape {
    recorder: Recorder,
    /// Of the configuration by which `wanted` was worked out.
    generation: u64,
    wanted: Wanted,
    /// How the session's UPDATEs are written; that of the last session.
    codec: Codec,
    /// The peer's AS, once a session has told it.
    peer_asn: Option<Asn>,
}

impl Tape {
    pub(super) const fn new(recorder: Recorder) -> Self {
        let wanted = Wanted { received: false, sent: false, states: false };
        Self { recorder, generation: 0, wanted, codec: Codec::PLAIN, peer_asn: None }
    }

    /// The session is established.
    pub(super) fn up(&mut self, established: &Established) {
        self.codec = established.codec;
        self.peer_asn = Some(established.peer_asn);
    }

    /// The settings have changed: the name may be another.
    pub(super) const fn look_again(&mut self) {
        self.generation = 0;
    }
}

impl PeerTask {
    /// Has the session give what is to be recorded, if that has changed.
    pub(super) fn follow_recorder(&mut self) {
        let generation = self.tape.recorder.generation();
        if generation == self.tape.generation {
            return;
        }
        self.tape.generation = generation;
        let Peer { name, membership, .. } = &*self.settings;
        let group = membership.as_ref().map(|membership| &*membership.group);
        let names: Vec<&str> = group.into_iter().chain([&**name]).collect();
        self.tape.wanted = self.tape.recorder.wanted(&names);
        self.session.record(self.tape.wanted.received);
    }

    /// The peer has said this.
    pub(super) fn record_heard(&self, conn: ConnId, message: &[u8], codec: &Codec) {
        if let Some(conversation) = self.conversation(Some(conn)) {
            let said = Said::by_peer(message, codec);
            let record = conversation.heard(message, said, SystemTime::now().into());
            self.tape.recorder.push(record);
        }
    }

    /// We have said this: one message, or several.
    pub(super) fn record_told(&self, conn: ConnId, mut octets: &[u8]) {
        if self.tape.wanted.sent
            && let Some(conversation) = self.conversation(Some(conn))
        {
            while let Ok(Some(len)) = wire::frame_len(octets, MAX_EXTENDED_LEN)
                && let Some((message, rest)) = octets.split_at_checked(len)
            {
                octets = rest;
                let said = Said::by_us(message, &self.tape.codec);
                let record = conversation.told(message, said, SystemTime::now().into());
                self.tape.recorder.push(record);
            }
        }
    }

    pub(super) fn record_state(&self, change: &StateChange) {
        let conn = self.conns.first().map(|conn| conn.id);
        if self.tape.wanted.states
            && let Some(conversation) = self.conversation(conn)
        {
            let record = conversation.state(change.from, change.to, SystemTime::now().into());
            self.tape.recorder.push(record);
        }
    }

    /// Who talks with whom; `None` as long as it is not known where the peer is.
    fn conversation(&self, conn: Option<ConnId>) -> Option<Conversation> {
        let conn = conn.and_then(|id| self.conns.iter().find(|conn| conn.id == id));
        let ends = conn.and_then(|conn| {
            let stream = conn.stream();
            Some((stream.peer_addr().ok()?.ip(), stream.local_addr().ok()?.ip()))
        });
        let (peer, local) = match ends {
            Some(ends) => ends,
            None => {
                let peer = self.peer_address()?.ip();
                (peer, self.settings.local_address.unwrap_or_else(|| unspecified(peer)))
            }
        };
        let session = &self.settings.session;
        let configured = match &session.peer_asn {
            PeerAs::Exact(asn) => Some(*asn),
            PeerAs::Internal => Some(session.local_asn),
            PeerAs::External | PeerAs::OneOf(_) => None,
        };
        let peer_asn = configured.or(self.tape.peer_asn).unwrap_or(Asn(0));
        Some(Conversation { peer_asn, local_asn: session.local_asn, peer, local })
    }
}

const fn unspecified(of_family: IpAddr) -> IpAddr {
    match of_family {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
