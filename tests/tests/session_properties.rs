//! What holds for a session whatever happens to it: made-up lives, and the seeds of the fuzz
//! target replayed.

use proptest::{collection::vec, prelude::*};
use tests::corpus;

#[path = "../../bgp/fuzz/session.rs"]
mod session;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_session_lives_through_anything(life in vec(any::<u8>(), 0..200)) {
        session::lives_through(&life);
    }

    /// Where chance alone seldom gets: sessions that stand, fall and come back.
    #[test]
    fn a_session_lives_through_ups_and_downs(
        config in any::<u8>(), ups in vec((open(), vec(event(), 0..6)), 1..8)
    ) {
        let mut life = vec![config, START, 0, START];
        for (open, events) in ups {
            life.extend([ACCEPT, HEAR_OPEN, 0, open, HEAR_KEEPALIVE, 0]);
            life.extend(events.concat());
            life.extend([PASS, 255]);
        }
        session::lives_through(&life);
    }
}

#[test]
fn a_session_lives_through_the_corpus() {
    corpus::replay("session", 5, session::lives_through);
}

/// An OPEN that is not refused.
fn open() -> impl Strategy<Value = u8> {
    0..128_u8
}

/// Something that may happen to a session that stands.
fn event() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![HEAR_END_OF_RIB, 0, 0]),
        Just(vec![HEAR_END_OF_RIB, 0x80, 0]),
        Just(vec![CLOSE, 0]),
        any::<u8>().prop_map(|notification| vec![HEAR_NOTIFICATION, 0, notification]),
        any::<(u8, u8)>().prop_map(|(family, subtype)| vec![HEAR_REFRESH, family, subtype, 0]),
        any::<u8>().prop_map(|time| vec![PASS, time]),
        Just(vec![PASS, 0]),
        any::<u8>().prop_map(|cease| vec![STOP, cease, START]),
        any::<u8>().prop_map(|ask| vec![ASK, ask]),
        open().prop_map(|open| vec![ACCEPT, HEAR_OPEN, 0, open]),
    ]
}

/// The octets of `session::lives_through`.
const START: u8 = 0;
const STOP: u8 = 1;
const ACCEPT: u8 = 4;
const HEAR_OPEN: u8 = 5;
const HEAR_KEEPALIVE: u8 = 6;
const HEAR_END_OF_RIB: u8 = 7;
const HEAR_NOTIFICATION: u8 = 8;
const HEAR_REFRESH: u8 = 9;
const CLOSE: u8 = 11;
const PASS: u8 = 12;
const ASK: u8 = 13;
