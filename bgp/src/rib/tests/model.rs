//! Random histories against a naive model that keeps only inputs and works everything out anew.
//!
//! The model (`naive`) shares no code with the RIB beyond the vocabulary, [`Policy::apply`] and
//! the rules of [`Role`]. After each history the readers' accumulated views (`trial`), and what
//! the RIB says of itself, must equal it.

mod moves;
mod naive;
mod trial;

use proptest::prelude::*;

use self::{
    moves::{Move, any_move},
    trial::Trial,
};
use super::*;
use crate::role::Role;

/// 0 and 1: eBGP, a customer with our AS allowed in once, and a provider that sees a local AS;
/// 2: iBGP; 3: reflector client; 4 and 5: route server clients; 6: iBGP with next-hop-self, IPv4
/// only; 7: reflector client with several paths in both directions; 8: eBGP, told of several
/// paths, with graceful restart, long-lived stale routes and enhanced refresh; 9 to 11: eBGP and
/// alike, so that they share an Adj-RIB-Out while their policies are the same, the last one with
/// enhanced refresh.
const PEERS: u8 = 12;
const PREFIXES: [&str; 5] =
    ["10.1.0.0/16", "10.2.0.0/16", "10.2.128.0/17", "fd00:1::/64", "fd00:2::/64"];

const LOCAL_AS: Asn = Asn(64999);

fn peer_of(n: u8) -> PeerUp {
    let asn = match n {
        0 | 1 | 4 | 5 | 8..=11 => 65001 + u32::from(n),
        _ => US.0,
    };
    let mut up = peer(n + 1, asn);
    up.config.route_reflector_client = n == 3 || n == 7;
    up.config.route_server_client = n == 4 || n == 5;
    up.config.next_hop_self = n == 6;
    up.config.next_hops_on_link = n == 1;
    up.config.allow_own_as = u8::from(n == 0);
    match n {
        0 => up.options.role = Some(Role::Provider),
        1 => {
            up.options.role = Some(Role::Customer);
            up.local_asn = LOCAL_AS;
        }
        6 => up.families = FamilySet::of(Family::Ipv4Unicast),
        7 => {
            up.options.add_path_send = FamilySet::ALL;
            up.options.enhanced_refresh = true;
        }
        8 => {
            up.options.add_path_send = FamilySet::of(Family::Ipv4Unicast);
            up.options.graceful_restart = true;
            up.options.long_lived = FamilySet::ALL;
            up.options.enhanced_refresh = true;
        }
        11 => up.options.enhanced_refresh = true,
        _ => {}
    }
    up
}

fn id(peer: u8) -> PeerId {
    PeerId(peer.into())
}

proptest! {
    #[test]
    fn after_any_history_all_readers_agree_with_a_model_worked_out_anew(
        (resolve, restarted) in any::<(bool, bool)>(),
        first in prop::collection::vec(any_move(), 0..80),
        second in prop::collection::vec(any_move(), 0..80),
    ) {
        let mut trial = Trial::new(resolve, restarted);
        for peer in [0, 1, 2, 3, 4, 7, 8, 9, 10, 11] {
            trial.make(Move::Up { peer, narrow: false });
        }
        for step in first {
            trial.make(step);
        }
        trial.check();
        for step in second {
            trial.make(step);
        }
        trial.check();
        trial.check_leaks();
    }
}
