//! What runtimes ask and are told, between the RPC's documents and the pods' machine.
//!
//! In: an RPC request. Out: the machine's request, and the RPC's response to its reply. Here is
//! every CNI error code that the daemon gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    pin::Pin,
    time::Instant,
};

use bgp::prefix::Prefix;
use ipnetwork::IpNetwork;
use plugin::{
    cni::{AddResult, Error, Interface, Ip, Route, code},
    rpc,
};
use routed_core::{
    attachment::{AttachmentId, BadAttachment, PodName},
    ipam::{LeaseError, Wish},
    pod::{
        check::Expected,
        verb::{self, NotReady, PodError, Reply, Request},
        wiring::{Mac, Wiring, gateway},
    },
};

pub mod owed;
pub mod server;

/// Says which addresses pods get, where that is not in the node's own file.
pub trait Chooser: Send + Sync {
    /// What the pod of these `CNI_ARGS` shall get, or what its runtime is to be told.
    fn choose<'a>(&'a self, args: &'a BTreeMap<String, String>)
    -> Promise<'a, Result<Wish, Error>>;

    /// The use of addresses has changed.
    fn used(&self);

    /// There are too few addresses: whether there are more, which it waits for until then.
    fn more(&self, until: Instant) -> Promise<'_, bool>;
}

/// What somebody waits for.
pub type Promise<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What to ask the machine; `None` if there is nothing to ask, for DEL of what cannot exist.
///
/// # Errors
///
/// What the runtime is to be told if a name is not valid.
pub fn request(request: &rpc::Request) -> Result<Option<Request>, Error> {
    Ok(Some(match request {
        rpc::Request::Add(attach) => Request::Attach(verb::Attach {
            id: id(&attach.id)?,
            pod: pod_name(attach),
            wish: Wish {
                pools: attach.pool.iter().cloned().collect(),
                addresses: attach.ips.clone(),
                delegated: attach.delegated,
                ..Wish::default()
            },
            mac: attach.mac.map(Mac),
            mtu: attach.mtu,
            default_route: attach.default_route,
            destinations: attach.routes.iter().map(|prefix| destination(*prefix)).collect(),
        }),
        rpc::Request::Del(attachment) => match id(attachment) {
            Ok(id) => Request::Detach(id),
            Err(_) => return Ok(None),
        },
        rpc::Request::Check(check) => {
            let id = id(&check.id)?;
            let expected = expected(&check.prev_result, id.ifname());
            Request::Check(id, expected)
        }
        rpc::Request::Status => Request::Status,
        rpc::Request::Gc(gc) => {
            let valid = gc.valid.iter().filter_map(|(container_id, ifname)| {
                // What is not a valid name was never attached.
                AttachmentId::new(&gc.network, container_id, ifname).ok()
            });
            let valid: BTreeSet<_> = valid.collect();
            Request::Collect(verb::Collect { network: gc.network.clone(), valid })
        }
    }))
}

/// The path of the pod's namespace, for verbs that must come with its descriptor.
#[must_use]
pub fn netns_path(request: &rpc::Request) -> Option<&str> {
    match request {
        rpc::Request::Add(attach) => Some(&attach.netns),
        rpc::Request::Check(check) => Some(&check.netns),
        rpc::Request::Del(_) | rpc::Request::Status | rpc::Request::Gc(_) => None,
    }
}

/// What the plugin is told. `netns` is the path as the runtime gave it.
#[must_use]
pub fn response(reply: &Reply, netns: &str) -> rpc::Response {
    match reply {
        Reply::Attached(wiring) => rpc::Response::Added(result(wiring, netns)),
        Reply::Done => rpc::Response::Done,
        Reply::Failed(error) => rpc::Response::Error(failure(error)),
    }
}

/// An error document of ours.
#[must_use]
pub fn error(code: u32, msg: &str, details: &dyn Display) -> Error {
    Error { code, msg: msg.to_owned(), details: details.to_string() }
}

fn id(id: &rpc::AttachmentId) -> Result<AttachmentId, Error> {
    AttachmentId::new(&id.network, &id.container_id, &id.ifname).map_err(|bad| {
        let code = match bad {
            BadAttachment::Network(_) => code::INVALID_CONFIG,
            BadAttachment::Container(_) | BadAttachment::Ifname(_) | BadAttachment::Length(_) => {
                code::INVALID_ENVIRONMENT
            }
        };
        error(code, "a name is not valid", &bad)
    })
}

fn pod_name(attach: &rpc::Attach) -> Option<PodName> {
    let argument = |key| attach.args.get(key).cloned();
    let namespace = argument("K8S_POD_NAMESPACE")?;
    Some(PodName { namespace, name: argument("K8S_POD_NAME")? })
}

fn destination(prefix: IpNetwork) -> Prefix {
    Prefix::new(prefix.ip(), prefix.prefix()).expect("an IpNetwork's length fits its family")
}

