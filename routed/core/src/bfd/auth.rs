//! Authentication of control packets: keyed SHA1, plain and meticulous (RFC 5880 §4.4, §6.7.4).
//!
//! In: packets that came in or are about to go out, the clock. Out: whether they are from somebody
//! who has the key and not played again; the same packets with their section.
//!
//! Passwords in the clear and MD5 are left out: who can choose either can choose this.

use std::time::{Duration, Instant};

use sha1::{Digest, Sha1};

use super::packet::{AUTHENTICATION, FLAGS_AT, Flaw, LEN, LENGTH_AT};

/// A key that both sides have.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: u8,
    secret: [u8; DIGEST_LEN],
    meticulous: bool,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a BFD key has 1 to {DIGEST_LEN} octets (RFC 5880 §4.4), this one {0}")]
pub struct BadKey(pub usize);

impl Key {
    /// A key with its number. A meticulous one (type 5) numbers every packet; a plain one (type 4)
    /// only those that say something new, so that the last one can be played again.
    ///
    /// # Errors
    ///
    /// [`BadKey`].
    pub fn new(id: u8, secret: &[u8], meticulous: bool) -> Result<Self, BadKey> {
        if secret.is_empty() || secret.len() > DIGEST_LEN {
            return Err(BadKey(secret.len()));
        }
        let mut padded = [0; DIGEST_LEN];
        padded[..secret.len()].copy_from_slice(secret);
        Ok(Self { id, secret: padded, meticulous })
    }

    /// What tells it from other keys without telling it: its number, whether it is meticulous, and
    /// the beginning of a digest.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest: [u8; DIGEST_LEN] = Sha1::digest(self.secret).into();
        let [a, b, ..] = digest;
        let kind = if self.meticulous { "meticulous SHA1" } else { "SHA1" };
        format!("{} ({kind}, {a:02x}{b:02x})", self.id)
    }

    const fn kind(&self) -> u8 {
        if self.meticulous { METICULOUS_KEYED_SHA1 } else { KEYED_SHA1 }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A packet that says that it is authenticated, whole.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'o> {
    pub(super) octets: &'o [u8],
}

/// What one session keeps of its sequence numbers.
#[derive(Clone, Debug)]
pub(super) struct Sequences {
    /// `bfd.XmitAuthSeq`.
    sent: u32,
    /// What was sent last, its section aside.
    said: Option<[u8; LEN]>,
    /// `bfd.RcvAuthSeq`, and until when it counts.
    received: Option<(u32, Instant)>,
}

impl Sequences {
    /// `first` should be random, so that a restart does not begin with numbers used before.
    pub(super) const fn new(first: u32) -> Self {
        Self { sent: first, said: None, received: None }
    }

    /// Adds the section to a packet.
    pub(super) fn seal(&mut self, key: &Key, packet: [u8; LEN]) -> Vec<u8> {
        if key.meticulous || self.said != Some(packet) {
            self.sent = self.sent.wrapping_add(1);
        }
        self.said = Some(packet);
        let mut octets = packet.to_vec();
        octets[FLAGS_AT] |= AUTHENTICATION;
        octets[LENGTH_AT] += SECTION_LEN;
        octets.extend([key.kind(), SECTION_LEN, key.id, 0]);
        octets.extend(self.sent.to_be_bytes());
        octets.extend(key.secret);
        let digest: [u8; DIGEST_LEN] = Sha1::digest(&octets).into();
        octets[DIGEST_AT..].copy_from_slice(&digest);
        octets
    }

    /// Verifies a packet, and remembers its number for twice the detection time.
    pub(super) fn verify(
        &mut self,
        key: &Key,
        sealed: Sealed<'_>,
        window: Window,
        now: Instant,
    ) -> Result<(), Flaw> {
        let Sealed { octets } = sealed;
        let section = &octets[LEN..];
        let [kind, length, id, ..] = *section else {
            return Err(Flaw::AuthenticationType(section[0]));
        };
        let right = kind == key.kind()
            && length == SECTION_LEN
            && section.len() == usize::from(SECTION_LEN);
        if !right {
            return Err(Flaw::AuthenticationType(kind));
        }
        if id != key.id {
            return Err(Flaw::KeyId(id));
        }
        let sequence = u32::from_be_bytes([section[4], section[5], section[6], section[7]]);
        self.received.take_if(|(_, until)| *until <= now);
        if let Some((last, _)) = self.received {
            let ahead = sequence.wrapping_sub(last);
            let least = u32::from(key.meticulous);
            if !(least..=window.packets).contains(&ahead) {
                return Err(Flaw::Sequence(sequence));
            }
        }
        let mut keyed = octets.to_vec();
        keyed[DIGEST_AT..].copy_from_slice(&key.secret);
        let digest: [u8; DIGEST_LEN] = Sha1::digest(&keyed).into();
        if !equal(&digest, &octets[DIGEST_AT..]) {
            return Err(Flaw::Digest);
        }
        self.received = Some((sequence, now + window.time));
        Ok(())
    }
}

/// How far sequence numbers may run ahead, and for how long the last one counts (§6.8.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Three times the detection multiplier.
    pub(super) packets: u32,
    /// Twice the detection time.
    pub(super) time: Duration,
}

/// Takes as long whatever differs.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

const KEYED_SHA1: u8 = 4;
const METICULOUS_KEYED_SHA1: u8 = 5;
const DIGEST_LEN: usize = 20;
const SECTION_LEN: u8 = 28;
const DIGEST_AT: usize = LEN + 8;
