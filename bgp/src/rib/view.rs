//! Which of the RIBs somebody looks into.

use std::fmt;

/// A view into the RIBs of a router, as a monitoring station sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// What a peer has announced, before import policy (RFC 7854 §5).
    PrePolicy,
    /// What import policy has let in of it, with the policy's changes (RFC 7854 §5).
    PostPolicy,
    /// The best path of each prefix (RFC 9069).
    LocRib,
    /// What export policy is asked about for a peer, before it has changed anything (RFC 8671).
    AdjRibOutPrePolicy,
    /// What a peer is told, after export policy (RFC 8671).
    AdjRibOut,
}

impl View {
    /// Every view, in the order in which a station is told.
    pub const ALL: [Self; 5] = [
        Self::PrePolicy,
        Self::PostPolicy,
        Self::LocRib,
        Self::AdjRibOutPrePolicy,
        Self::AdjRibOut,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The name used in configuration and tables.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrePolicy => "pre-policy",
            Self::PostPolicy => "post-policy",
            Self::LocRib => "loc-rib",
            Self::AdjRibOutPrePolicy => "adj-rib-out-pre-policy",
            Self::AdjRibOut => "adj-rib-out",
        })
    }
}

/// A set of views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ViewSet(u8);

impl ViewSet {
    /// Is it in?
    #[must_use]
    pub const fn contains(self, view: View) -> bool {
        self.0 & view.bit() != 0
    }

    /// Those in the set, in the order of [`View::ALL`].
    pub fn iter(self) -> impl Iterator<Item = View> {
        View::ALL.into_iter().filter(move |view| self.contains(*view))
    }
}

impl FromIterator<View> for ViewSet {
    fn from_iter<I: IntoIterator<Item = View>>(views: I) -> Self {
        Self(views.into_iter().fold(0, |set, view| set | view.bit()))
    }
}
