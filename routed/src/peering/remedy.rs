//! What an operator can do about a session that failed: one sentence for each way to fail.
//!
//! In: why the session ended or could not be had. Out: the remedy, where there is a usual one.
//! Errors of sockets carry theirs in their own text.

use bgp::{
    session::Cause,
    wire::{ErrorCode, Notification},
};

use routed_core::ra::Absence;

use super::status::LastError;

impl LastError {
    /// What to do about it; `None` if it says so itself or nothing needs to be done.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Socket(_) => None,
            Self::Session(cause) => of_cause(cause),
            Self::AwaitsBfd => Some(
                "look at the BFD state here and at the peer: has it a BFD session with our address, of the same kind (single hop or multihop) and with the same key?",
            ),
            Self::NoPeer(_, absence) => Some(of_absence(*absence)),
        }
    }

    /// Code and subcode of the NOTIFICATION that ended the session, and whether we sent it.
    #[must_use]
    pub const fn notification(&self) -> Option<(&Notification, Side)> {
        match self {
            Self::Session(Cause::Sent(notification)) => Some((notification, Side::Ours)),
            Self::Session(Cause::Received(notification)) => Some((notification, Side::Theirs)),
            Self::Session(_) | Self::Socket(_) | Self::AwaitsBfd | Self::NoPeer(..) => None,
        }
    }
}

/// Who found fault with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We did, and sent the NOTIFICATION.
    Ours,
    /// The peer did.
    Theirs,
}

const fn of_absence(absence: Absence) -> &'static str {
    match absence {
        Absence::NoInterface => "it is waited for; `ip link` lists those there are",
        Absence::LinkDown => {
            "look at the cable and the other side, or `ip link set up` it if it is off on ours"
        }
        Absence::NoAddress => {
            "if that lasts for seconds, IPv6 is off on it (sysctl disable_ipv6, addr_gen_mode), or \
             the other side has the same address"
        }
        Absence::Silence | Absence::Expired(_) => {
            "the peer must send router advertisements, as FRR does for `neighbor IFACE interface` \
             and BIRD by `protocol radv`; no firewall may drop ICMPv6"
        }
        Absence::Left(_) => {
            "that says that it is no router; give it a lifetime (FRR: `ipv6 nd ra-lifetime 30`)"
        }
    }
}

fn of_cause(cause: &Cause) -> Option<&'static str> {
    match cause {
        Cause::Sent(notification) => of_notification(notification, Side::Ours),
        Cause::Received(notification) => of_notification(notification, Side::Theirs),
        Cause::ReceivedMalformed(_) => {
            Some("the peer's software is at fault; the reason it gave cannot be read")
        }
        Cause::ConnectFailed => None,
        Cause::Closed => Some(
            "the peer gave no reason: it restarted, has no session configured for our address, or \
             something on the way cut the connection; look at its log",
        ),
        Cause::SendHoldExpired => Some(
            "the peer reads nothing: it is overloaded or stuck, or packets towards it get lost \
             (check the MTU of the path)",
        ),
        _ => None,
    }
}

