//! Statistics reports: from the RIB's counts to those of RFC 7854 §4.8, RFC 8671 §6.2 and RFC 9069
//! §5.

use bgp::{
    bmp::Statistic,
    family::{Family, FamilySet},
    rib::{ImportCounts, PeerCounts},
};

use crate::peering::SessionCounts;

/// Those of a session with these families.
pub(super) fn of_session((routes, imports): SessionCounts, families: FamilySet) -> Vec<Statistic> {
    let ImportCounts {
        rejected,
        duplicate_announcements,
        duplicate_withdrawals,
        cluster_loops,
        as_loops,
        originator_loops,
        treated_as_withdraw,
    } = imports;
    let sum = |count: fn(&PeerCounts) -> usize| routes.iter().map(count).map(wide).sum();
    let mut statistics = vec![
        Statistic::Rejected(rejected),
        Statistic::DuplicateAnnouncements(duplicate_announcements),
        Statistic::DuplicateWithdrawals(duplicate_withdrawals),
        Statistic::ClusterLoops(cluster_loops),
        Statistic::AsLoops(as_loops),
        Statistic::OriginatorLoops(originator_loops),
        Statistic::AdjRibIn(sum(|counts| counts.received)),
        Statistic::TreatedAsWithdraw(treated_as_withdraw),
        Statistic::AdjRibOut(sum(|counts| counts.advertised)),
    ];
    for (family, counts) in Family::ALL.into_iter().zip(routes) {
        if families.contains(family) {
            statistics.push(Statistic::FamilyAdjRibIn(family, wide(counts.received)));
            statistics.push(Statistic::FamilyAdjRibOut(family, wide(counts.advertised)));
        }
    }
    statistics
}

/// Those of the Loc-RIB, from its prefixes by family.
pub(super) fn of_loc_rib(best: [usize; Family::ALL.len()]) -> Vec<Statistic> {
    let mut statistics = vec![Statistic::LocRib(best.into_iter().map(wide).sum())];
    let families = Family::ALL.into_iter().zip(best);
    statistics.extend(families.map(|(family, best)| Statistic::FamilyLocRib(family, wide(best))));
    statistics
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
