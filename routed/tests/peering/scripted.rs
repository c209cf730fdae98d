//! A peer that says exactly what the test tells it to.

use std::{net::IpAddr, net::SocketAddr, time::Duration};

use bgp::{
    aspath::Asn,
    family::Family,
    wire::{self, Capability, Codec, Message, Open, Update},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

/// One TCP connection of a scripted peer.
pub(crate) struct Scripted {
    pub(crate) stream: TcpStream,
    unread: BytesMut,
}

impl Scripted {
    /// Connects from this address.
    pub(crate) async fn connect(from: IpAddr, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let stream = socket.connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: BytesMut::new() }
    }

    /// Waits to be dialled.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("dialled").unwrap();
        Self { stream, unread: BytesMut::new() }
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// The next message; `None` when the other side has closed.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        loop {
            let have = self.unread.len();
            if have >= wire::HEADER_LEN {
                let len = usize::from(u16::from_be_bytes([self.unread[16], self.unread[17]]));
                if have >= len {
                    let message: Bytes = self.unread.split_to(len).freeze();
                    return Some(wire::decode(&message, &Codec::default()).unwrap());
                }
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
            match read.expect("a message or the end") {
                Ok(0) | Err(_) => return None,
                Ok(_) => (),
            }
        }
    }

    /// The next message that is not a KEEPALIVE.
    pub(crate) async fn news(&mut self) -> Option<Message> {
        loop {
            match self.message().await {
                Some(Message::Keepalive) => (),
                other => return other,
            }
        }
    }

    /// What ended the connection: the NOTIFICATION's code and subcode, if there was one.
    pub(crate) async fn end(&mut self) -> Option<(u8, u8)> {
        loop {
            match self.message().await {
                Some(Message::Notification(end)) => return Some((end.code, end.subcode)),
                Some(_) => (),
                None => return None,
            }
        }
    }

    /// OPENs and KEEPALIVEs both ways.
    pub(crate) async fn handshake(&mut self, asn: u32) {
        self.send(&open(asn)).await;
        assert!(matches!(self.message().await, Some(Message::Open(_))));
        self.send(&wire::keepalive()).await;
        assert_eq!(self.message().await, Some(Message::Keepalive));
    }

    /// Everything announced and withdrawn until End-of-RIB of both families.
    pub(crate) async fn initial_transfer(&mut self) -> Vec<Update> {
        let (mut updates, mut ends) = (Vec::new(), 0);
        while ends < 2 {
            match self.news().await {
                Some(Message::Update(update)) if update.end_of_rib.is_some() => ends += 1,
                Some(Message::Update(update)) => updates.push(update),
                other => panic!("{other:?} in the initial transfer"),
            }
        }
        updates
    }
}

/// An OPEN of a speaker in this AS, hold time 9, both families.
pub(crate) fn open(asn: u32) -> Bytes {
    let open = Open {
        asn: u16::try_from(asn).unwrap_or(23_456),
        hold_time: 9,
        router_id: "10.9.9.9".parse().unwrap(),
        capabilities: vec![
            Capability::family(Family::Ipv4Unicast),
            Capability::family(Family::Ipv6Unicast),
            Capability::RouteRefresh,
            Capability::FourOctetAs(Asn(asn)),
        ],
    };
    open.encode()
}

/// An UPDATE that announces 192.0.2.0/24 over 65002, with these octets in place of ORIGIN.
pub(crate) fn announce_with_origin(origin: &[u8]) -> Vec<u8> {
    let as_path = [0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];
    let next_hop = [0x40, 3, 4, 10, 9, 9, 9];
    let attributes = [origin, &as_path, &next_hop].concat();
    let nlri = [24, 192, 0, 2];
    let len = wire::HEADER_LEN + 2 + 2 + attributes.len() + nlri.len();
    let mut message = vec![0xff; 16];
    message.extend(u16::try_from(len).unwrap().to_be_bytes());
    message.extend([2, 0, 0]);
    message.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    message.extend(attributes);
    message.extend(nlri);
    message
}

/// The same without a flaw.
pub(crate) fn announce() -> Vec<u8> {
    announce_with_origin(&[0x40, 1, 1, 0])
}

/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(20);
