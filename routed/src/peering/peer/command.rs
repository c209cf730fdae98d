//! What operators and the node's links ask of a peer's task.

use std::{net::IpAddr, sync::Arc, time::Instant};

use bgp::{
    family::Family,
    session::{Cease, Input, State},
};

use super::PeerTask;
use crate::{
    config::{Peer, diff::Effect},
    peering::{interfaces, rib::PeerEvent},
};

/// What can be asked of a peer's task.
#[derive(Clone, Debug)]
pub enum PeerCommand {
    /// Have the session (again).
    Start,
    /// Have no session, with a text for the peer's operator (RFC 9003).
    Stop(String),
    /// Down and up again, with a text for the peer's operator.
    Reset(String),
    /// Ask the peer for its routes of a family again (RFC 2918).
    Refresh(Family),
    /// Tell the peer our routes of a family again.
    Resend(Family),
    /// Our restart is over: nobody is told of it any more.
    RestartOver,
    /// Go on with new settings, which have this effect.
    Configure(Arc<Peer>, Effect),
    /// Something happened to an interface of this node.
    Link(LinkEvent),
    /// End the task, with this reason for the peer.
    Shutdown(Cease),
}

/// A change of an interface that a session may run over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The interface of this name has a carrier and is up.
    Up(String),
    /// It has not, or it is gone.
    Down(String),
    /// The node no longer has this address.
    AddressGone(IpAddr),
}

impl PeerTask {
    pub(super) fn command(&mut self, command: PeerCommand) {
        match command {
            PeerCommand::Start => {
                self.wanted(true);
                self.watch_path();
                self.begin_anyway();
            }
            PeerCommand::Stop(text) => {
                self.wanted(false);
                self.watch_path();
                self.handle(Input::Stop(Cease::AdminShutdown(text)));
            }
            PeerCommand::Reset(text) => {
                self.wanted(true);
                self.handle(Input::Stop(Cease::AdminReset(text)));
                self.begin_anyway();
            }
            PeerCommand::Refresh(family) => {
                if !self.session.request_refresh(family, Instant::now()) {
                    let peer = &self.settings.name;
                    tracing::warn!(%peer, %family, "the peer cannot be asked for its routes again");
                }
                self.carry_out();
            }
            PeerCommand::RestartOver => self.session.end_restart(),
            PeerCommand::Resend(family) => self.rib.push(PeerEvent::Refresh(family)),
            PeerCommand::Configure(settings, effect) => self.configure(settings, effect),
            PeerCommand::Link(event) => self.link(&event),
            PeerCommand::Shutdown(cease) => self.shut_down(cease),
        }
    }

    pub(super) fn shut_down(&mut self, cease: Cease) {
        self.wanted(false);
        self.watch_path();
        if cease == Cease::Deconfigured {
            self.whereabouts.leave();
        }
        let terms = self.session.established().map(|(_, terms)| terms);
        let agreed = terms.is_some_and(|terms| terms.graceful_restart.is_some());
        // A peer that would drop our routes anyway may as well hear why.
        let cease = match cease {
            Cease::GracefulStop if !agreed => Cease::AdminShutdown(String::new()),
            other => other,
        };
        self.handle(Input::Stop(cease));
        self.ending = true;
    }

    /// A session that stands is touched only by what its OPEN does not fit any more. One that is
    /// still to come is tried anew at once: it may be what the settings were changed for.
    fn configure(&mut self, settings: Arc<Peer>, effect: Effect) {
        let anew = match effect {
            Effect::None | Effect::Soft => self.session.state() < State::OpenSent,
            Effect::Reset | Effect::Restart => true,
        };
        if anew {
            self.handle(Input::Stop(Cease::ConfigChange));
        }
        let (old, new) = (&self.settings.rib, &settings.rib);
        // What is announced may be within the limits now.
        let unbarred = old.max_prefixes != new.max_prefixes || old.import != new.import;
        self.settings = settings;
        self.tape.look_again();
        self.session.configure(self.settings.session.clone(), Instant::now());
        self.rename();
        self.watch_path();
        match effect {
            Effect::None => (),
            Effect::Soft | Effect::Reset | Effect::Restart => self.tell_settings(),
        }
        if anew && unbarred {
            self.begin_anyway();
        } else if anew {
            self.begin();
        }
    }

    /// Ends a session whose link is gone at once instead of after the hold time, and tries at
    /// once when the link is back. A peer that is searched for on its link is lost with it anyway.
    fn link(&mut self, event: &LinkEvent) {
        let Some(address) = self.settings.address.fixed() else { return };
        let name = &self.settings.name;
        let state = self.session.state();
        let established = state == State::Established;
        let concerned = match event {
            LinkEvent::Down(ifname) => {
                established && self.settings.is_on_link() && self.interface.as_ref() == Some(ifname)
            }
            LinkEvent::AddressGone(gone) => {
                established && self.local().is_some_and(|local| local.ip() == *gone)
            }
            LinkEvent::Up(ifname) => {
                // A handshake under way shows that the link is fine.
                state < State::OpenSent
                    && self.inbox.status.borrow().wanted
                    && self.settings.is_on_link()
                    && (self.settings.bind_device.as_deref() == Some(ifname)
                        || interfaces::interface_towards(address).as_ref() == Some(ifname))
            }
        };
        if concerned {
            tracing::info!(peer = %name, ?event, "the link to the peer changed");
            if matches!(event, LinkEvent::Down(_)) {
                self.liveness.path_down();
            }
            self.handle(Input::Stop(Cease::LinkDown));
            self.begin();
        }
    }
}
