//! RFC 5880 §6.7.4.

use super::*;

fn key(id: u8, secret: &[u8], meticulous: bool) -> Option<Key> {
    Some(Key::new(id, secret, meticulous).unwrap())
}

fn with(key: Option<Key>) -> Settings {
    Settings { key, ..settings(100, 100, 3) }
}

/// The packets that one side sends within a second to nobody who answers.
fn sent(settings: Settings, from: Instant) -> Vec<Vec<u8>> {
    let mut sender = session(settings, REMOTE, from);
    let mut all = Vec::new();
    let mut now = from;
    while now < from + ms(5_000) {
        sender.handle(Input::Timeout, now).unwrap();
        while let Some(output) = sender.poll_output() {
            if let Output::Send(octets) = output {
                all.push(octets);
            }
        }
        now = sender.poll_timeout().unwrap();
    }
    all
}

fn give(session: &mut Session, octets: &[u8], now: Instant) -> Result<(), Flaw> {
    let (packet, sealed) = Packet::read(octets).unwrap();
    session.handle(Input::Packet(packet, sealed), now)
}

#[test]
fn keys_have_one_to_twenty_octets() {
    assert_eq!(Key::new(1, &[], false), Err(BadKey(0)));
    assert_eq!(Key::new(1, &[1; 21], false), Err(BadKey(21)));
    assert!(Key::new(1, &[1; 20], true).is_ok());
    assert!(!format!("{:?}", Key::new(1, b"secret", true).unwrap()).contains("115"));
}

#[test]
fn packets_with_the_key_count_and_others_do_not() {
    let now = beginning();
    let first = |settings| sent(settings, now).remove(0);
    for meticulous in [false, true] {
        let ours = || key(1, b"secret", meticulous);
        let mut receiver = session(with(ours()), LOCAL, now);
        let mut refuse = |octets: &[u8], flaw| {
            assert_eq!(give(&mut receiver, octets, now), Err(flaw));
            assert_eq!(receiver.state(), State::Down);
        };
        refuse(&first(with(None)), Flaw::Authentication(false));
        refuse(&first(with(key(1, b"Secret", meticulous))), Flaw::Digest);
        refuse(&first(with(key(2, b"secret", meticulous))), Flaw::KeyId(2));
        let other = if meticulous { 4 } else { 5 };
        refuse(&first(with(key(1, b"secret", !meticulous))), Flaw::AuthenticationType(other));
        let right = first(with(ours()));
        for at in [0, 2, 16, 30, 40] {
            let mut damaged = right.clone();
            damaged[at] ^= 1;
            assert!(Packet::read(&damaged).is_err() || give(&mut receiver, &damaged, now).is_err());
            assert_eq!(receiver.state(), State::Down);
        }
        give(&mut receiver, &right, now).unwrap();
        assert_eq!(receiver.state(), State::Init);
    }
    let mut open = session(with(None), LOCAL, now);
    let sealed = first(with(key(1, b"secret", false)));
    assert_eq!(give(&mut open, &sealed, now), Err(Flaw::Authentication(true)));
}

#[test]
fn section_is_as_rfc5880_4_4_has_it() {
    let packets = sent(with(key(3, b"secret", true)), beginning());
    for octets in &packets {
        assert_eq!((octets.len(), octets[3], octets[1] & 4), (52, 52, 4));
        assert_eq!(octets[24..28], [5, 28, 3, 0]);
        let mut keyed = octets.clone();
        keyed[32..].fill(0);
        keyed[32..38].copy_from_slice(b"secret");
        use sha1::Digest;
        assert_eq!(octets[32..], sha1::Sha1::digest(&keyed)[..]);
    }
}

#[test]
fn rfc5880_6_7_4_packets_played_again_do_not_count() {
    let now = beginning();
    let number = |octets: &[u8]| u32::from_be_bytes(octets[28..32].try_into().unwrap());
    let meticulous = with(key(1, b"secret", true));
    let packets = sent(meticulous.clone(), now);
    let numbers: Vec<u32> = packets.iter().map(|octets| number(octets)).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
    let mut receiver = session(meticulous, LOCAL, now);
    give(&mut receiver, &packets[1], now).unwrap();
    for again in [0, 1] {
        let flaw = Flaw::Sequence(numbers[again]);
        assert_eq!(give(&mut receiver, &packets[again], now), Err(flaw));
    }
    give(&mut receiver, &packets[2], now).unwrap();
    // After twice the detection time whatever comes is the first.
    give(&mut receiver, &packets[0], now + ms(6_001)).unwrap();

    // Plain: what says nothing new has the same number.
    let plain = with(key(1, b"secret", false));
    let packets = sent(plain.clone(), now);
    assert!(packets.windows(2).all(|pair| pair[0] == pair[1]));
    let mut receiver = session(plain, LOCAL, now);
    give(&mut receiver, &packets[0], now).unwrap();
    give(&mut receiver, &packets[1], now).unwrap();
}
