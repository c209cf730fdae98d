//! The socket options on real sockets over loopback. TCP MD5 works there as on a wire, and the
//! hop limit arrives as it was sent.

use std::{net::Ipv4Addr, path::Path};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 77, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 77, 0, 2));

fn key(text: &str) -> Password {
    Password::from_content(text.as_bytes(), Path::new("test.key")).unwrap()
}

fn dial(peer: SocketAddr) -> Dial {
    Dial {
        peer,
        local: Some(CLIENT),
        ttl: Ttl::Any,
        device: None,
        key: None,
        patience: Duration::from_millis(600),
    }
}

fn hops(hops: u8) -> NonZeroU8 {
    NonZeroU8::new(hops).unwrap()
}

/// What does not come at once on loopback never comes.
async fn comes_through(dial: Dial) -> bool {
    match dial.connect().await {
        Ok(_) => true,
        Err(SocketError::NoAnswer { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn connection_comes_from_the_source_address_asked_for() {
    let listener = listen(SocketAddr::new(SERVER, 0), std::iter::empty()).unwrap();

    let stream = dial(listener.local_addr().unwrap()).connect().await.unwrap();

    let (_, source) = listener.accept().await.unwrap();
    assert_eq!(source.ip(), CLIENT);
    assert!(stream.nodelay().unwrap());
    assert_eq!(SockRef::from(&stream).tos_v4().unwrap(), CS6);
}

#[tokio::test]
async fn refusal_and_a_foreign_source_address_are_told_with_a_remedy() {
    let listener = listen(SocketAddr::new(SERVER, 0), std::iter::empty()).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);

    let refused = dial(address).connect().await.unwrap_err();
    assert!(refused.to_string().contains("nothing listens on that port"), "{refused}");

    let foreign = Dial { local: Some("192.0.2.9".parse().unwrap()), ..dial(address) };
    let error = foreign.connect().await.unwrap_err();
    assert!(error.to_string().contains("correct local_address"), "{error}");
}

#[tokio::test]
async fn an_address_in_use_is_told_and_one_that_is_not_there_yet_is_taken() {
    let first = listen(SocketAddr::new(SERVER, 0), std::iter::empty()).unwrap();

    let error = listen(first.local_addr().unwrap(), std::iter::empty()).unwrap_err();
    assert!(error.to_string().contains("another program has this port"), "{error}");

    assert!(listen("192.0.2.9:0".parse().unwrap(), std::iter::empty()).is_ok());
    assert!(listen("[2001:db8::9]:0".parse().unwrap(), std::iter::empty()).is_ok());
}

#[tokio::test]
async fn listeners_of_both_families_share_a_port() {
    let v4 = listen("0.0.0.0:0".parse().unwrap(), std::iter::empty()).unwrap();
    let port = v4.local_addr().unwrap().port();

    assert!(listen(SocketAddr::new("::".parse().unwrap(), port), std::iter::empty()).is_ok());
}

#[tokio::test]
async fn only_the_same_md5_key_comes_through() {
    let right = key("right");
    let keys = [(CLIENT, &right)];
    let listener = listen(
        SocketAddr::new(SERVER, 0),
        keys.into_iter().map(|(peer, key)| (Prefix::host(peer), key)),
    )
    .unwrap();
    let address = listener.local_addr().unwrap();

    assert!(!comes_through(dial(address)).await, "unsigned");
    assert!(!comes_through(Dial { key: Some(key("wrong")), ..dial(address) }).await, "wrong key");
    assert!(comes_through(Dial { key: Some(right.clone()), ..dial(address) }).await, "right key");
    let other = Dial { local: Some("127.77.0.3".parse().unwrap()), ..dial(address) };
    assert!(comes_through(other).await, "a peer without a key is not concerned");
}

#[tokio::test]
async fn keys_of_the_other_family_are_left_out() {
    let key = key("k");
    let keys = [("fd00::1".parse().unwrap(), &key)];
    assert!(
        listen(
            SocketAddr::new(SERVER, 0),
            keys.into_iter().map(|(peer, key)| (Prefix::host(peer), key))
        )
        .is_ok()
    );
}

#[tokio::test]
async fn connection_from_too_far_away_is_refused_by_its_syn() {
    let listener = listen(SocketAddr::new(SERVER, 0), std::iter::empty()).unwrap();
    let address = listener.local_addr().unwrap();

    // What arrives with 253 has passed two routers, or was sent so; three hops allow it.
    let far = Dial { ttl: Ttl::Multihop(hops(253)), ..dial(address) };
    let _client = far.clone().connect().await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(prepare_accepted(&stream, CLIENT, Ttl::Security(hops(3)), None).is_ok());

    let _client = far.connect().await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let error = prepare_accepted(&stream, CLIENT, Ttl::Security(hops(2)), None).unwrap_err();
    assert!(matches!(error, SocketError::TooFar { got: Some(253), least: 254, .. }), "{error}");
}

#[tokio::test]
async fn octets_from_too_far_away_are_dropped_on_an_accepted_connection() {
    let listener = listen(SocketAddr::new(SERVER, 0), std::iter::empty()).unwrap();
    let mut client = dial(listener.local_addr().unwrap()).connect().await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    prepare_accepted(&stream, CLIENT, Ttl::Security(hops(1)), None).unwrap();

    SockRef::from(&client).set_ttl_v4(254).unwrap();
    client.write_all(b"far").await.unwrap();

    let mut octets = [0; 3];
    let wait = Duration::from_millis(300);
    assert!(tokio::time::timeout(wait, stream.read_exact(&mut octets)).await.is_err());
    // The same octets, sent again by TCP with the right hop limit, are taken.
    SockRef::from(&client).set_ttl_v4(255).unwrap();
    stream.read_exact(&mut octets).await.unwrap();
    assert_eq!(&octets, b"far");
}

#[tokio::test]
async fn ipv6_has_the_same_options() {
    let one = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    let signed = key("six");
    let keys = [(one, &signed)];
    let listener = listen(
        SocketAddr::new(one, 0),
        keys.into_iter().map(|(peer, key)| (Prefix::host(peer), key)),
    )
    .unwrap();
    let near = Dial {
        peer: listener.local_addr().unwrap(),
        local: Some(one),
        ttl: Ttl::Security(hops(1)),
        device: None,
        key: Some(signed.clone()),
        patience: Duration::from_secs(5),
    };

    let _client = near.connect().await.unwrap();

    let (stream, _) = listener.accept().await.unwrap();
    prepare_accepted(&stream, one, Ttl::Security(hops(1)), None).unwrap();
}

#[tokio::test]
async fn an_accepted_connection_is_kept_to_the_interface_that_it_came_by() {
    for server in [SERVER, IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)] {
        let listener = listen(SocketAddr::new(server, 0), std::iter::empty()).unwrap();
        let local = Some(CLIENT).filter(|_| server.is_ipv4());
        let device = Some("lo".into());
        let address = listener.local_addr().unwrap();
        let _client = Dial { local, device, ..dial(address) }.connect().await.unwrap();
        let (stream, source) = listener.accept().await.unwrap();

        let other = prepare_accepted(&stream, source.ip(), Ttl::Any, Some("eth77")).unwrap_err();
        let text = other.to_string();
        assert!(text.contains("it came by lo, and bind_device is eth77"), "{text}");
        prepare_accepted(&stream, source.ip(), Ttl::Any, Some("lo")).unwrap();
        let bound = SockRef::from(&stream).device().unwrap();
        assert_eq!(bound.as_deref(), Some(&b"lo"[..]));
    }
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_named_with_a_remedy() {
    let address = SocketAddr::new(SERVER, 9);
    let absent = Dial { device: Some("eth77".into()), ..dial(address) };
    let text = absent.connect().await.unwrap_err().to_string();
    assert!(text.contains("cannot use eth77") && text.contains("ip link"), "{text}");
}
