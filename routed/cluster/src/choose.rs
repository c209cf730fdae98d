//! Which pools and addresses a pod gets.
//!
//! In order of weight: the pod's annotations, a reservation that the pod owns, the annotation of its
//! namespace, the selectors of the pools.

use std::net::IpAddr;

use bgp::family::Family;
use routed_api::{IPReservation, Owner};

use crate::{
    Block, Objects,
    wanted::pools::{Usable, usable},
};

/// Pools for a pod or a namespace: names, in the order in which they are tried.
pub const POOLS: &str = "slash32.dev/ippools";
/// Addresses for a pod: at most one of each family.
pub const ADDRESSES: &str = "slash32.dev/ip-addresses";

/// Which pools and addresses a pod gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Names of pools, in the order in which they are tried. None: the ranges of the node itself, since
    /// there is no pool for it.
    pub pools: Vec<String>,
    /// Families that it must get an address of, even if the node has no block of theirs yet.
    pub families: Vec<Family>,
    /// Exactly these, at most one of each family; of the other family one by chance.
    pub addresses: Vec<IpAddr>,
}

/// Which pools and addresses a pod of this node, which has these blocks, gets; `pod` is `namespace/name`.
/// One that is not known gets what its namespace and its name give it: whoever can should wait for its
/// object.
///
/// No two nodes give one address: it is of a block of this node, whose book has it once, or it is kept
/// for this very pod, of which the API server has one object on one node.
///
/// # Errors
///
/// What the pod or its namespace asks for cannot be had, with the remedy.
pub fn choose(
    objects: &Objects,
    node: &str,
    blocks: &[Block],
    pod: &str,
) -> Result<Choice, String> {
    let Some((namespace, name)) = pod.split_once('/') else {
        return Err(format!("{pod:?} is no pod; write NAMESPACE/NAME"));
    };
    let annotation = |key| objects.pods.get(pod).and_then(|pod| pod.annotations.get(key));
    let space = objects.namespaces.get(namespace);
    let (usable, _) = usable(objects);
    let own = objects.nodes.get(node);
    let of_pod = annotation(POOLS).map(|text| (text, format!("Pod {pod}")));
    let of_space = || {
        let text = space?.annotations.get(POOLS)?;
        Some((text, format!("Namespace {namespace}")))
    };
    let given: Vec<&Usable<'_>> =
        usable.iter().filter(|pool| pool.is_for(own) && !pool.spec.disabled).collect();
    let pools = match of_pod.or_else(of_space) {
        Some((text, who)) => named(text, &who, &usable, &given)?,
        None => {
            let none = std::collections::BTreeMap::new();
            let labels = space.map_or(&none, |space| &space.labels);
            let takes = |pool: &&Usable<'_>| {
                pool.spec.namespace_selector.as_ref().map(|selector| selector.matches(labels))
            };
            // Those that are meant for the namespace come before those that are for all.
            let meant = given.iter().copied().filter(|pool| takes(pool) == Some(true));
            let open = given.iter().copied().filter(|pool| takes(pool).is_none());
            let pools: Vec<_> = meant.chain(open).collect();
            if pools.is_empty() && usable.iter().any(|pool| pool.is_for(own)) {
                return Err(format!(
                    "no IPPool of node {node} is for namespace {namespace}: each is disabled or has a \
                     namespaceSelector that does not select it; add a pool, or name one in the \
                     annotation {POOLS}"
                ));
            }
            pools
        }
    };
    let addresses = match annotation(ADDRESSES) {
        Some(text) => requested(objects, text, (namespace, name), &usable, blocks)?,
        None => reserved(objects, (namespace, name)),
    };
    // One of its family is asked for, so that nothing else comes from the pool of it.
    let mut pools = pools;
    for address in &addresses {
        let of_it = usable.iter().find(|pool| pool.cidr.contains(*address));
        pools.extend(of_it.filter(|pool| !pools.iter().any(|known| known.name == pool.name)));
    }
    let has = |family: &Family| pools.iter().any(|pool| pool.cidr.family() == *family);
    Ok(Choice {
        families: Family::ALL.into_iter().filter(has).collect(),
        pools: pools.into_iter().map(|pool| pool.name.to_owned()).collect(),
        addresses,
    })
}

