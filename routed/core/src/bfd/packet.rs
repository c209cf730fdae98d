//! BFD control packets as octets (RFC 5880 §4.1).
//!
//! In: the payload of a datagram. Out: what it says, or why it must be dropped in silence
//! (§6.8.6), as far as that shows without knowing the session. And the other way.

use std::fmt;

use super::auth::Sealed;

/// Where a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Switched off by an operator.
    AdminDown,
    /// Nothing is heard of the other side, or it is down as well.
    #[default]
    Down,
    /// The other side is heard; whether it hears us is not known yet.
    Init,
    /// Both hear each other.
    Up,
}

/// Why a session left [`State::Up`] last (§4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// No reason.
    pub const NONE: Self = Self(0);
    /// Nothing was heard for the detection time.
    pub const EXPIRED: Self = Self(1);
    /// The other side said that it is down.
    pub const NEIGHBOR_DOWN: Self = Self(3);
    /// Whatever is below the session said so.
    pub const PATH_DOWN: Self = Self(5);
    /// An operator did it.
    pub const ADMIN_DOWN: Self = Self(7);

    /// Its number on the wire, 0–31.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbor signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            9 => "mis-connectivity defect",
            other => return write!(f, "diagnostic {other}"),
        };
        f.write_str(name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        })
    }
}

/// What a control packet says, its authentication aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's session left Up last.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// The sender wants an answer with the F bit (§6.5).
    pub poll: bool,
    /// This is the answer to a poll.
    pub r#final: bool,
    /// The sender's BFD does not share the fate of its control plane (the C bit).
    pub control_plane_independent: bool,
    /// The sender asks us to send nothing of our own accord while both are Up (§6.6).
    pub demand: bool,
    /// Packets in a row that may be lost: 1–255.
    pub detect_mult: u8,
    /// The sender's name for the session; never 0.
    pub my_discriminator: u32,
    /// Our name for it; 0: not known to the sender.
    pub your_discriminator: u32,
    /// Least time between two packets of the sender that it would like, in microseconds.
    pub desired_min_tx: u32,
    /// Least time between two packets of ours that it can take, in microseconds; 0: none at all.
    pub required_min_rx: u32,
    /// The same for echo packets; 0: none, as with us.
    pub required_min_echo_rx: u32,
}

/// Why a packet is dropped (RFC 5880 §6.8.6; its authentication: §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Fewer octets than the packet has at least, or than it says.
    #[error("cut short after {0} octets")]
    CutShort(usize),
    /// Version 1 is the only one.
    #[error("BFD version {0} instead of 1")]
    Version(u8),
    /// A length that cannot be.
    #[error("length field {0}")]
    Length(u8),
    /// Must not be 0.
    #[error("detection time multiplier 0")]
    DetectMult,
    /// Point-to-multipoint is another protocol.
    #[error("multipoint bit set")]
    Multipoint,
    /// Must not be 0.
    #[error("the sender's discriminator is 0")]
    MyDiscriminator,
    /// Only those who are down may not know ours.
    #[error("our discriminator is 0 in state {0}")]
    YourDiscriminator(State),
    /// It names no session, or not this one.
    #[error("our discriminator {0} names no session")]
    NoSession(u32),
    /// §6.8.6 tells to drop it: our side is switched off.
    #[error("the session is administratively down")]
    AdminDown,
    /// One side authenticates and the other does not.
    #[error("{}", if *.0 { "authenticated, but the session has no key" } else { "not authenticated" })]
    Authentication(bool),
    /// Another type than agreed on, or a malformed section.
    #[error("authentication type {0} or its section is not what was agreed on")]
    AuthenticationType(u8),
    /// Another key.
    #[error("authentication key {0} is not known")]
    KeyId(u8),
    /// Old or from somebody else.
    #[error("sequence number {0} is outside of the window")]
    Sequence(u32),
    /// Forged or damaged, or the keys differ.
    #[error("wrong digest: do both sides have the same key?")]
    Digest,
}

impl Packet {
    /// Reads a packet, and where its authentication is.
    ///
    /// # Errors
    ///
    /// [`Flaw`].
    pub fn read(octets: &[u8]) -> Result<(Self, Option<Sealed<'_>>), Flaw> {
        let Some((head, _)) = octets.split_first_chunk::<LEN>() else {
            return Err(Flaw::CutShort(octets.len()));
        };
        let [first, flags, detect_mult, length, ..] = *head;
        if first >> 5 != VERSION {
            return Err(Flaw::Version(first >> 5));
        }
        let authenticated = flags & AUTHENTICATION != 0;
        let least = if authenticated { LEN + 2 } else { LEN };
        if usize::from(length) < least {
            return Err(Flaw::Length(length));
        }
        let octets = octets.get(..length.into()).ok_or(Flaw::CutShort(octets.len()))?;
        if detect_mult == 0 {
            return Err(Flaw::DetectMult);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Flaw::Multipoint);
        }
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let packet = Self {
            diagnostic: Diagnostic(first & 0x1f),
            state: [State::AdminDown, State::Down, State::Init, State::Up][usize::from(flags >> 6)],
            poll: flags & POLL != 0,
            r#final: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            detect_mult,
            my_discriminator: word(4),
            your_discriminator: word(8),
            desired_min_tx: word(12),
            required_min_rx: word(16),
            required_min_echo_rx: word(20),
        };
        packet.names_are_right()?;
        let sealed = authenticated.then_some(Sealed { octets });
        Ok((packet, sealed))
    }

    const fn names_are_right(&self) -> Result<(), Flaw> {
        if self.my_discriminator == 0 {
            return Err(Flaw::MyDiscriminator);
        }
        match self.state {
            State::Init | State::Up if self.your_discriminator == 0 => {
                Err(Flaw::YourDiscriminator(self.state))
            }
            _ => Ok(()),
        }
    }

    /// The packet without authentication.
    #[must_use]
    pub fn write(&self) -> [u8; LEN] {
        let flags = [
            (self.poll, POLL),
            (self.r#final, FINAL),
            (self.control_plane_independent, CONTROL_PLANE_INDEPENDENT),
            (self.demand, DEMAND),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, bit)| all | bit);
        let state = match self.state {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        };
        let mut octets = [0; LEN];
        octets[0] = VERSION << 5 | self.diagnostic.0;
        octets[1] = state << 6 | flags;
        octets[2] = self.detect_mult;
        octets[LENGTH_AT] = LENGTH;
        let words = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (place, word) in octets[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        octets
    }
}

/// Octets of a packet without authentication.
pub const LEN: usize = LENGTH as usize;
const LENGTH: u8 = 24;
/// Where the length is.
pub(super) const LENGTH_AT: usize = 3;
/// Where the flags are.
pub(super) const FLAGS_AT: usize = 1;
const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
/// The A bit.
pub(super) const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;
