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
/// # Errors
///
/// [`EncodeError`] if the attributes of a route fit in no UPDATE whatever its length. Nothing is
/// told then.
pub fn report(report: &Report, us: &Peer) -> Result<Vec<Bytes>, EncodeError> {
    match report {
        Report::Up(session) => Ok(vec![Peer::from(&**session).up(&session.opening)]),
        Report::Down { session, why, at } => {
            Ok(vec![Peer::from(&**session).down(&PeerDown::from(why), *at)])
        }
        Report::Routes { session, view, at, update } => {
            let peer = session.as_deref().map_or(*us, Peer::from);
            let updates = encode(update, &codec(session.as_deref(), *view))?;
            Ok(updates.iter().map(|update| peer.routes(*view, update, *at)).collect())
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
        View::AdjRibOut => options.add_path_send,
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
