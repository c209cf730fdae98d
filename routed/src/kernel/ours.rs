//! Everything in this network namespace that is ours, found without a daemon, and removed.
//!
//! In: the kernel's interfaces, routes and tables. Out: what bears our marks: link group and alias,
//! route protocol numbers, the names of our nftables tables. What does not is not even listed.

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteMessage, RouteProtocol},
};
use routed_core::{
    attachment::LINK_PREFIX,
    fib::next_hop::{NextHopObject, Object},
    pod::{
        adopt::{Found, recognize},
        step::{GROUP_DOOMED, GROUP_LIVE},
        wiring::RouteStamp,
    },
};

use super::{
    netlink::{Netlink, NetlinkError, Request},
    nft::NftError,
    pods::{
        self,
        guard::{self, Guard},
        nat::{self, Nat},
        sweeping,
    },
    routes::{self, next_hop},
};

/// What there is.
#[derive(Debug)]
pub struct Ours {
    netlink: Netlink,
    /// Names of pods' interfaces on the host.
    pub links: Vec<String>,
    /// Interfaces in our link group that are not understood; they stay.
    pub strange: Vec<String>,
    routes: Vec<RouteMessage>,
    next_hops: Vec<NextHopObject>,
    guard: Guard,
    nat: Nat,
    /// Names of our nftables tables that are there.
    pub tables: Vec<&'static str>,
}

/// Why it cannot be listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Interfaces or routes.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The table.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// The kernel keeps something.
    #[error("{what} cannot be removed: {reason}")]
    Kept {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
}

impl Ours {
    /// Looks for interfaces, the table, and routes with one of these protocol numbers.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn find(protocols: &[u8]) -> Result<Self, Error> {
        let mut netlink = Netlink::open()?;
        let (mut links, mut strange) = (Vec::new(), Vec::new());
        // Where the routes go says nothing about whose an interface is.
        let stamp = RouteStamp { table: 0, protocol: 0, learned: 0 };
        for link in pods::interfaces()? {
            match recognize(&link, stamp) {
                Some(Found::Pod(_) | Found::Doomed(_) | Found::Leftover { .. }) => {
                    links.push(link.name);
                }
                // One of which only the alias was damaged is ours all the same.
                Some(Found::Unreadable { name, .. }) if name.starts_with(LINK_PREFIX) => {
                    links.push(name);
                }
                Some(Found::Unreadable { name, .. }) => strange.push(name),
                None => {}
            }
        }
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut all = RouteMessage::default();
            all.header.address_family = family;
            for message in netlink.dump(&RouteNetlinkMessage::GetRoute(all))? {
                if let RouteNetlinkMessage::NewRoute(route) = message
                    && protocols.contains(&number(route.header.protocol))
                {
                    routes.push(route);
                }
            }
        }
        let mut next_hops = routes::next_hops(&mut netlink)?.unwrap_or_default();
        next_hops.retain(|object| protocols.contains(&object.protocol));
        // Groups before what they are made of.
        next_hops.sort_by_key(|object| !matches!(object.object, Object::Group(_)));
        let mut guard = Guard::open()?;
        let mut nat = Nat::open()?;
        let tables = [(guard::NAME, guard.is_there()?), (nat::NAME, nat.is_there()?)];
        let tables = tables.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
        Ok(Self { netlink, links, strange, routes, next_hops, guard, nat, tables })
    }

    /// The routes, as people write them.
    pub fn routes(&self) -> impl Iterator<Item = String> {
        self.routes.iter().map(text)
    }

    /// Next-hop objects, by number.
    pub fn next_hops(&self) -> impl Iterator<Item = String> {
        self.next_hops.iter().map(|object| format!("{} proto {}", object.id, object.protocol))
    }

    /// Removes routes first, so that nothing leads to what goes next.
    ///
    /// # Errors
    ///
    /// [`Error`] with the first that cannot be removed; all others are.
    pub fn remove(mut self) -> Result<(), Error> {
        let requests: Vec<_> =
            self.routes.iter().map(|route| Request::existing(delete(route))).collect();
        let kept = self.netlink.apply(&requests)?;
        let gone = |errno| matches!(errno, nix::errno::Errno::ESRCH | nix::errno::Errno::ENOENT);
        let kept =
            kept.into_iter().find(|refusal| !gone(refusal.errno)).map(|refusal| Error::Kept {
                what: format!("route {}", text(&self.routes[refusal.index])),
                reason: refusal.to_string(),
            });
        let next_hops = self.next_hops.iter().map(|object| next_hop::deletion(object.id));
        let refusals = self.netlink.apply(&next_hops.map(Request::existing).collect::<Vec<_>>())?;
        let next_hops = refusals.into_iter().find(|refusal| !gone(refusal.errno));
        let next_hops = next_hops.map(|refusal| Error::Kept {
            what: format!("next-hop object {}", self.next_hops[refusal.index].id),
            reason: refusal.to_string(),
        });
        self.guard.lift()?;
        self.nat.lift()?;
        let links = sweeping(&self.links);
        let refusals = self.netlink.apply(&links)?;
        let missing = |errno| errno == nix::errno::Errno::ENODEV;
        let links = refusals.into_iter().find(|refusal| !missing(refusal.errno));
        let links = links.map(|refusal| Error::Kept {
            what: format!("interfaces of the groups {GROUP_LIVE} and {GROUP_DOOMED}"),
            reason: refusal.to_string(),
        });
        kept.or(next_hops).or(links).map_or(Ok(()), Err)
    }
}

/// The request that deletes exactly this route.
fn delete(route: &RouteMessage) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header = route.header.clone();
    message.header.flags = netlink_packet_route::route::RouteFlags::empty();
    let names_group = |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::NhId(_));
    let by_group = route.attributes.iter().any(names_group);
    let identifies = |attribute: &&RouteAttribute| match attribute {
        RouteAttribute::Destination(_)
        | RouteAttribute::Table(_)
        | RouteAttribute::Priority(_)
        | RouteAttribute::NhId(_) => true,
        // Of a route that names a group the kernel may list the hops too, and takes one or the other.
        RouteAttribute::Oif(_)
        | RouteAttribute::Gateway(_)
        | RouteAttribute::Via(_)
        | RouteAttribute::MultiPath(_) => !by_group,
        _ => false,
    };
    message.attributes = route.attributes.iter().filter(identifies).cloned().collect();
    RouteNetlinkMessage::DelRoute(message)
}

fn text(route: &RouteMessage) -> String {
    let to = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(to) => pods::address(to),
        _ => None,
    });
    let to = to.map_or_else(
        || "default".to_owned(),
        |to| format!("{to}/{}", route.header.destination_prefix_length),
    );
    format!("{to} proto {}", number(route.header.protocol))
}

fn number(protocol: RouteProtocol) -> u8 {
    protocol.into()
}
