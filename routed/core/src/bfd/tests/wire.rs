//! Packets as octets.

use super::*;

/// Up, 3 × 300 ms, echo 50 ms.
const UP: [u8; LEN] = [
    0x20, 0xc0, 0x03, 0x18, 0x4a, 0x8e, 0x1f, 0x0c, 0x00, 0x00, 0x00, 0x07, 0x00, 0x04, 0x93, 0xe0,
    0x00, 0x04, 0x93, 0xe0, 0x00, 0x00, 0xc3, 0x50,
];

fn changed(at: usize, octet: u8) -> Vec<u8> {
    let mut octets = UP.to_vec();
    octets[at] = octet;
    octets
}

#[test]
fn fields_are_where_rfc5880_has_them() {
    let (packet, sealed) = Packet::read(&UP).unwrap();
    assert!(sealed.is_none());
    assert_eq!(
        packet,
        Packet {
            diagnostic: Diagnostic::NONE,
            state: State::Up,
            poll: false,
            r#final: false,
            control_plane_independent: false,
            demand: false,
            detect_mult: 3,
            my_discriminator: 0x4a8e_1f0c,
            your_discriminator: 7,
            desired_min_tx: 300_000,
            required_min_rx: 300_000,
            required_min_echo_rx: 50_000,
        }
    );
    assert_eq!(packet.write(), UP);
    let flags = |octet| Packet::read(&changed(1, octet)).unwrap().0;
    assert!(flags(0xe0).poll && flags(0xd0).r#final && flags(0xc2).demand);
    assert!(flags(0xc8).control_plane_independent);
    let states = [0x00, 0x40, 0x80, 0xc0].map(|octet| flags(octet).state);
    assert_eq!(states, [State::AdminDown, State::Down, State::Init, State::Up]);
}

/// RFC 5880 §6.8.6, in its order.
#[test]
fn rfc5880_6_8_6_what_must_be_dropped_is() {
    let flaw = |octets: &[u8]| Packet::read(octets).map(|_| ()).unwrap_err();
    assert_eq!(flaw(&[]), Flaw::CutShort(0));
    assert_eq!(flaw(&UP[..23]), Flaw::CutShort(23));
    assert_eq!(flaw(&changed(0, 0x40)), Flaw::Version(2));
    assert_eq!(flaw(&changed(0, 0x00)), Flaw::Version(0));
    assert_eq!(flaw(&changed(3, 23)), Flaw::Length(23));
    assert_eq!(flaw(&changed(3, 25)), Flaw::CutShort(24));
    // With the A bit there are at least two octets more.
    let mut authenticated = changed(1, 0xc4);
    assert_eq!(flaw(&authenticated), Flaw::Length(24));
    authenticated[3] = 26;
    assert_eq!(flaw(&authenticated), Flaw::CutShort(24));
    assert_eq!(flaw(&changed(2, 0)), Flaw::DetectMult);
    assert_eq!(flaw(&changed(1, 0xc1)), Flaw::Multipoint);
    let mut nameless = UP;
    nameless[4..8].fill(0);
    assert_eq!(flaw(&nameless), Flaw::MyDiscriminator);
    for (state, octet) in [(State::Init, 0x80), (State::Up, 0xc0)] {
        let mut stranger = changed(1, octet);
        stranger[8..12].fill(0);
        assert_eq!(flaw(&stranger), Flaw::YourDiscriminator(state));
    }
    for octet in [0x00, 0x40] {
        let mut stranger = changed(1, octet);
        stranger[8..12].fill(0);
        assert!(Packet::read(&stranger).is_ok());
    }
}

#[test]
fn octets_after_the_packet_do_not_count() {
    let mut longer = UP.to_vec();
    longer.extend([1, 2, 3]);
    assert_eq!(Packet::read(&longer).unwrap().0, Packet::read(&UP).unwrap().0);
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok((packet, None)) = Packet::read(&octets) {
            let mut exact = octets[..LEN].to_vec();
            exact[3] = 24;
            prop_assert_eq!(&packet.write()[..], exact);
        }
    }

    #[test]
    fn no_packet_of_whatever_kind_breaks_a_session(
        packets in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 24..60), 0u64..2_000, any::<bool>()),
            1..40,
        ),
        key in any::<bool>(),
    ) {
        let start = beginning();
        let key = key.then(|| Key::new(1, b"secret", false).unwrap());
        let mut session = session(Settings { key, ..settings(50, 50, 3) }, LOCAL, start);
        let mut now = start;
        for (mut octets, later, ours) in packets {
            now += ms(later);
            octets[0] = 0x20 | octets[0] & 0x1f;
            octets[3] = u8::try_from(octets.len()).unwrap();
            if ours {
                octets[8..12].copy_from_slice(&LOCAL.to_be_bytes());
            }
            if let Ok((packet, sealed)) = Packet::read(&octets) {
                let _ = session.handle(Input::Packet(packet, sealed), now);
            }
            let _ = session.handle(Input::Timeout, now);
            prop_assert!(session.poll_timeout().is_none_or(|at| at > now));
            outputs(&mut session);
        }
    }
}
