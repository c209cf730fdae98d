//! The Kubernetes objects of Slash32, API group `slash32.dev`, version `v1alpha1`.
//!
//! In: nothing. Out: types, their structural schemas with validation rules whose messages name the
//! remedy, and the manifest with all of them. Where the meaning of a field is that of Calico's, so is
//! its name; times carry their unit in the name, as the Kubernetes conventions have it.
//!
//! Talks to nobody: what the daemon makes of the objects stands in the package `routed`.

#![allow(unreachable_pub, reason = "KubeSchema repeats each type inside of a function of its own")]
#![allow(clippy::duplicated_attributes, reason = "two columns of one type are no repetition")]

mod block;
mod configuration;
mod manifest;
mod node_status;
mod peer;
mod policy;
mod pool;
mod reservation;
mod selector;
mod text;

pub use self::{
    block::{IPBlock, IPBlockSpec, IPBlockStatus},
    configuration::{
        BGPConfiguration, BGPConfigurationSpec, BGPConfigurationStatus, NamedCommunity,
        PrefixAdvertisement, RouteReflectors,
    },
    manifest::{FILE, definitions, manifest},
    node_status::{
        BGPNodeStatus, BGPNodeStatusSpec, BGPNodeStatusStatus, ObjectProblem, Session, SessionState,
    },
    peer::{
        BGPPeer, BGPPeerSpec, BGPPeerStatus, Bfd, Family, GracefulRestart, MaxPrefixes, Password,
        RemoteAs, SecretKey,
    },
    policy::{
        Action, BGPPolicy, BGPPolicySpec, BGPPolicyStatus, Communities, CommunityChange,
        Conditions, Match, MedChange, NumberChange, Origin, PrefixMatch, Range, Set, Source,
        Statement,
    },
    pool::{IPPool, IPPoolSpec, IPPoolStatus},
    reservation::{IPReservation, IPReservationSpec, IPReservationStatus, Owner},
    selector::{Operator, Requirement, Selector},
    text::{Address, Cidr, Community, Host, Ipv4, LabelKey, Name},
};
