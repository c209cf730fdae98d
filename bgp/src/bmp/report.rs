//! From the RIB's reports to messages.

use bytes::Bytes;

use super::{CODEC, Peer, PeerDown};
use crate::{
    family::FamilySet,
    rib::{Monitored, Report, View},
    wire::{Codec, EncodeError, MAX_EXTENDED_LEN, Update},
};

/// The messages that tell a report; `us` is this router, whose the Loc-RIB is.
///
/// Routes whose attributes fit in no UPDATE whatever its length are withdrawn, since the station
/// must not go on with what they were before; the error says why.
#[must_use]
pub fn report(report: &Report, us: &Peer) -> (Vec<Bytes>, Option<EncodeError>) {
    match report {
        Report::Up(session) => (vec![Peer::from(&**session).up(&session.opening)], None),
        Report::Down { session, why, at } => {
            (vec![Peer::from(&**session).down(&PeerDown::from(why), *at)], None)
        }
        Report::Routes { session, view, at, update } => {
            let peer = session.as_deref().map_or(*us, Peer::from);
            let codec = codec(session.as_deref(), *view);
            let (updates, error) = match encode(update, &codec) {
                Ok(updates) => (updates, None),
                Err(error) => (withdrawal(update, &codec), Some(error)),
            };
            (updates.iter().map(|update| peer.routes(*view, update, *at)).collect(), error)
        }
    }
}

impl From<&Monitored> for Peer {
    fn from(session: &Monitored) -> Self {
        let Monitored { address, asn, router_id, .. } = session;
        Self { address: Some(*address), asn: *asn, router_id: *router_id }
    }
}

/// Prefixes have path identifiers where they have them between us and the peer: the OPENs that
/// the station was told say so.
fn codec(session: Option<&Monitored>, view: View) -> Codec {
    let options = session.map(|session| session.options).unwrap_or_default();
    let add_path_send = match view {
        View::PrePolicy | View::PostPolicy => options.add_path_receive,
        View::AdjRibOutPrePolicy | View::AdjRibOut => options.add_path_send,
        View::LocRib => FamilySet::NONE,
    };
    Codec { add_path_send, ..CODEC }
}

/// As few messages as can be, each of the usual length if the attributes allow it.
fn encode(update: &Update, codec: &Codec) -> Result<Vec<Bytes>, EncodeError> {
    match update.encode(codec) {
        Err(EncodeError::TooLong { .. }) => {
            update.encode(&Codec { max_send_len: MAX_EXTENDED_LEN, ..*codec })
        }
        outcome => outcome,
    }
}

/// What an UPDATE withdraws, and what it announces withdrawn as well.
fn withdrawal(update: &Update, codec: &Codec) -> Vec<Bytes> {
    let announced = update.reach.iter().flat_map(|reach| &reach.prefixes);
    let gone: Vec<_> = update.withdrawn.iter().chain(announced).copied().collect();
    Update::encode_withdraw(&gone, codec)
}
