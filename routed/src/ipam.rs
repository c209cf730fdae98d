//! `routed ipam check`: the daemon's leases, the kernel's interfaces and the journal compared.
//!
//! In: what the daemon answers on the administrator's socket, the interfaces and routes of this
//! host, and the journal's file. Out: every difference with what it means. Changes nothing; `--fix`
//! asks the daemon to put things right, which then looks for itself.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use routed_core::{
    ipam::journal::{Entry, Header},
    pod::adopt::{Found, recognize},
    pod::wiring::RouteStamp,
};
use serde::Serialize;

use crate::{
    admin::Request,
    kernel::pods::interfaces,
    show::{self, view::LeaseView},
};

/// One thing that does not fit together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// A lease whose pod has no interface.
    #[error(
        "{address} is leased to {holder}, which has no interface on this host: the lease leaks"
    )]
    LeaseWithoutPod {
        /// Which.
        address: IpAddr,
        /// Network, container and interface.
        holder: String,
    },
    /// A pod whose address is leased to nobody, or to another.
    #[error("{holder} on this host has {address}, which the daemon has leased to {}", leased_to.as_deref().unwrap_or("nobody"))]
    PodWithoutLease {
        /// Which.
        address: IpAddr,
        /// Network, container and interface.
        holder: String,
        /// Who has it in the daemon's book.
        leased_to: Option<String>,
    },
    /// Two pods with one address.
    #[error("{address} is on the interfaces of {first} and of {second}; delete one of the pods")]
    Twice {
        /// Which.
        address: IpAddr,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A lease that a restarted daemon would not hear of from the journal.
    #[error(
        "{address}, leased to {holder}, is not so in the journal: cooldowns may be lost at a restart"
    )]
    NotInJournal {
        /// Which.
        address: IpAddr,
        /// Network, container and interface.
        holder: String,
    },
    /// A lease that is none any more.
    #[error("the journal has {address} leased to {holder}, the daemon has not")]
    OnlyInJournal {
        /// Which.
        address: IpAddr,
        /// Network, container and interface.
        holder: String,
    },
    /// The journal cannot be used.
    #[error("the journal {path} cannot be used: {reason}")]
    Journal {
        /// Where it should be.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Compares; with `fix` has the daemon put right what differs, waits for it and compares again.
///
/// # Errors
///
/// If the daemon does not answer, or the host's interfaces cannot be read.
pub fn run(socket: &Path, journal: &Path, fix: bool) -> anyhow::Result<Vec<Finding>> {
    let look = || -> anyhow::Result<Vec<Finding>> {
        let leases = show::ask::<LeaseView>(socket, &Request::Leases)?;
        check(&leases, journal).context("the host's interfaces cannot be read; try sudo")
    };
    let mut findings = look()?;
    if fix && !findings.is_empty() {
        show::ask::<()>(socket, &Request::PutRight)?;
        let deadline = Instant::now() + FIX_TIME;
        while !findings.is_empty() && Instant::now() < deadline {
            thread::sleep(FIX_PAUSE);
            findings = look()?;
        }
    }
    Ok(findings)
}

/// The findings for people.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    match findings {
        [] => "leases, interfaces and journal agree\n".to_owned(),
        some => some.iter().map(|finding| format!("{finding}\n")).collect(),
    }
}

/// Who has which address.
type Holders = BTreeMap<IpAddr, String>;

/// Every difference. `leases` is what the daemon said.
///
/// # Errors
///
/// If the kernel's interfaces cannot be read.
pub fn check(
    leases: &[LeaseView],
    journal: &Path,
) -> Result<Vec<Finding>, crate::kernel::netlink::NetlinkError> {
    let mut findings = Vec::new();
    let kernel = in_kernel(&mut findings)?;
    let leased = leases.iter().filter_map(|lease| Some((lease.address, lease.holder()?)));
    compare(&leased.collect(), &kernel, &mut findings);
    match fs::read_to_string(journal)
        .map_err(|error| error.to_string())
        .and_then(|text| in_journal(&text))
    {
        Ok(written) => {
            let leased = leases.iter().filter_map(|lease| Some((lease.address, lease.holder()?)));
            compare_journal(&leased.collect(), &written, &mut findings);
        }
        Err(reason) => {
            findings.push(Finding::Journal { path: journal.display().to_string(), reason });
        }
    }
    findings.sort();
    Ok(findings)
}

