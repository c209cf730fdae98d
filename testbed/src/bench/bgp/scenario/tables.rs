//! Whole tables: announced, told to one that joins late, withdrawn.

use anyhow::Result;

use super::routes;
use crate::bench::bgp::Setting;
use crate::bench::bgp::contestant::Duty;
use crate::bench::bgp::report::Metric;
use crate::bench::bgp::round::{Round, Table};
use crate::bench::wire::Routes;

pub(super) fn one_to_one(setting: &Setting<'_>, round: &mut Round, duty: &Duty) -> Result<()> {
    let count = setting.scaled(1_000_000);
    let all = count as usize;
    let routes = routes(duty, 0, 0..count, 10);
    round.load.owns(0, 0..count);
    let receiver = |all| move |at| (at == 1).then_some(all);
    round.send(Metric::Converge, &[(0, routes.announced().into())], receiver(all))?;
    round.note_usage()?;
    let joiner = round.late_joiner(duty, |_| all)?;
    round.load.leave(joiner)?;
    round.settle()?;
    round.send(Metric::Withdraw, &[(0, routes.withdrawn().into())], receiver(0))
}

pub(super) fn same_from_many(setting: &Setting<'_>, round: &mut Round, duty: &Duty) -> Result<()> {
    let count = setting.scaled(100_000);
    let receiver = duty.peers.len() - 1;
    let senders = 0..receiver;
    // Each sends a route of its own last. Without these one could not see from outside that a sender
    // whose paths are not the best has been heard to the end.
    let tables = |octets: fn(&Routes) -> Vec<u8>| -> Vec<Table> {
        let table = |at: usize| {
            let own = count + u32::try_from(at).expect("ten senders");
            let shared = octets(&routes(duty, at, 0..count, 10));
            [shared, octets(&routes(duty, at, own..own + 1, 10))].concat()
        };
        senders.clone().map(|at| (at, table(at).into())).collect()
    };
    let (announced, withdrawn) = (tables(Routes::announced), tables(Routes::withdrawn));
    let all = count as usize + senders.len();
    let expect = |all| move |at| (at == receiver).then_some(all);
    round.send(Metric::Converge, &announced, expect(all))?;
    round.note_usage()?;
    round.send(Metric::Withdraw, &withdrawn, expect(0))
}

pub(super) fn all_to_all(round: &mut Round, duty: &Duty, each: u32, per_set: u32) -> Result<()> {
    let present = round.load.sessions_mut().count();
    let (mut announced, mut withdrawn) = (Vec::<Table>::new(), Vec::<Table>::new());
    for at in 0..present {
        let first = u32::try_from(at).expect("some hundred peers") * each;
        let routes = routes(duty, at, first..first + each, per_set);
        round.load.owns(at, routes.numbers.clone());
        announced.push((at, routes.announced().into()));
        withdrawn.push((at, routes.withdrawn().into()));
    }
    let others = (present - 1) * each as usize;
    round.send(Metric::Converge, &announced, |_| Some(others))?;
    round.note_usage()?;
    if present < duty.peers.len() {
        let joiner = round.late_joiner(duty, |_| others + each as usize)?;
        round.load.leave(joiner)?;
        round.settle()?;
    }
    let expected = |at| (at < present).then_some(0);
    round.send(Metric::Withdraw, &withdrawn, expected)
}
