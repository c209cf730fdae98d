//! The decision by example, step by step, and its independence of order.

use proptest::prelude::*;

use super::*;
use crate::{
    aspath::AsPath,
    attrs::{Attrs, NextHop, Origin},
    community::Community,
};

/// A path from eBGP peer `n` through AS 65001, like all others until it is changed.
#[derive(Clone, Debug)]
struct Sample {
    attrs: Attrs,
    from: Origination,
    cost: u32,
}

fn sample(n: u8) -> Sample {
    let address = Ipv4Addr::new(192, 0, 2, n);
    let mut attrs = Attrs::originated(NextHop::new(address.into()));
    attrs.as_path = AsPath::sequence([65001, 65009]);
    let from = Origination::Peer {
        external: true,
        router_id: address,
        address: address.into(),
        path_id: 0,
    };
    Sample { attrs, from, cost: 10 }
}

fn internal(n: u8) -> Sample {
    let address = Ipv4Addr::new(192, 0, 2, n);
    let from = Origination::Peer {
        external: false,
        router_id: address,
        address: address.into(),
        path_id: 0,
    };
    Sample { from, ..sample(n) }
}

/// Indices of all samples in the order of the decision, with the step that ruled them out.
fn outcome(samples: &[Sample], multipath: usize) -> Vec<(usize, Option<Step>)> {
    let contenders = samples.iter().enumerate();
    let mut contenders: Vec<_> = contenders
        .map(|(index, sample)| {
            Contender::new(index, &Merits::of(&sample.attrs), sample.from, sample.cost)
        })
        .collect();
    let used = decide(&mut contenders, multipath);
    assert!(contenders[..used].iter().all(|path| path.lost.is_none()));
    assert!(contenders[used..].iter().all(|path| path.lost.is_some()));
    contenders.iter().map(|path| (path.index, path.lost)).collect()
}

/// The second of two paths wins and the first loses at this step, in either order of arrival.
/// Both have a later step in favour of the first: its peer has the lower id and address.
fn second_wins(step: Step, change: impl Fn(&mut Sample, &mut Sample)) {
    let (mut first, mut second) = (sample(1), sample(2));
    change(&mut first, &mut second);
    assert_eq!(outcome(&[first.clone(), second.clone()], 1), [(1, None), (0, Some(step))]);
    assert_eq!(outcome(&[second, first], 1), [(0, None), (1, Some(step))]);
}

#[test]
fn rfc9494_4_3_a_long_lived_stale_path_loses_to_every_other() {
    second_wins(Step::LongLivedStale, |first, second| {
        first.attrs.communities = vec![Community::LLGR_STALE];
        first.attrs.local_pref = Some(u32::MAX);
        second.attrs.as_path = AsPath::sequence([65001, 65002, 65003]);
    });
}

#[test]
fn what_this_router_originates_beats_everything() {
    second_wins(Step::LocallyOriginated, |first, second| {
        first.attrs.local_pref = Some(u32::MAX);
        second.from = Origination::Local;
    });
}

#[test]
fn a_higher_weight_wins_before_anything_that_peers_say_but_not_over_our_own() {
    second_wins(Step::Weight, |first, second| {
        first.attrs.local_pref = Some(u32::MAX);
        second.attrs.weight = 1;
    });
    second_wins(Step::LocallyOriginated, |first, second| {
        first.attrs.weight = u32::MAX;
        second.from = Origination::Local;
    });
}

#[test]
fn rfc4271_9_1_1_higher_local_pref_wins_and_none_is_100() {
    second_wins(Step::LocalPref, |_, second| second.attrs.local_pref = Some(101));
    second_wins(Step::LocalPref, |first, second| {
        first.attrs.local_pref = Some(99);
        second.attrs.as_path = AsPath::sequence([65001, 65002, 65003]);
    });
}

#[test]
fn rfc4271_9_1_2_2_a_shorter_as_path_wins() {
    second_wins(Step::AsPathLength, |first, second| {
        first.attrs.as_path = AsPath::sequence([65001, 65002, 65003]);
        second.attrs.origin = Origin::Incomplete;
    });
}

