//! Names of attachments: which interface of which container, and the names derived from that.
//!
//! In: what a runtime says. Out: checked values, and the name of the host's end of the veth pair.
//! Knows nothing of leases or the kernel's state.

use std::fmt;

use serde::Serialize;

/// Names one attachment: unique per network, container and interface.
///
/// A container id belongs to one sandbox for ever, so a late DEL of an old sandbox can never name
/// the attachment of its successor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AttachmentId {
    network: String,
    container_id: String,
    ifname: String,
}

impl AttachmentId {
    /// Checks the three names.
    ///
    /// # Errors
    ///
    /// [`BadAttachment`] if a name is empty, has characters that its kind may not have, or is too
    /// long: the kernel keeps all of it in 255 octets of interface alias.
    pub fn new(network: &str, container_id: &str, ifname: &str) -> Result<Self, BadAttachment> {
        if !is_cni_name(network) {
            return Err(BadAttachment::Network(network.to_owned()));
        }
        if !is_cni_name(container_id) {
            return Err(BadAttachment::Container(container_id.to_owned()));
        }
        if !is_link_name(ifname) {
            return Err(BadAttachment::Ifname(ifname.to_owned()));
        }
        let octets = network.len() + container_id.len();
        if octets > NAMES_MAX {
            return Err(BadAttachment::Length(octets));
        }
        Ok(Self {
            network: network.to_owned(),
            container_id: container_id.to_owned(),
            ifname: ifname.to_owned(),
        })
    }

    /// Name of the network configuration.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The runtime's name for the sandbox.
    #[must_use]
    pub fn container_id(&self) -> &str {
        &self.container_id
    }

    /// Name of the interface inside the pod.
    #[must_use]
    pub fn ifname(&self) -> &str {
        &self.ifname
    }

    /// Name of the host's end: [`LINK_PREFIX`] and 12 characters, 60 bits of a hash of the id. The
    /// same in every run of the daemon.
    #[must_use]
    pub fn host_link(&self) -> String {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let digit = |position: u32| {
            let [low, ..] = (self.hash() >> (5 * position)).to_le_bytes();
            char::from(DIGITS[usize::from(low & 31)])
        };
        LINK_PREFIX.chars().chain((0..12).map(digit)).collect()
    }

    /// 64 well-mixed bits of the three names: FNV-1a over each name and its end, and a finalizer so
    /// that every bit depends on every octet. Not a secret: who may choose container ids may do
    /// worse, and a clash of names is refused, not followed.
    pub(crate) fn hash(&self) -> u64 {
        let octets = [&self.network, &self.container_id, &self.ifname]
            .into_iter()
            .flat_map(|name| name.bytes().chain([0]));
        let mut hash = octets.fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
        });
        for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
            hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
        }
        hash ^ (hash >> 33)
    }
}

/// As in logs and messages: `network/container/interface`.
impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.container_id, self.ifname)
    }
}

/// Why names are no attachment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAttachment {
    /// The network's name.
    #[error(
        "network name {0:?} is not valid; use letters, digits, `_`, `.` and `-`, and begin with a letter or digit"
    )]
    Network(String),
    /// The container's id.
    #[error(
        "container id {0:?} is not valid; use letters, digits, `_`, `.` and `-`, and begin with a letter or digit"
    )]
    Container(String),
    /// The interface's name.
    #[error("interface name {0:?} is not valid; use 1 to 15 characters without `/`, `:` and space")]
    Ifname(String),
    /// Network and container id together, in octets.
    #[error("network name and container id have {0} octets together; use at most {NAMES_MAX}")]
    Length(usize),
}

/// What Kubernetes calls the pod, for people to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PodName {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
}

impl PodName {
    /// May this be the pod `namespace/name`? Of a name that is too long for the kernel its beginning alone
    /// is known after a restart.
    #[must_use]
    pub fn may_be(&self, pod: &str) -> bool {
        let name = self.to_string();
        name.strip_suffix(CUT).map_or(name == pod, |beginning| pod.starts_with(beginning))
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Ends a pod's name that was cut.
pub(crate) const CUT: char = '~';

/// What CNI allows in network names and container ids.
fn is_cni_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// What the kernel takes as an interface name; limited to visible ASCII, since the name is also
/// written into the alias and into paths of /proc/sys.
fn is_link_name(name: &str) -> bool {
    matches!(name.len(), 1..=15)
        && !matches!(name, "." | "..")
        && name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%'))
}

/// How the names of the host's ends begin.
pub const LINK_PREFIX: &str = "s32";

/// Octets of network name and container id together. Container ids have 64 in practice; with
/// more than this the alias could not hold the addresses.
const NAMES_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cni_or_the_kernel_forbids_are_refused() {
        let refused = |network: &str, container: &str, ifname: &str| {
            AttachmentId::new(network, container, ifname).unwrap_err()
        };
        assert!(matches!(refused("", "c", "eth0"), BadAttachment::Network(_)));
        assert!(matches!(refused("a b", "c", "eth0"), BadAttachment::Network(_)));
        assert!(matches!(refused("n", "../c", "eth0"), BadAttachment::Container(_)));
        assert!(matches!(refused("n", "c", ""), BadAttachment::Ifname(_)));
        assert!(matches!(refused("n", "c", "sixteen-letters-"), BadAttachment::Ifname(_)));
        assert!(matches!(refused("n", "c", "eth0:1"), BadAttachment::Ifname(_)));
        assert!(matches!(refused("n", "c", ".."), BadAttachment::Ifname(_)));
        assert_eq!(refused("n", &"c".repeat(120), "eth0"), BadAttachment::Length(121));
    }

    #[test]
    fn host_link_name_is_a_valid_name_and_stays_the_same_for_ever() {
        let id = AttachmentId::new("k8s-pod-network", &"0f".repeat(32), "eth0").unwrap();
        // Written down: a release that changes it would not find the pods of the one before.
        assert_eq!(id.host_link(), "s32q2tsl36mr508");
        assert!(is_link_name(&id.host_link()));
    }

    #[test]
    fn host_link_names_of_neighbouring_ids_differ() {
        let names: std::collections::BTreeSet<_> = (0..10_000)
            .flat_map(|i| {
                ["eth0", "eth1"].map(|ifname| {
                    AttachmentId::new("n", &format!("c{i}"), ifname).unwrap().host_link()
                })
            })
            .collect();
        assert_eq!(names.len(), 20_000);
        // Moving a character across the border of two names is another attachment.
        let split = |n, c| AttachmentId::new(n, c, "eth0").unwrap().host_link();
        assert_ne!(split("ab", "c"), split("a", "bc"));
    }
}
