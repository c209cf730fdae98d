//! A router that says on the link what well-behaved ones do not.

use std::{
    fs::File,
    io,
    net::{Ipv6Addr, SocketAddrV6},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::{Host, cable, pair, until};

const PEER: &str = "[[peers]]\ninterface = \"eth1\"\n";
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Runs something on a thread of the host's network namespace.
fn within<T: Send + 'static>(host: &Host, job: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = File::open(host.namespace()).unwrap();
    let thread = thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        job()
    });
    thread.join().unwrap()
}

fn index(host: &Host) -> u32 {
    let shown = host.ip("-j link show eth1");
    let links: serde_json::Value = serde_json::from_str(&shown).unwrap();
    links[0]["ifindex"].as_u64().unwrap().try_into().unwrap()
}

fn icmpv6(index: u32) -> Socket {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
    socket.set_multicast_if_v6(index).unwrap();
    socket.bind_device(Some(b"eth1")).unwrap();
    socket.set_recv_hoplimit_v6(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket
}

/// A Router Advertisement as any host writes it (RFC 4861 §4.2).
fn advertisement(lifetime: u16) -> Vec<u8> {
    let [high, low] = lifetime.to_be_bytes();
    vec![134, 0, 0, 0, 64, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Has the host say something to all nodes of its link.
fn say(host: &Host, octets: Vec<u8>, hop_limit: u32) {
    let index = index(host);
    within(host, move || {
        let socket = icmpv6(index);
        socket.set_multicast_hops_v6(hop_limit).unwrap();
        let to = SocketAddrV6::new(ALL_NODES, 0, 0, index);
        socket.send_to(&octets, &to.into()).unwrap();
    });
}

/// What we heard of ICMPv6 type `kind` on the host's link within so many seconds.
fn hear(host: &Host, kind: u8, seconds: u64) -> Vec<(Ipv6Addr, Vec<u8>)> {
    let index = index(host);
    within(host, move || {
        let socket = icmpv6(index);
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut heard = Vec::new();
        while Instant::now() < end {
            let mut octets = [std::mem::MaybeUninit::uninit(); 256];
            match socket.recv_from(&mut octets) {
                Ok((len, from)) => {
                    // SAFETY: the kernel has written the first `len` octets.
                    let read = octets[..len].iter().map(|octet| unsafe { octet.assume_init() });
                    let read: Vec<_> = read.collect();
                    if read[0] == kind {
                        heard.push((*from.as_socket_ipv6().unwrap().ip(), read));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        heard
    })
}

fn up(host: &Host) -> String {
    until("an address", || host.link_local("eth1").is_some());
    host.link_local("eth1").unwrap()
}

#[test]
fn a_router_is_the_peer_by_its_word_and_no_longer_by_its_word() {
    let (mut a, b) = pair();
    let address = up(&b);
    a.routed(1, PEER);
    until("nobody there", || a.reason() == "no router advertisement heard on eth1");
    say(&b, advertisement(30), 254);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(a.reason(), "no router advertisement heard on eth1", "it came from off the link");
    say(&b, advertisement(30), 255);
    until("found", || a.peer()["address"] == *address);
    until("dialled", || a.reason().contains(&format!("cannot connect to [{address}%")));
    say(&b, advertisement(0), 255);
    let left = format!("{address} on eth1 advertises router lifetime 0");
    until("left", || a.reason() == left);
    assert_eq!((a.state(), &a.peer()["address"]), ("Idle".to_owned(), &serde_json::Value::Null));
    say(&b, advertisement(2), 255);
    until("found again", || a.peer()["address"] == *address);
    let gone = format!("no more router advertisements from {address} on eth1");
    until("gone with its lifetime", || a.reason() == gone);
}

#[test]
fn we_advertise_ourselves_with_a_lifetime_and_lowest_preference_and_nothing_else() {
    let (mut a, b) = pair();
    a.routed(1, PEER);
    let address: Ipv6Addr = up(&a).parse().unwrap();
    let heard = hear(&b, 134, 12);
    assert!((1..=5).contains(&heard.len()), "{heard:?}");
    for (from, octets) in heard {
        assert_eq!((from, octets.len()), (address, 16));
        assert_eq!((octets[5], &octets[6..8]), (0b0001_1000, &[0, 30][..]));
    }
}

#[test]
fn the_kernel_takes_no_default_route_from_the_peer_even_if_it_believes_advertisements() {
    let (mut a, b) = (Host::new("a"), Host::new("b"));
    cable((&a, "eth1"), (&b, "eth1"));
    a.run("sysctl", "-q -w net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth1.accept_ra=2");
    up(&a);
    let address = up(&b);
    say(&b, advertisement(1), 255);
    until("taken without us", || a.ip("-6 route show default").contains(&address));
    until("gone with its lifetime", || a.ip("-6 route show default").is_empty());
    a.routed(1, PEER);
    until("listening", || a.reason() == "no router advertisement heard on eth1");
    say(&b, advertisement(1800), 255);
    until("found", || a.peer()["address"] == *address);
    assert_eq!(a.ip("-6 route show default"), "");
}