#[test]
fn rfc4271_9_1_2_2_b_lower_origin_wins() {
    second_wins(Step::Origin, |first, second| {
        first.attrs.origin = Origin::Egp;
        second.attrs.med = Some(9);
    });
}

#[test]
fn rfc4271_9_1_2_2_c_lower_med_wins_within_one_neighbouring_as_and_none_is_0() {
    second_wins(Step::Med, |first, second| {
        first.attrs.med = Some(1);
        second.from = internal(2).from;
    });
}

#[test]
fn rfc4271_9_1_2_2_c_med_of_different_neighbouring_ases_is_not_compared() {
    let (mut first, mut second) = (sample(1), sample(2));
    first.attrs.med = Some(100);
    second.attrs.as_path = AsPath::sequence([65002, 65009]);
    assert_eq!(outcome(&[first, second], 1), [(0, None), (1, Some(Step::RouterId))]);
}

/// The textbook case in which comparing in order of arrival gives three different answers.
#[test]
fn rfc4271_9_1_2_2_c_med_does_not_depend_on_the_order_of_arrival() {
    let (mut a, mut b, mut c) = (sample(1), sample(2), sample(3));
    a.attrs.med = Some(10); // AS 65001, lowest id, but b has the lower MED
    b.attrs.med = Some(5);
    b.from = Origination::Peer {
        external: true,
        router_id: Ipv4Addr::new(192, 0, 2, 9),
        address: Ipv4Addr::new(192, 0, 2, 9).into(),
        path_id: 0,
    };
    c.attrs.as_path = AsPath::sequence([65002, 65009]); // beats b by its id, loses it to a
    let expected = [(2, None), (1, Some(Step::RouterId)), (0, Some(Step::Med))];
    assert_eq!(outcome(&[a.clone(), b.clone(), c.clone()], 1), expected);
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let all = [a.clone(), b.clone(), c.clone()];
        let samples = order.map(|at| all[at].clone());
        let named = outcome(&samples, 1).into_iter().map(|(at, step)| (order[at], step));
        assert!(named.eq(expected), "{order:?}");
    }
}

#[test]
fn rfc4271_9_1_2_2_d_ebgp_wins_over_ibgp() {
    second_wins(Step::EbgpOverIbgp, |first, second| {
        first.from = internal(1).from;
        second.cost = 20;
    });
}

#[test]
fn rfc4271_9_1_2_2_e_nearer_next_hop_wins() {
    second_wins(Step::NextHopCost, |_, second| second.cost = 9);
}

#[test]
fn rfc4271_9_1_2_2_f_lower_router_id_wins_whatever_the_address() {
    second_wins(Step::RouterId, |_, second| {
        let router_id = Ipv4Addr::new(1, 0, 0, 1);
        let address = Ipv4Addr::new(203, 0, 113, 1).into();
        second.from = Origination::Peer { external: true, router_id, address, path_id: 0 };
    });
}

#[test]
fn rfc4456_9_originator_id_stands_for_the_router_id() {
    second_wins(Step::RouterId, |_, second| {
        second.attrs.originator_id = Some(Ipv4Addr::new(1, 0, 0, 1));
        second.attrs.cluster_list = vec![Ipv4Addr::new(9, 9, 9, 9)];
    });
}

#[test]
fn rfc4456_9_shorter_cluster_list_wins_after_the_router_id() {
    second_wins(Step::ClusterListLength, |first, second| {
        let id = Some(Ipv4Addr::new(7, 7, 7, 7));
        (first.attrs.originator_id, second.attrs.originator_id) = (id, id);
        first.attrs.cluster_list = vec![Ipv4Addr::new(9, 9, 9, 9)];
    });
}

#[test]
fn rfc4271_9_1_2_2_g_lower_peer_address_decides_last() {
    second_wins(Step::PeerAddress, |first, second| {
        let router_id = Ipv4Addr::new(7, 7, 7, 7);
        for (sample, n) in [(first, 5), (second, 4)] {
            let address = Ipv4Addr::new(192, 0, 2, n).into();
            sample.from = Origination::Peer { external: true, router_id, address, path_id: 0 };
        }
    });
}