fn of_notification(notification: &Notification, side: Side) -> Option<&'static str> {
    if let Some(wrapped) = notification.wrapped() {
        return of_notification(&wrapped, side);
    }
    let ours = side == Side::Ours;
    Some(match notification.error() {
        ErrorCode { code: 1, .. } => {
            "the stream is no BGP or was damaged on the way; is something else on the peer's port?"
        }
        ErrorCode::BAD_PEER_AS if ours => {
            "the peer is in another AS than peers[].asn says; correct it here, or bgp.asn there"
        }
        ErrorCode::BAD_PEER_AS => {
            "the peer expects another AS of us; correct bgp.asn (or local_asn) here, or remote-as there"
        }
        ErrorCode::BAD_IDENTIFIER => {
            "both sides have the same router id, or it is 0.0.0.0; give each router its own"
        }
        ErrorCode::UNACCEPTABLE_HOLD_TIME => {
            "one side insists on another hold time; set hold_time to at least what it asks for"
        }
        ErrorCode::UNSUPPORTED_CAPABILITY => {
            "the sides have no address family in common, or one is required; compare `families` \
             with what is activated on the peer"
        }
        ErrorCode::UNSUPPORTED_VERSION => "the peer does not speak BGP-4",
        ErrorCode::UNSUPPORTED_PARAMETER => {
            "the peer's software is old and does not ignore what it does not know; switch off \
             capabilities for it"
        }
        ErrorCode::ROLE_MISMATCH => {
            "the roles do not fit together (RFC 9234); provider goes with customer, rs with \
             rs-client, peer with peer"
        }
        ErrorCode { code: 2, .. } => {
            "one side cannot read the other's OPEN; compare their settings"
        }
        ErrorCode { code: 3, .. } if ours => {
            "the peer's UPDATE cannot be understood, not even in part (RFC 7606); its software is \
             at fault: log level debug shows the octets"
        }
        ErrorCode { code: 3, .. } => {
            "the peer cannot read one of our UPDATEs; please report it with its log"
        }
        ErrorCode { code: 4, .. } if ours => {
            "the peer fell silent: is it up, is the link, does it get our packets?"
        }
        ErrorCode { code: 4, .. } => {
            "the peer did not hear from us in time: was this node overloaded, was the link down?"
        }
        ErrorCode { code: 5, .. } => {
            "the sides disagree on the state of the session; it is built anew"
        }
        ErrorCode::MAX_PREFIXES if ours => {
            "the peer announced more than max_prefixes allows: mend its export policy or raise the \
             limit; `routed peer NAME enable` tries again at once"
        }
        ErrorCode::MAX_PREFIXES => {
            "we announced more than the peer allows: mend the export policy here, or raise its limit"
        }
        ErrorCode::ADMIN_SHUTDOWN if ours => return None,
        ErrorCode::ADMIN_SHUTDOWN => "the peer's operator has shut the session down",
        ErrorCode::ADMIN_RESET | ErrorCode::CONFIG_CHANGE | ErrorCode::COLLISION => return None,
        ErrorCode::PEER_DECONFIGURED if ours => return None,
        ErrorCode::PEER_DECONFIGURED => "the peer no longer has us in its configuration",
        ErrorCode::CONNECTION_REJECTED if ours => return None,
        ErrorCode::CONNECTION_REJECTED => {
            "the peer does not want a session with our address: is it configured there, and is it \
             switched on?"
        }
        ErrorCode::OUT_OF_RESOURCES => {
            "one side ran out of memory, files or peers; look at its log"
        }
        ErrorCode::BFD_DOWN => {
            "BFD lost the path to the peer; look at the link and at its BFD state"
        }
        ErrorCode { code: 6, .. } => return None,
        ErrorCode { code: 8, .. } if ours => {
            "the peer reads nothing: it is overloaded or stuck, or packets towards it get lost"
        }
        ErrorCode { code: 8, .. } => {
            "we did not take the peer's messages in time: was this node overloaded?"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(cause: Cause) -> Option<&'static str> {
        LastError::Session(cause).remedy()
    }

    #[test]
    fn the_remedy_depends_on_who_found_fault() {
        let bad_as = || Notification::new(ErrorCode::BAD_PEER_AS, vec![]);
        assert!(remedy(Cause::Sent(bad_as())).unwrap().contains("peers[].asn"));
        assert!(remedy(Cause::Received(bad_as())).unwrap().contains("bgp.asn"));
        let shutdown = || Notification::admin_shutdown("");
        assert_eq!(remedy(Cause::Sent(shutdown())), None);
        assert!(remedy(Cause::Received(shutdown())).unwrap().contains("operator"));
    }

    #[test]
    fn a_hard_reset_has_the_remedy_of_what_it_wraps() {
        let hard = Notification::max_prefixes(bgp::family::Family::Ipv4Unicast, 9).hard_reset();
        assert!(remedy(Cause::Sent(hard.clone())).unwrap().contains("max_prefixes"));
        assert_eq!(
            LastError::Session(Cause::Received(hard)).notification().map(|(_, side)| side),
            Some(Side::Theirs)
        );
    }

    #[test]
    fn every_registered_code_that_a_peer_may_send_is_answered_or_needs_nothing() {
        // Codes 1 to 5 always mean that somebody has to look.
        for code in 1..=5 {
            for subcode in 0..=12 {
                let notification = || Notification { code, subcode, data: bytes::Bytes::new() };
                assert!(remedy(Cause::Received(notification())).is_some(), "{code}/{subcode}");
                assert!(remedy(Cause::Sent(notification())).is_some(), "{code}/{subcode}");
            }
        }
    }
}
