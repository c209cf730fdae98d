//! BGP roles: what two ASes are to each other, and the routes that must not leak between them
//! (RFC 9234).
//!
//! In: our role on a session, and the OTC attribute of a route. Out: whether the route may pass,
//! and the attribute that it has afterwards. Keeps no state; the RIB applies the rules.

use std::{fmt, str::FromStr};

use crate::aspath::Asn;

/// What one side of a session is to the other (RFC 9234 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sells transit to the other side.
    Provider,
    /// Is a route server to it.
    RouteServer,
    /// Is a client of its route server.
    RouteServerClient,
    /// Buys transit from it.
    Customer,
    /// Exchanges own and customers' routes with it.
    Peer,
}

impl Role {
    const ALL: [Self; 5] =
        [Self::Provider, Self::RouteServer, Self::RouteServerClient, Self::Customer, Self::Peer];

    /// The value of the capability (RFC 9234 §4.1).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Provider => 0,
            Self::RouteServer => 1,
            Self::RouteServerClient => 2,
            Self::Customer => 3,
            Self::Peer => 4,
        }
    }

    /// The role with this value, if it is assigned.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }

    /// What the other side must be (RFC 9234 §4.2).
    #[must_use]
    pub const fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::RouteServer => Self::RouteServerClient,
            Self::RouteServerClient => Self::RouteServer,
            Self::Customer => Self::Provider,
            Self::Peer => Self::Peer,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::RouteServer => "rs",
            Self::RouteServerClient => "rs-client",
            Self::Customer => "customer",
            Self::Peer => "peer",
        }
    }

    /// What becomes of a received route's OTC where this is our role (RFC 9234 §5, ingress). For
    /// unicast routes of external peers.
    ///
    /// # Errors
    ///
    /// [`RouteLeak`] if the route is not the peer's to announce to us; it must not be used.
    pub const fn receive(self, otc: Option<Asn>, peer_asn: Asn) -> Result<Option<Asn>, RouteLeak> {
        match (self, otc) {
            // From a customer or a client of our route server.
            (Self::Provider | Self::RouteServer, Some(otc)) => Err(RouteLeak { otc }),
            (Self::Provider | Self::RouteServer, None) => Ok(None),
            (Self::Peer, Some(otc)) if otc.0 != peer_asn.0 => Err(RouteLeak { otc }),
            // From a provider, a peer or a route server: it goes no further than to customers.
            (Self::Peer | Self::Customer | Self::RouteServerClient, Some(otc)) => Ok(Some(otc)),
            (Self::Peer | Self::Customer | Self::RouteServerClient, None) => Ok(Some(peer_asn)),
        }
    }

    /// The OTC with which a route is announced where this is our role (RFC 9234 §5, egress). For
    /// unicast routes to external peers.
    ///
    /// # Errors
    ///
    /// [`CustomersOnly`] if the route must not be announced.
    pub const fn send(
        self,
        otc: Option<Asn>,
        local_asn: Asn,
    ) -> Result<Option<Asn>, CustomersOnly> {
        match (self, otc) {
            // To a provider, a peer or a route server: only what came from none of these.
            (Self::Customer | Self::Peer | Self::RouteServerClient, Some(otc)) => {
                Err(CustomersOnly { otc })
            }
            (Self::Customer | Self::RouteServerClient, None) => Ok(None),
            // To a customer, a peer or a client of our route server: marked from here on.
            (Self::Peer | Self::Provider | Self::RouteServer, None) => Ok(Some(local_asn)),
            (Self::Provider | Self::RouteServer, Some(otc)) => Ok(Some(otc)),
        }
    }
}

/// The name used in configuration, tables and logs.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = BadRole;

    fn from_str(text: &str) -> Result<Self, BadRole> {
        let role = Self::ALL.into_iter().find(|role| role.name() == text);
        role.ok_or_else(|| BadRole(text.to_owned()))
    }
}

/// A route came from where it must not come from: it was passed on past the AS that had marked
/// it for customers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route leak: AS {otc} has marked it for customers only (RFC 9234 §5)")]
pub struct RouteLeak {
    /// The AS that marked it.
    pub otc: Asn,
}

/// A route goes no further up or sideways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("for customers only: AS {otc} has marked it so (RFC 9234 §5)")]
pub struct CustomersOnly {
    /// The AS that marked it.
    pub otc: Asn,
}

/// Text that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role; write provider, customer, peer, rs or rs-client (RFC 9234)")]
pub struct BadRole(String);

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Asn = Asn(65001);
    const OTHER: Asn = Asn(65009);
    const US: Asn = Asn(65000);

    #[test]
    fn rfc9234_4_2_roles_come_in_pairs_and_have_names() {
        for role in Role::ALL {
            assert_eq!(role.counterpart().counterpart(), role);
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(Role::from_code(role.code()), Some(role));
        }
        assert_eq!(Role::Provider.counterpart(), Role::Customer);
        assert_eq!(Role::RouteServer.counterpart(), Role::RouteServerClient);
        assert_eq!(Role::Peer.counterpart(), Role::Peer);
        assert_eq!(Role::from_code(5), None);
        assert!("upstream".parse::<Role>().is_err());
    }

    #[test]
    fn rfc9234_5_a_leaked_route_is_recognized_when_it_comes_in() {
        for role in [Role::Provider, Role::RouteServer] {
            assert_eq!(role.receive(Some(PEER), PEER), Err(RouteLeak { otc: PEER }));
            assert_eq!(role.receive(None, PEER), Ok(None));
        }
        assert_eq!(Role::Peer.receive(Some(OTHER), PEER), Err(RouteLeak { otc: OTHER }));
        assert_eq!(Role::Peer.receive(Some(PEER), PEER), Ok(Some(PEER)));
        assert_eq!(Role::Peer.receive(None, PEER), Ok(Some(PEER)));
        for role in [Role::Customer, Role::RouteServerClient] {
            assert_eq!(role.receive(None, PEER), Ok(Some(PEER)));
            assert_eq!(role.receive(Some(OTHER), PEER), Ok(Some(OTHER)));
        }
    }

    #[test]
    fn rfc9234_5_a_marked_route_goes_to_customers_only() {
        for role in [Role::Customer, Role::Peer, Role::RouteServerClient] {
            assert_eq!(role.send(Some(OTHER), US), Err(CustomersOnly { otc: OTHER }));
        }
        assert_eq!(Role::Customer.send(None, US), Ok(None));
        assert_eq!(Role::RouteServerClient.send(None, US), Ok(None));
        assert_eq!(Role::Peer.send(None, US), Ok(Some(US)));
        for role in [Role::Provider, Role::RouteServer] {
            assert_eq!(role.send(None, US), Ok(Some(US)));
            assert_eq!(role.send(Some(OTHER), US), Ok(Some(OTHER)));
        }
    }
}
