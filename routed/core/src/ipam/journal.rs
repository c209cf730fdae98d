//! The journal of leases: what the kernel's objects do not tell a restarted daemon.
//!
//! In and out: [`Entry`] values and lines of text. Which addresses are leased the kernel knows, by
//! the pods' interfaces; what only the journal has is which addresses were given back and when, and
//! which were leased to pods that vanished while no daemon ran. So a journal that is lost or cannot
//! be read costs cooldowns and nothing else.
//!
//! Times are milliseconds of the kernel's monotonic clock, which no clock step moves and which a
//! restarted daemon shares. It begins anew with a boot, so the first line names the boot.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{
    attachment::{AttachmentId, BadAttachment},
    ipam::Lease,
};

/// One line of the journal but the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An attachment has got these addresses.
    Leased(AttachmentId, Lease),
    /// An address has been idle since then, in milliseconds.
    Idle(IpAddr, u64),
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kernel's id of the boot.
    pub boot: String,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK} {VERSION} {}", self.boot)
    }
}

impl FromStr for Header {
    type Err = BadLine;

    fn from_str(line: &str) -> Result<Self, BadLine> {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [MARK, version, boot] if version == VERSION => Ok(Self { boot: boot.to_owned() }),
            [MARK, version, ..] => Err(BadLine::Version(version.to_owned())),
            _ => Err(BadLine::Form),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leased(id, lease) => {
                write!(f, "leased {} {} {}", id.network(), id.container_id(), id.ifname())?;
                lease.iter().try_for_each(|address| write!(f, " {address}"))
            }
            Self::Idle(address, since) => write!(f, "idle {address} {since}"),
        }
    }
}

impl FromStr for Entry {
    type Err = BadLine;

    fn from_str(line: &str) -> Result<Self, BadLine> {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["leased", network, container_id, ifname, ref addresses @ ..]
                if !addresses.is_empty() =>
            {
                let id = AttachmentId::new(network, container_id, ifname)?;
                let mut lease = Lease::default();
                for address in addresses {
                    lease.set(address.parse().map_err(|_| BadLine::Form)?);
                }
                Ok(Self::Leased(id, lease))
            }
            ["idle", address, since] => Ok(Self::Idle(
                address.parse().map_err(|_| BadLine::Form)?,
                since.parse().map_err(|_| BadLine::Form)?,
            )),
            _ => Err(BadLine::Form),
        }
    }
}

/// Why a line says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// It is not in the form of a line, perhaps cut short by a crash or a full disk.
    #[error("the line is not understood")]
    Form,
    /// A name in it is not valid.
    #[error(transparent)]
    Id(#[from] BadAttachment),
    /// Another release wrote the journal.
    #[error("the journal is of version {0}; this release reads version {VERSION}")]
    Version(String),
}

/// First word of a journal.
const MARK: &str = "slash32-leases";
/// Of the form of the lines.
const VERSION: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_and_read_alike() {
        let id = AttachmentId::new("net", "c1", "eth0").unwrap();
        let lease = Lease { ipv4: "10.0.0.1".parse().ok(), ipv6: "fd00::1".parse().ok() };
        let entries = [
            Entry::Leased(id.clone(), lease),
            Entry::Leased(id, Lease { ipv4: None, ..lease }),
            Entry::Idle("10.0.0.1".parse().unwrap(), 12),
            Entry::Idle("fd00::1".parse().unwrap(), u64::MAX),
        ];
        for entry in entries {
            assert_eq!(entry.to_string().parse(), Ok(entry));
        }
        let header = Header { boot: "0c5d".to_owned() };
        assert_eq!(header.to_string(), "slash32-leases 1 0c5d");
        assert_eq!(header.to_string().parse(), Ok(header));
    }

    #[test]
    fn lines_that_were_cut_or_are_of_another_release_are_refused() {
        let whole = "leased net c1 eth0 10.0.0.1 fd00::1";
        for cut in
            ["", "leased net c1 eth0", "leased net", "idle 10.0.0.1", "idle 10.0.0 12", "idle"]
        {
            assert!(cut.parse::<Entry>().is_err(), "{cut}");
        }
        assert!(whole.parse::<Entry>().is_ok());
        assert!("leased -n c e 10.0.0.1".parse::<Entry>().is_err());
        let newer = "slash32-leases 2 0c5d x".parse::<Header>();
        assert_eq!(newer, Err(BadLine::Version("2".to_owned())));
        assert_eq!("something".parse::<Header>(), Err(BadLine::Form));
    }
}