/// What a `prevResult` says about one interface of the pod.
fn expected(result: &AddResult, ifname: &str) -> Expected {
    let inside = |interface: &Interface| {
        interface.sandbox.as_ref().is_some_and(|sandbox| !sandbox.is_empty())
    };
    let own = |interface: &Interface| interface.name == ifname && inside(interface);
    let Some(position) = result.interfaces.iter().position(own) else {
        return Expected::default();
    };
    let interface = &result.interfaces[position];
    // An address without interface can only be of the one that there is.
    let alone = result.interfaces.iter().filter(|interface| inside(interface)).count() == 1;
    let own = |ip: &&Ip| ip.interface.map_or(alone, |index| index == position);
    let ours = |route: &&Route| route.dst.prefix() > 0 && route.gw == Some(gateway(route.dst.ip()));
    Expected {
        listed: true,
        mac: interface.mac.as_ref().and_then(|mac| mac.to_lowercase().parse().ok()),
        mtu: interface.mtu,
        addresses: result.ips.iter().filter(own).map(|ip| ip.address.ip()).collect(),
        destinations: result.routes.iter().filter(ours).map(|to| destination(to.dst)).collect(),
        tells_mtu: result.interfaces.iter().any(|interface| interface.mtu.is_some()),
    }
}

fn result(wiring: &Wiring, netns: &str) -> AddResult {
    let host = Interface {
        name: wiring.host.name.clone(),
        mac: Some(wiring.host.mac.to_string()),
        mtu: Some(wiring.mtu),
        sandbox: None,
    };
    let inside = Interface {
        name: wiring.inside.name.clone(),
        mac: Some(wiring.inside.mac.to_string()),
        mtu: Some(wiring.mtu),
        sandbox: Some(netns.to_owned()),
    };
    let ips = wiring.lease.iter().map(|address| Ip {
        address: IpNetwork::from(address),
        gateway: Some(gateway(address)),
        interface: Some(1),
    });
    let mut routes = Vec::new();
    for address in wiring.lease.iter() {
        let gateway = gateway(address);
        if gateway.is_ipv4() {
            let dst = IpNetwork::from(gateway);
            routes.push(Route { dst, gw: None, mtu: None, scope: Some(SCOPE_LINK) });
        }
        let own = |to: &&Prefix| to.addr().is_ipv4() == address.is_ipv4();
        for to in wiring.destinations.iter().filter(own) {
            routes.push(Route {
                dst: IpNetwork::from(*to),
                gw: Some(gateway),
                mtu: None,
                scope: None,
            });
        }
        if wiring.default_route {
            let everything = if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            let dst = everything.parse().expect("both are prefixes");
            routes.push(Route { dst, gw: Some(gateway), mtu: None, scope: None });
        }
    }
    AddResult { interfaces: vec![host, inside], ips: ips.collect(), routes, ..AddResult::default() }
}

fn failure(failed: &PodError) -> Error {
    let (code, msg) = match failed {
        PodError::Lease(LeaseError::Exhausted { wait: Some(_), .. }) => {
            (code::TRY_AGAIN, "no free address in the pools yet")
        }
        PodError::Lease(LeaseError::Exhausted { wait: None, .. }) => {
            (code::POOL_EXHAUSTED, "no free address in the pools")
        }
        PodError::Lease(
            LeaseError::OutsidePools { .. }
            | LeaseError::Reserved { .. }
            | LeaseError::Taken { .. }
            | LeaseError::TwoOfOneFamily(_)
            | LeaseError::Differs { .. },
        ) => (code::ADDRESS_REFUSED, "the requested address cannot be had"),
        PodError::Lease(LeaseError::UnknownPool { .. }) => {
            (code::INVALID_CONFIG, "the network's pool does not exist")
        }
        PodError::AlreadyAttached { .. } => {
            (code::ALREADY_ATTACHED, "the pod is attached already, and differs")
        }
        PodError::IfnameTaken(_) => {
            (code::ALREADY_ATTACHED, "the pod has an interface of that name already")
        }
        PodError::Mtu { .. } | PodError::Mac(_) | PodError::RouteWithoutAddress(_) => {
            (code::INVALID_CONFIG, "the pod's interface cannot be made as asked")
        }
        PodError::HostNamespace | PodError::Namespace(_) => {
            (code::INVALID_ENVIRONMENT, "CNI_NETNS is not a pod's network namespace")
        }
        PodError::HostLinkTaken { .. }
        | PodError::Ipv6Off(_)
        | PodError::Guard(_)
        | PodError::Nat(_)
        | PodError::NatMissing
        | PodError::Refused { .. } => {
            (code::KERNEL_REFUSED, "the kernel refused to make the pod's network")
        }
        PodError::Netlink(_) => (code::TRY_AGAIN, "the kernel did not answer"),
        PodError::Unknown(_) => (code::UNKNOWN_CONTAINER, "the container is not attached"),
        PodError::Differs(_) => (code::CHECK_FAILED, "the pod's network is not as ADD made it"),
        PodError::NotCollected(_) => {
            (code::KERNEL_REFUSED, "not every stale attachment could be removed")
        }
        PodError::NotReady(NotReady::Starting) => {
            (code::NOT_AVAILABLE, "pods cannot be attached yet")
        }
        PodError::NotReady(NotReady::Isolated) => {
            (code::LIMITED_CONNECTIVITY, "the node is cut off from the fabric")
        }
    };
    error(code, msg, failed)
}

/// RT_SCOPE_LINK.
const SCOPE_LINK: u8 = 253;

#[cfg(test)]
mod tests;
