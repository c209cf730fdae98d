//! What holds for the search for the peer on an unnumbered link whatever happens on it: made-up
//! lives, and the seeds of the fuzz target replayed.

use proptest::{collection::vec, prelude::*};
use tests::corpus;

#[path = "../../bgp/fuzz/discovery.rs"]
mod discovery;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_link_lives_through_anything(life in vec(any::<u8>(), 0..200)) {
        discovery::lives_through(&life);
    }

    /// Where chance alone seldom gets: routers that come, speak and go.
    #[test]
    fn a_link_lives_through_routers_that_come_and_go(events in vec(event(), 1..40)) {
        discovery::lives_through(&[&[INTERFACE, UP], &events.concat()[..]].concat());
    }
}

#[test]
fn a_link_lives_through_the_corpus() {
    corpus::replay("discovery", 10, discovery::lives_through);
}

/// One of three routers with a lifetime, the session, time; now and then the link itself.
fn event() -> impl Strategy<Value = Vec<u8>> {
    let lifetime = prop::sample::select(&[0, 1, 5, 30, 255][..]);
    prop_oneof![
        4 => (1..4_u8, lifetime).prop_map(|(router, time)| vec![ADVERTISEMENT, router, time, 0]),
        2 => any::<u8>().prop_map(|choice| vec![SESSION, choice]),
        3 => any::<u8>().prop_map(|time| vec![PASS, time]),
        2 => Just(vec![DEADLINE]),
        1 => (0..6_u8).prop_map(|state| vec![INTERFACE, state]),
    ]
}

const INTERFACE: u8 = 0;
const UP: u8 = 3;
const ADVERTISEMENT: u8 = 2;
const SESSION: u8 = 5;
const DEADLINE: u8 = 6;
const PASS: u8 = 7;