/// The pools that an annotation names.
fn named<'u>(
    text: &str,
    who: &str,
    usable: &[Usable<'_>],
    given: &[&'u Usable<'u>],
) -> Result<Vec<&'u Usable<'u>>, String> {
    let wrong = |what: &str| format!("{who}, annotation {POOLS}: {what}");
    let names = list(text).map_err(|what| wrong(&what))?;
    let find = |name: &String| {
        let found = given.iter().copied().find(|pool| pool.name == name);
        found.ok_or_else(|| match usable.iter().find(|pool| pool.name == name) {
            Some(pool) if pool.spec.disabled => {
                wrong(&format!("IPPool {name} is disabled; name another one"))
            }
            Some(_) => wrong(&format!(
                "the nodeSelector of IPPool {name} does not select this node; have the pod scheduled \
                 elsewhere, or name another one"
            )),
            None => {
                let known: Vec<_> = given.iter().map(|pool| pool.name).collect();
                let known =
                    if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
                wrong(&format!("there is no IPPool {name} that can be used; known are {known}"))
            }
        })
    };
    names.iter().map(find).collect()
}

/// The addresses that an annotation names.
fn requested(
    objects: &Objects,
    text: &str,
    pod: (&str, &str),
    usable: &[Usable<'_>],
    blocks: &[Block],
) -> Result<Vec<IpAddr>, String> {
    let wrong = |what: String| format!("Pod {}/{}, annotation {ADDRESSES}: {what}", pod.0, pod.1);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in list(text).map_err(wrong)? {
        let address: IpAddr = text
            .parse()
            .map_err(|_| wrong(format!("{text:?} is no address; write one, as in 10.244.0.10")))?;
        if addresses.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            return Err(wrong(format!(
                "{address} is the second of its family, and a pod has one of each; remove one"
            )));
        }
        if !usable.is_empty() && !usable.iter().any(|pool| pool.cidr.contains(address)) {
            return Err(wrong(format!("{address} is in no IPPool; write one that is")));
        }
        let names = |reservation: &IPReservation| {
            reservation.spec.reserved_cidrs.iter().any(|text| text.0.parse() == Ok(address))
        };
        let owned = objects
            .reservations
            .iter()
            .find(|(_, reservation)| reservation.spec.owner.is_some() && names(reservation));
        if let Some((name, reservation)) = owned {
            if !keeps(reservation, pod).any(|kept| kept == address) {
                return Err(wrong(format!(
                    "{address} belongs to the owner of IPReservation {name}, and is not this pod's; \
                     write another one, or none: each pod gets its own by itself"
                )));
            }
        } else if !usable.is_empty() && !blocks.iter().any(|block| block.prefix.contains(address)) {
            return Err(wrong(format!(
                "{address} is in no block of this node, and another node could give it too; name the pod \
                 as owner in an IPReservation of it, which then follows the pod to every node"
            )));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// The addresses that reservations keep for the pod. Past the end of a list there is none.
fn reserved(objects: &Objects, pod: (&str, &str)) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for reservation in objects.reservations.values() {
        for kept in keeps(reservation, pod) {
            if !found.iter().any(|other| other.is_ipv4() == kept.is_ipv4()) {
                found.push(kept);
            }
        }
    }
    found
}

/// The addresses of a reservation that are this pod's, IPv4 first: of each family one.
fn keeps(reservation: &IPReservation, pod: (&str, &str)) -> impl Iterator<Item = IpAddr> {
    let spec = &reservation.spec;
    let number = spec.owner.as_ref().and_then(|owner| ordinal(owner, pod));
    let all = || spec.reserved_cidrs.iter().filter_map(|text| text.0.parse::<IpAddr>().ok());
    let of_family = move |is_ipv4: bool| {
        let mut of_family = all().filter(move |address| address.is_ipv4() == is_ipv4);
        number.and_then(|number| of_family.nth(number))
    };
    [true, false].into_iter().filter_map(of_family)
}

/// Which of the owner's pods this is, from 0; `None`: it is none of them.
fn ordinal(owner: &Owner, (namespace, name): (&str, &str)) -> Option<usize> {
    if owner.namespace.0 != namespace {
        return None;
    }
    if owner.pod.as_ref().is_some_and(|pod| pod.0 == name) {
        return Some(0);
    }
    let set = &owner.stateful_set.as_ref()?.0;
    let digits = name.strip_prefix(set.as_str())?.strip_prefix('-')?;
    let is_number = digits == "0"
        || (!digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit()));
    if is_number { digits.parse().ok() } else { None }
}

/// `a, b` or `["a", "b"]`, as Calico has it.
fn list(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    let names: Vec<String> = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|_| {
            format!("{text:?} is no list; write names with commas between, or [\"a\", \"b\"]")
        })?
    } else {
        text.split(',').map(|name| name.trim().to_owned()).collect()
    };
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err("is empty or names nothing; remove it, or name something".to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
