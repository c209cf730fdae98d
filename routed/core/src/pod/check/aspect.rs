//! What a check looks at, for showing the verdict of each.

use std::fmt;

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// `prevResult` and the daemon's record.
    Result,
    /// Both ends are there and belong together.
    Pair,
    /// Set up.
    Up,
    /// MTU of both ends.
    Mtu,
    /// Hardware addresses of both ends.
    Mac,
    /// The host's routes to the pod.
    HostRoutes,
    /// The host's neighbours.
    HostNeighbours,
    /// The host forwards.
    Forwarding,
    /// The host's end hears no router advertisements of the pod and makes itself no addresses.
    Advertisements,
    /// The rules let the pod send.
    Rules,
    /// The pod's addresses.
    Addresses,
    /// The pod's routes.
    Routes,
    /// The pod's neighbours.
    Neighbours,
}

impl Aspect {
    /// Every aspect, in the order of showing them.
    pub const ALL: [Self; 13] = [
        Self::Result,
        Self::Pair,
        Self::Up,
        Self::Mtu,
        Self::Mac,
        Self::HostRoutes,
        Self::HostNeighbours,
        Self::Forwarding,
        Self::Advertisements,
        Self::Rules,
        Self::Addresses,
        Self::Routes,
        Self::Neighbours,
    ];

    /// Is it put right when another program changes it?
    #[must_use]
    pub const fn is_watched(self) -> bool {
        match self {
            Self::Pair
            | Self::Up
            | Self::Mtu
            | Self::Mac
            | Self::HostRoutes
            | Self::HostNeighbours
            | Self::Forwarding
            | Self::Advertisements => true,
            // The rules are watched as a whole, see `Rules`.
            Self::Result | Self::Rules | Self::Addresses | Self::Routes | Self::Neighbours => false,
        }
    }

    /// Can it be seen in the pod's namespace only?
    #[must_use]
    pub const fn is_inside(self) -> bool {
        match self {
            Self::Addresses | Self::Routes | Self::Neighbours => true,
            Self::Result
            | Self::Pair
            | Self::Up
            | Self::Mtu
            | Self::Mac
            | Self::HostRoutes
            | Self::HostNeighbours
            | Self::Forwarding
            | Self::Advertisements
            | Self::Rules => false,
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Result => "result",
            Self::Pair => "pair",
            Self::Up => "up",
            Self::Mtu => "mtu",
            Self::Mac => "mac",
            Self::HostRoutes => "host routes",
            Self::HostNeighbours => "host neighbours",
            Self::Forwarding => "forwarding",
            Self::Advertisements => "advertisements",
            Self::Rules => "rules",
            Self::Addresses => "addresses",
            Self::Routes => "routes",
            Self::Neighbours => "neighbours",
        })
    }
}
