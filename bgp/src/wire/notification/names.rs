//! The registered error codes and subcodes with their names (IANA "BGP Error (Notification)
//! Codes" and its subcode registries).
//!
//! In: a pair of numbers. Out: its name, or the numbers where nobody has named them.

use std::fmt;

/// An error code with its subcode. Any pair can come from a peer; the constants are those
/// that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is "unspecific".
    pub subcode: u8,
}

/// One line a code: constant, numbers, name, and where it is defined.
macro_rules! error_codes {
    ($($constant:ident = $code:literal / $subcode:literal, $name:literal, $rfc:literal;)*) => {
        impl ErrorCode {
            $(
                #[doc = concat!($name, " (", $rfc, ").")]
                pub const $constant: Self = Self::new($code, $subcode);
            )*

            /// The subcode's name, if it has one.
            const fn subcode_name(self) -> Option<&'static str> {
                match (self.code, self.subcode) {
                    $(($code, $subcode) => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    NOT_SYNCHRONIZED = 1 / 1, "Connection Not Synchronized", "RFC 4271 §6.1";
    BAD_MESSAGE_LENGTH = 1 / 2, "Bad Message Length", "RFC 4271 §6.1";
    BAD_MESSAGE_TYPE = 1 / 3, "Bad Message Type", "RFC 4271 §6.1";
    OPEN_UNSPECIFIC = 2 / 0, "Unspecific", "RFC 4271 §6.2";
    UNSUPPORTED_VERSION = 2 / 1, "Unsupported Version Number", "RFC 4271 §6.2";
    BAD_PEER_AS = 2 / 2, "Bad Peer AS", "RFC 4271 §6.2";
    BAD_IDENTIFIER = 2 / 3, "Bad BGP Identifier", "RFC 4271 §6.2";
    UNSUPPORTED_PARAMETER = 2 / 4, "Unsupported Optional Parameter", "RFC 4271 §6.2";
    UNACCEPTABLE_HOLD_TIME = 2 / 6, "Unacceptable Hold Time", "RFC 4271 §6.2";
    UNSUPPORTED_CAPABILITY = 2 / 7, "Unsupported Capability", "RFC 5492 §5";
    ROLE_MISMATCH = 2 / 11, "Role Mismatch", "RFC 9234 §4.2";
    UPDATE_UNSPECIFIC = 3 / 0, "Unspecific", "RFC 4271 §6.3";
    MALFORMED_ATTRIBUTE_LIST = 3 / 1, "Malformed Attribute List", "RFC 4271 §6.3";
    UNRECOGNIZED_WELL_KNOWN = 3 / 2, "Unrecognized Well-known Attribute", "RFC 4271 §6.3";
    MISSING_WELL_KNOWN = 3 / 3, "Missing Well-known Attribute", "RFC 4271 §6.3";
    ATTRIBUTE_FLAGS = 3 / 4, "Attribute Flags Error", "RFC 4271 §6.3";
    ATTRIBUTE_LENGTH = 3 / 5, "Attribute Length Error", "RFC 4271 §6.3";
    INVALID_ORIGIN = 3 / 6, "Invalid ORIGIN Attribute", "RFC 4271 §6.3";
    INVALID_NEXT_HOP = 3 / 8, "Invalid NEXT_HOP Attribute", "RFC 4271 §6.3";
    OPTIONAL_ATTRIBUTE = 3 / 9, "Optional Attribute Error", "RFC 4271 §6.3";
    INVALID_NETWORK_FIELD = 3 / 10, "Invalid Network Field", "RFC 4271 §6.3";
    MALFORMED_AS_PATH = 3 / 11, "Malformed AS_PATH", "RFC 4271 §6.3";
    HOLD_TIMER_EXPIRED = 4 / 0, "Unspecific", "RFC 4271 §6.5";
    FSM_UNSPECIFIED = 5 / 0, "Unspecified Error", "RFC 6608 §3";
    UNEXPECTED_IN_OPEN_SENT = 5 / 1, "Unexpected Message in OpenSent", "RFC 6608 §3";
    UNEXPECTED_IN_OPEN_CONFIRM = 5 / 2, "Unexpected Message in OpenConfirm", "RFC 6608 §3";
    UNEXPECTED_IN_ESTABLISHED = 5 / 3, "Unexpected Message in Established", "RFC 6608 §3";
    CEASE = 6 / 0, "Unspecific", "RFC 4271 §6.7";
    MAX_PREFIXES = 6 / 1, "Maximum Number of Prefixes Reached", "RFC 4486 §4";
    ADMIN_SHUTDOWN = 6 / 2, "Administrative Shutdown", "RFC 4486 §4, RFC 9003";
    PEER_DECONFIGURED = 6 / 3, "Peer De-configured", "RFC 4486 §4";
    ADMIN_RESET = 6 / 4, "Administrative Reset", "RFC 4486 §4, RFC 9003";
    CONNECTION_REJECTED = 6 / 5, "Connection Rejected", "RFC 4486 §4";
    CONFIG_CHANGE = 6 / 6, "Other Configuration Change", "RFC 4486 §4";
    COLLISION = 6 / 7, "Connection Collision Resolution", "RFC 4486 §4";
    OUT_OF_RESOURCES = 6 / 8, "Out of Resources", "RFC 4486 §4";
    HARD_RESET = 6 / 9, "Hard Reset", "RFC 8538 §3";
    BFD_DOWN = 6 / 10, "BFD Down", "RFC 9384 §3";
    INVALID_REFRESH_LENGTH = 7 / 1, "Invalid Message Length", "RFC 7313 §5";
    SEND_HOLD_TIMER_EXPIRED = 8 / 0, "Unspecific", "RFC 9687 §3";
}

impl ErrorCode {
    /// Any pair of numbers.
    #[must_use]
    pub const fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode }
    }

    const fn code_name(self) -> Option<&'static str> {
        match self.code {
            1 => Some("Message Header Error"),
            2 => Some("OPEN Message Error"),
            3 => Some("UPDATE Message Error"),
            4 => Some("Hold Timer Expired"),
            5 => Some("Finite State Machine Error"),
            6 => Some("Cease"),
            7 => Some("ROUTE-REFRESH Message Error"),
            8 => Some("Send Hold Timer Expired"),
            _ => None,
        }
    }
}

/// `Code/Subcode` in words; just the code where the subcode is 0.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code_name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "code {}", self.code)?,
        }
        match (self.subcode, self.subcode_name()) {
            (0, _) => Ok(()),
            (_, Some(name)) => write!(f, "/{name}"),
            (subcode, None) => write!(f, "/subcode {subcode}"),
        }
    }
}