fn compare(leased: &Holders, kernel: &Holders, findings: &mut Vec<Finding>) {
    for (address, holder) in leased {
        if kernel.get(address) != Some(holder) {
            let (address, holder) = (*address, holder.clone());
            findings.push(Finding::LeaseWithoutPod { address, holder });
        }
    }
    for (address, holder) in kernel {
        let leased_to = leased.get(address);
        if leased_to != Some(holder) {
            let leased_to = leased_to.cloned();
            let (address, holder) = (*address, holder.clone());
            findings.push(Finding::PodWithoutLease { address, holder, leased_to });
        }
    }
}

fn compare_journal(leased: &Holders, written: &Holders, findings: &mut Vec<Finding>) {
    for (address, holder) in
        leased.iter().filter(|(address, holder)| written.get(address) != Some(holder))
    {
        findings.push(Finding::NotInJournal { address: *address, holder: holder.clone() });
    }
    for (address, holder) in written.iter().filter(|(address, _)| !leased.contains_key(address)) {
        findings.push(Finding::OnlyInJournal { address: *address, holder: holder.clone() });
    }
}

/// What the pods' interfaces say.
fn in_kernel(findings: &mut Vec<Finding>) -> Result<Holders, crate::kernel::netlink::NetlinkError> {
    // Where the routes go says nothing about who has an address.
    let stamp = RouteStamp { table: 0, protocol: 0, learned: 0 };
    let mut holders = Holders::new();
    for link in interfaces()? {
        // Those that are being removed have no lease any more.
        let Some(Found::Pod(wiring)) = recognize(&link, stamp) else {
            continue;
        };
        for address in wiring.lease.iter() {
            let second = wiring.id.to_string();
            match holders.get(&address) {
                Some(first) => {
                    findings.push(Finding::Twice { address, first: first.clone(), second });
                }
                None => drop(holders.insert(address, second)),
            }
        }
    }
    Ok(holders)
}

/// What the journal says: the last line about an address counts.
fn in_journal(text: &str) -> Result<Holders, String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    header.parse::<Header>().map_err(|error| error.to_string())?;
    let mut holders = Holders::new();
    for line in lines {
        match line.parse::<Entry>().map_err(|error| format!("{line:?}: {error}"))? {
            Entry::Leased(id, lease) => {
                holders.extend(lease.iter().map(|address| (address, id.to_string())));
            }
            Entry::Idle(address, _) => drop(holders.remove(&address)),
        }
    }
    Ok(holders)
}

/// Name of the journal of leases, beside the CNI socket.
pub const JOURNAL: &str = "leases";
/// Where it is unless `sockets.cni` says otherwise.
pub const DEFAULT_JOURNAL: &str = "/run/slash32/leases";
/// How long the daemon may take to put things right: removing an interface takes 20 ms.
const FIX_TIME: Duration = Duration::from_secs(3);
/// Between two looks at whether it has.
const FIX_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(pairs: &[(&str, &str)]) -> Holders {
        pairs
            .iter()
            .map(|(address, holder)| (address.parse().unwrap(), (*holder).to_owned()))
            .collect()
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let leased = holders(&[
            ("10.0.0.1", "n/a/eth0"),
            ("10.0.0.2", "n/b/eth0"),
            ("10.0.0.3", "n/c/eth0"),
        ]);
        let kernel = holders(&[
            ("10.0.0.1", "n/a/eth0"),
            ("10.0.0.3", "n/x/eth0"),
            ("10.0.0.9", "n/y/eth0"),
        ]);
        let written = holders(&[
            ("10.0.0.1", "n/a/eth0"),
            ("10.0.0.2", "n/b/eth0"),
            ("10.0.0.8", "n/z/eth0"),
        ]);
        let mut findings = Vec::new();
        compare(&leased, &kernel, &mut findings);
        compare_journal(&leased, &written, &mut findings);
        let texts: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "10.0.0.2 is leased to n/b/eth0, which has no interface on this host: the lease leaks",
                "10.0.0.3 is leased to n/c/eth0, which has no interface on this host: the lease leaks",
                "n/x/eth0 on this host has 10.0.0.3, which the daemon has leased to n/c/eth0",
                "n/y/eth0 on this host has 10.0.0.9, which the daemon has leased to nobody",
                "10.0.0.3, leased to n/c/eth0, is not so in the journal: cooldowns may be lost at a restart",
                "the journal has 10.0.0.8 leased to n/z/eth0, the daemon has not",
            ]
        );
    }

    #[test]
    fn last_word_of_the_journal_about_an_address_counts() {
        let text = "slash32-leases 1 b\nleased n a eth0 10.0.0.1 fd00::1\nidle 10.0.0.1 7\n";
        assert_eq!(in_journal(text), Ok(holders(&[("fd00::1", "n/a/eth0")])));
        assert!(in_journal("").is_err());
        assert!(in_journal("slash32-leases 1 b\nnonsense\n").is_err());
    }
}
