//! Changes of a peer's settings: which routes must be looked at anew.
//!
//! In: the settings before and after. Out: the directions that the difference concerns. Every
//! setting is named here, so that a new one cannot be forgotten.

use super::{PeerId, Rib, group, peer::Out};
use crate::config::{LocalAs, RibPeerConfig};

/// What a change of a peer's settings makes necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effects {
    /// The peer's paths pass import and decision again.
    pub(super) import: bool,
    /// Everything is offered to the peer again.
    pub(super) export: bool,
    /// What the peer has announced is measured anew.
    pub(super) limits: bool,
    /// Whoever was told the peer's paths looks at them again.
    pub(super) reflection: bool,
}

impl Effects {
    /// Those of going from `old` to `new`.
    pub(super) fn between(old: &RibPeerConfig, new: &RibPeerConfig) -> Self {
        let RibPeerConfig {
            name,
            group,
            import,
            export,
            route_reflector_client,
            route_server_client,
            next_hop_self,
            allow_own_as,
            as_override,
            private_as,
            local_as: LocalAs { no_prepend, replace_as },
            add_path,
            max_prefixes,
            max_advertised,
            drain,
            send_link_bandwidth,
            send_blackhole,
            enforce_first_as,
            next_hops_on_link,
            local_addresses,
        } = old;
        let reflection = *route_reflector_client != new.route_reflector_client;
        // Policies of any peer may ask whom a path is from.
        let identity = *name != new.name || *group != new.group;
        let addresses = *local_addresses != new.local_addresses;
        Self {
            import: *import != new.import
                || *allow_own_as != new.allow_own_as
                || *no_prepend != new.local_as.no_prepend
                || *drain != new.drain
                || *enforce_first_as != new.enforce_first_as
                || *next_hops_on_link != new.next_hops_on_link
                || addresses
                || identity,
            export: *export != new.export
                || *route_server_client != new.route_server_client
                || *next_hop_self != new.next_hop_self
                || *as_override != new.as_override
                || *private_as != new.private_as
                || *replace_as != new.local_as.replace_as
                || *drain != new.drain
                || *max_advertised != new.max_advertised
                || *add_path != new.add_path
                || *send_link_bandwidth != new.send_link_bandwidth
                || *send_blackhole != new.send_blackhole
                || addresses
                || identity
                || reflection,
            limits: *max_prefixes != new.max_prefixes,
            reflection: reflection || identity,
        }
    }
}

impl Rib {
    /// What the peer is told is another now: it looks at everything again, alone or with others.
    pub(super) fn export_again(&mut self, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let manner = group::manner(&state.up);
        let known = match state.out.take() {
            None => return,
            Some(Out::Alone(mut out)) if manner.is_none() => {
                out.set_limits(state.up.config.max_advertised);
                state.out = Some(Out::Alone(out));
                return self.offer_all(peer);
            }
            Some(Out::Member(group)) if self.groups.manner(group).as_deref() == manner.as_ref() => {
                state.out = Some(Out::Member(group));
                return;
            }
            Some(Out::Alone(out)) => out.into_known(&mut self.loc),
            Some(Out::Member(group)) => match self.groups.move_out(group, peer, &mut self.loc) {
                Some(known) => known,
                None => return,
            },
        };
        self.admit_to_told(peer, known);
    }
}