#[test]
fn of_several_paths_of_one_peer_the_lowest_number_decides_after_everything_else() {
    second_wins(Step::PathId, |first, second| {
        let router_id = Ipv4Addr::new(7, 7, 7, 7);
        for (sample, path_id) in [(first, 5), (second, 4)] {
            let address = Ipv4Addr::new(192, 0, 2, 1).into();
            sample.from = Origination::Peer { external: true, router_id, address, path_id };
        }
    });
}

#[test]
fn multipath_takes_equally_long_paths_through_different_ases_up_to_the_limit() {
    let mut samples: Vec<_> = (1..=4).map(sample).collect();
    samples[2].attrs.as_path = AsPath::sequence([65002, 65003]);
    samples[0].cost = 11;
    let expected =
        [(1, None), (2, None), (3, Some(Step::MultipathLimit)), (0, Some(Step::NextHopCost))];
    assert_eq!(outcome(&samples, 2), expected);
}

#[test]
fn no_path_gives_none_and_a_limit_of_zero_counts_as_one() {
    assert_eq!(outcome(&[], 4), []);
    assert_eq!(outcome(&[sample(1), sample(2)], 0), [(0, None), (1, Some(Step::RouterId))]);
}

fn any_sample(n: u8) -> impl Strategy<Value = Sample> {
    let lengths = prop::collection::vec(65001_u32..65003, 1..3);
    let preferences = (prop::option::of(99_u32..102), prop::option::of(0_u32..3), 0_u32..2);
    let ids = (0_u8..3, prop::option::of(0_u8..3), 0_usize..2, any::<bool>());
    (lengths, preferences, ids).prop_map(
        move |(path, (local_pref, med, cost), (id, originator, clusters, external))| {
            let router_id = |id| Ipv4Addr::new(10, 0, 0, id);
            let mut sample = sample(n);
            sample.attrs.as_path = AsPath::sequence(path);
            (sample.attrs.local_pref, sample.attrs.med) = (local_pref, med);
            sample.attrs.originator_id = originator.map(router_id);
            sample.attrs.cluster_list = vec![router_id(99); clusters];
            sample.cost = cost;
            let address = Ipv4Addr::new(192, 0, 2, n).into();
            sample.from =
                Origination::Peer { external, router_id: router_id(id), address, path_id: 0 };
            sample
        },
    )
}

fn any_samples() -> impl Strategy<Value = (Vec<Contender>, Vec<Contender>)> {
    let samples = (1..=8).map(any_sample).collect::<Vec<_>>();
    samples.prop_flat_map(|samples| {
        let contenders = samples.iter().enumerate();
        let contenders: Vec<_> = contenders
            .map(|(index, sample)| {
                Contender::new(index, &Merits::of(&sample.attrs), sample.from, sample.cost)
            })
            .collect();
        (Just(contenders.clone()), Just(contenders).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn the_decision_does_not_depend_on_the_order_of_arrival(
        (mut one, mut other) in any_samples(),
        multipath in 1_usize..5,
    ) {
        let used = decide(&mut one, multipath);
        prop_assert_eq!(decide(&mut other, multipath), used);
        prop_assert_eq!(one, other);
    }

    /// What spares the RIB a decision is right: with and without the path in question.
    #[test]
    fn a_path_that_is_beaten_or_hid_nobody_changes_nothing_for_those_in_use(
        samples in (1..=6).map(any_sample).collect::<Vec<_>>(),
        multipath in 1_usize..5,
    ) {
        let contenders = |samples: &[Sample]| -> Vec<_> {
            let samples = samples.iter().enumerate();
            samples.map(|(at, it)| Contender::new(at, &Merits::of(&it.attrs), it.from, it.cost)).collect()
        };
        let used = |samples: &[Sample]| {
            let mut all = contenders(samples);
            let count = decide(&mut all, multipath);
            all.truncate(count);
            all
        };
        let (all, others) = (used(&samples), used(&samples[..5]));
        let last = &contenders(&samples)[5];
        if is_beaten(last, &others, multipath) {
            prop_assert_eq!(&all, &others);
        }
        let unused = (0..5).filter(|at| all.iter().all(|path| path.index != *at));
        let unused = unused.map(|at| samples[at].attrs.med);
        if all.iter().all(|path| path.index != 5) && hid_nobody(samples[5].attrs.med, unused) {
            prop_assert_eq!(&all, &others);
        }
    }
}
