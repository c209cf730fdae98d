//! From the RIB's reports to messages.

use bytes::Bytes;

use super::{CODEC, Peer, PeerDown};
use crate::{
    rib::{Monitored, Report},
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
        Report::Up(session) => Ok(vec![peer(session).up(&session.opening)]),
        Report::Down { session, why, at } => {
            Ok(vec![peer(session).down(&PeerDown::from(why), *at)])
        }
        Report::Routes { session, view, at, update } => {
            let peer = session.as_deref().map_or(*us, peer);
            let updates = encode(update, &CODEC)?;
            Ok(updates.iter().map(|update| peer.routes(*view, update, *at)).collect())
        }
    }
}

fn peer(session: &Monitored) -> Peer {
    let Monitored { address, asn, router_id, .. } = session;
    Peer { address: Some(*address), asn: *asn, router_id: *router_id }
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
