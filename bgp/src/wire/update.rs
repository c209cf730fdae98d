//! UPDATE (RFC 4271 §4.3) with multiprotocol reachability (RFC 4760).
//!
//! In: the body of a received UPDATE, or routes to announce. Out: what the peer says after all
//! error handling (RFC 7606), or as few messages as the routes fit in.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    attrs::Attrs,
    family::Family,
    wire::{Codec, EncodeError, Fault, Nlri},
};

mod decode;
mod encode;
#[cfg(test)]
mod tests;

/// What an UPDATE says, after error handling: prefixes of a treated-as-withdrawn message
/// already stand in `withdrawn`.
///
/// A prefix both withdrawn and announced in one message is announced (RFC 4271 §4.3), so
/// readers apply `withdrawn` first, then `reach`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Withdrawn prefixes of both families.
    pub withdrawn: Vec<Nlri>,
    /// Announcements: of MP_REACH_NLRI first, then of the NLRI field. Both may be IPv4, so a
    /// family can stand here twice; the later one counts.
    pub reach: Vec<Reach>,
    /// The family whose initial transfer this message ends (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// What was wrong with the message and contained, for counters and the log.
    pub faults: Vec<Fault>,
    /// The whole message as it came, header included, if it has faults: operators must be able to
    /// find out whose they are (RFC 7606 §6).
    pub flawed: Option<Bytes>,
}

/// Prefixes of one family that share their attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Family of all the prefixes.
    pub family: Family,
    /// Their attributes.
    pub attrs: Arc<Attrs>,
    /// The prefixes, in message order.
    pub prefixes: Vec<Nlri>,
}

impl Update {
    /// The messages that say this: withdrawals, announcements, End-of-RIB, each as
    /// [`Self::encode_withdraw`], [`Self::encode_reach`] and [`Self::encode_end_of_rib`] write
    /// them. Faults and what had them are not written.
    ///
    /// # Errors
    ///
    /// As [`Self::encode_reach`].
    pub fn encode(&self, codec: &Codec) -> Result<Vec<Bytes>, EncodeError> {
        let mut messages = Self::encode_withdraw(&self.withdrawn, codec);
        for reach in &self.reach {
            messages.extend(Self::encode_reach(&reach.attrs, &reach.prefixes, codec)?);
        }
        messages.extend(self.end_of_rib.map(Self::encode_end_of_rib));
        Ok(messages)
    }
}
