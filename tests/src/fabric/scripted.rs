//! A peer that says exactly what the test tells it to, in any router of a lab.
//!
//! In: messages as octets. Out: what the other side says. Speaks over one connection that it has
//! opened itself, by bash, which needs no program in the lab.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use bgp::aspath::Asn;
use bgp::family::Family;
use bgp::wire::{self, Capability, Codec, Message, Open};
use bytes::BytesMut;

use super::Fabric;

/// See the module.
#[derive(Debug)]
pub struct Scripted {
    child: Child,
    /// `None` once it has hung up.
    to: Option<ChildStdin>,
    from: Receiver<Vec<u8>>,
    unread: BytesMut,
}

impl Scripted {
    /// Connects to the BGP port of an address.
    #[must_use]
    pub fn connect(fabric: &Fabric, place: &str, to: &str) -> Self {
        let script =
            format!("exec 3<>/dev/tcp/{to}/179 || exit; cat <&3 & trap \"kill $!\" EXIT; cat >&3");
        let mut command = fabric.command(place, &["bash", "-c", &script]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("testbed runs a command");
        let mut stdout = child.stdout.take().expect("piped above");
        let (sender, from) = channel();
        thread::spawn(move || {
            let mut octets = vec![0; 65_536];
            while let Ok(read @ 1..) = stdout.read(&mut octets) {
                if sender.send(octets[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        let to = child.stdin.take();
        Self { child, to, from, unread: BytesMut::new() }
    }

    /// Connects, and exchanges OPENs and KEEPALIVEs: hold time 0, both families, and these
    /// capabilities besides.
    #[must_use]
    pub fn established(
        fabric: &Fabric,
        (place, to): (&str, &str),
        asn: u32,
        capabilities: &[Capability],
    ) -> Self {
        let mut peer = Self::connect(fabric, place, to);
        peer.say(&open(asn, capabilities).encode());
        assert!(matches!(peer.hear(), Some(Message::Open(_))));
        peer.say(&wire::keepalive());
        assert_eq!(peer.hear(), Some(Message::Keepalive));
        peer
    }

    /// Sends octets.
    pub fn say(&mut self, octets: &[u8]) {
        let to = self.to.as_mut().expect("it has not hung up");
        to.write_all(octets).and_then(|()| to.flush()).expect("the connection stands");
    }

    /// The next message; `None` when the other side has closed.
    pub fn hear(&mut self) -> Option<Message> {
        loop {
            if let Ok(Some(len)) = wire::frame_len(&self.unread, wire::MAX_EXTENDED_LEN)
                && self.unread.len() >= len
            {
                let message = self.unread.split_to(len).freeze();
                return Some(wire::decode(&message, &Codec::PLAIN).expect("ours are well formed"));
            }
            match self.from.recv_timeout(PATIENCE) {
                Ok(octets) => self.unread.extend_from_slice(&octets),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("neither a message nor the end"),
            }
        }
    }

    /// The next message that is as wanted.
    pub fn hear_until(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        loop {
            match self.hear() {
                Some(message) if wanted(&message) => return message,
                Some(_) => {}
                None => panic!("closed before {what}"),
            }
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.child.wait();
    }
}

/// An OPEN with hold time 0 of a speaker in this AS.
#[must_use]
pub fn open(asn: u32, capabilities: &[Capability]) -> Open {
    let mut all = vec![
        Capability::family(Family::Ipv4Unicast),
        Capability::family(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::FourOctetAs(Asn(asn)),
    ];
    all.extend_from_slice(capabilities);
    Open {
        asn: Asn(asn).as_two_octets().unwrap_or(23_456),
        hold_time: 0,
        router_id: "10.9.9.9".parse().expect("an address"),
        capabilities: all,
    }
}

/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(30);
