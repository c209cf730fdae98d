//! What must hold for the search for the peer on an unnumbered link, whatever its neighbours send
//! and in whatever order: shared by the fuzz target here and by the tests that replay its corpus
//! and make up more.
//!
//! Panics if a promise is broken.

use std::{
    net::Ipv6Addr,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use routed_core::ra::{Discovery, HOP_LIMIT, Input, Interface, Output, Packet, Session};

/// Octets of the input, taken off its front; zeros when they are used up.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn next(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// One end of a link, its clock, and what those who act on its outputs believe.
struct Link {
    discovery: Discovery,
    now: Instant,
    interface: Interface,
    peer: Option<Ipv6Addr>,
}

/// What happens, an octet and its operands each.
pub(crate) fn lives_through(input: &[u8]) {
    let mut choices = Choices(input);
    let mut link = Link {
        discovery: Discovery::new(7),
        now: Instant::now(),
        interface: Interface::Missing,
        peer: None,
    };
    while !choices.0.is_empty() {
        link.happens(&mut choices);
    }
    link.give(Input::Interface(Interface::Missing));
    assert_eq!(link.peer, None);
    link.discovery.leave();
    assert_eq!(link.discovery.poll_output(), None, "there is nobody to say it to");
}

impl Link {
    fn happens(&mut self, choices: &mut Choices<'_>) {
        match choices.next() % 8 {
            0 => {
                self.interface = match choices.next() % 6 {
                    0 => Interface::Missing,
                    1 => Interface::Down,
                    2 => Interface::NoAddress,
                    n => Interface::Up { index: NonZeroU32::MIN, addr: router(u16::from(n) + 500) },
                };
                self.give(Input::Interface(self.interface));
            }
            // Octets as they may come from anybody.
            1 => {
                let (hop_limit, source) = (choices.next() | 0xFE, choices.next());
                let len = usize::from(choices.next());
                let octets = choices.take(len);
                self.packet(Packet { source: router(source.into()), hop_limit, octets });
            }
            // A router, with options.
            2 | 3 => {
                let source = router(choices.next().into());
                let (lifetime, len) = (choices.next(), usize::from(choices.next() % 40));
                let mut octets = vec![134, 0, 0, 0, 64, 0, 0, lifetime];
                octets.extend([0; 8]);
                octets.extend(choices.take(len));
                self.packet(Packet { source, hop_limit: HOP_LIMIT, octets: &octets });
            }
            4 => {
                let source = match choices.next() {
                    0 => Ipv6Addr::UNSPECIFIED,
                    n => router(n.into()),
                };
                let octets = [133, 0, 0, 0, 0, 0, 0, 0];
                self.packet(Packet { source, hop_limit: HOP_LIMIT, octets: &octets });
            }
            5 => {
                let choice = choices.next();
                let (established, messages) = (choice & 1 != 0, u64::from(choice >> 1));
                self.give(Input::Session(Session { established, messages }));
            }
            6 => {
                let next = self.discovery.poll_timeout().unwrap_or(self.now);
                self.pass_until(next);
            }
            _ => {
                let time = Duration::from_millis(u64::from(choices.next()) * 200);
                self.pass_until(self.now + time);
            }
        }
    }

    /// Every deadline on the way is kept.
    fn pass_until(&mut self, end: Instant) {
        let mut deadlines = 0;
        while let Some(at) = self.discovery.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.give(Input::Timeout);
            let next = self.discovery.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "what is due is done");
            deadlines += 1;
            assert!(deadlines < 1000, "it goes round in circles");
        }
        self.now = self.now.max(end);
    }

    fn packet(&mut self, packet: Packet<'_>) {
        let outcome = self.discovery.handle(Input::Packet(packet), self.now);
        if let Err(flaw) = outcome {
            assert!(flaw.to_string().len() > 10);
        }
        self.drain();
    }

    fn give(&mut self, input: Input<'_>) {
        assert_eq!(self.discovery.handle(input, self.now), Ok(()));
        self.drain();
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.discovery.poll_output() {
            self.take(output);
            outputs += 1;
        }
        assert!(outputs < 10, "{outputs} outputs at once");
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Send { octets, to } => {
                assert!(self.interface.is_up(), "sent on a link that is down");
                assert!(to.is_multicast() || to.is_unicast_link_local(), "sent to {to}");
                assert!(matches!((octets[0], octets.len()), (133, 8) | (134, 16)), "{octets:?}");
            }
            Output::Peer(Ok(peer)) => {
                assert!(peer.is_unicast_link_local());
                assert!(self.interface.is_up(), "a peer on a link that is down");
                assert_ne!(self.peer.replace(peer), Some(peer), "told twice");
            }
            Output::Peer(Err(absence)) => {
                assert!(!absence.on("eth1").is_empty());
                self.peer = None;
            }
            Output::Note(_) => {}
        }
    }
}

fn router(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, n)
}
