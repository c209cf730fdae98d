//! Daemons with one Lease, in simulated time: requests that take long, are lost, or arrive late; daemons
//! that end and come back; wall clocks that are wrong.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Carried out after so many milliseconds, and answered after as many more.
    Answered(u64, u64),
    /// Carried out so late that nobody waits for the answer any more.
    Late(u64),
    /// Never carried out.
    Lost,
}

#[derive(Clone, Debug)]
enum Step {
    /// Time passes; what is asked meanwhile has this fate.
    Run(u64, Fate),
    Kill(usize),
    Leave(usize),
    Start(usize),
}

struct World {
    now: Instant,
    /// Milliseconds since the begin.
    clock: u64,
    lease: Option<(String, u64, i32, u64)>,
    versions: u64,
    runs: usize,
    daemons: Vec<Option<Daemon>>,
    /// Requests on their way, by when they are carried out; those of daemons that have ended too.
    requests: BTreeMap<(u64, u64), Request>,
    /// Answers on their way.
    answers: BTreeMap<(u64, u64), (usize, String, Answer)>,
    numbers: u64,
    looks: u64,
    /// As the daemons know it.
    nodes: usize,
    changes: Vec<String>,
}

/// Whose, what, and when the answer arrives.
type Request = (usize, String, Ask, Option<u64>);

struct Daemon {
    election: Election,
    me: String,
    /// Its wall clock goes wrong by so many milliseconds.
    skew: i64,
    /// When an answer is waited for no more.
    patience: Option<u64>,
}

impl World {
    fn new(daemons: usize) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            clock: 0,
            lease: None,
            versions: 0,
            runs: 0,
            daemons: (0..daemons).map(|_| None).collect(),
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            numbers: 0,
            looks: 0,
            nodes: daemons,
            changes: Vec::new(),
        };
        (0..daemons).for_each(|number| world.start(number));
        world
    }

    fn start(&mut self, number: usize) {
        if self.daemons[number].is_some() {
            return;
        }
        self.runs += 1;
        let me = format!("node{number}-{}", self.runs);
        let election = Election::new(me.clone(), self.runs as u64 * 7919, self.at());
        let skew = [0, 90_000, -90_000, 3_600_000][number % 4];
        self.daemons[number] = Some(Daemon { election, me, skew, patience: None });
    }

    fn at(&self) -> Instant {
        self.now + Duration::from_millis(self.clock)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Run(millis, fate) => self.run(millis, fate),
            Step::Kill(number) => self.daemons[number] = None,
            Step::Leave(number) => {
                let now = self.at();
                if let Some(daemon) = &mut self.daemons[number] {
                    daemon.election.leave(now);
                }
            }
            Step::Start(number) => self.start(number),
        }
        self.check();
    }

    fn run(&mut self, millis: u64, fate: Fate) {
        let end = self.clock + millis;
        while self.clock < end {
            self.clock += 100;
            self.deliver();
            self.ask(fate);
            self.check();
        }
    }

    fn ask(&mut self, fate: Fate) {
        let (now, clock, nodes) = (self.at(), self.clock, self.nodes);
        for number in 0..self.daemons.len() {
            let key = self.number();
            let Some(daemon) = &mut self.daemons[number] else { continue };
            if daemon.patience.is_some_and(|end| end <= clock) {
                daemon.patience = None;
                daemon.election.handle(Answer::Unanswered, now);
            }
            daemon.election.nodes(nodes, now);
            let Some(ask) = daemon.election.poll(now) else { continue };
            self.looks += u64::from(ask == Ask::Look);
            let most = u64::try_from(ANSWER.as_millis()).expect("it is short");
            daemon.patience = Some(clock + most);
            let (done, answered) = match fate {
                Fate::Answered(there, back) => (clock + there, Some(clock + there + back)),
                Fate::Late(there) => (clock + most + there, None),
                Fate::Lost => continue,
            };
            self.requests.insert((done, key), (number, daemon.me.clone(), ask, answered));
        }
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.requests.first_entry()
            && entry.key().0 <= self.clock
        {
            let (number, me, ask, answered) = entry.remove();
            let answer = self.carry_out(number, &me, &ask);
            if let Some(at) = answered {
                let key = (at, self.number());
                self.answers.insert(key, (number, me, answer));
            }
        }
        let now = self.at();
        while let Some(entry) = self.answers.first_entry()
            && entry.key().0 <= self.clock
        {
            let (number, me, answer) = entry.remove();
            if let Some(daemon) = &mut self.daemons[number]
                && daemon.me == me
                && daemon.patience.take().is_some()
            {
                daemon.election.handle(answer, now);
            }
        }
    }

    fn carry_out(&mut self, number: usize, me: &str, ask: &Ask) -> Answer {
        match ask {
            Ask::Look => {
                let skew = self.daemons[number].as_ref().map_or(0, |daemon| daemon.skew);
                let clock = i64::try_from(self.clock).expect("it is short") + skew;
                Answer::Seen(self.lease.clone().map(|(holder, version, transitions, at)| Lease {
                    holder,
                    version: version.to_string(),
                    transitions,
                    age: Duration::from_millis(
                        u64::try_from(clock - i64::try_from(at).expect("it is short")).unwrap_or(0),
                    ),
                }))
            }
            Ask::Write { holds, version, transitions } => {
                let there = self.lease.as_ref().map(|(_, version, ..)| version.to_string());
                if there != *version {
                    return Answer::Refused;
                }
                self.versions += 1;
                let holder = if *holds { me.to_owned() } else { String::new() };
                if *holds && self.lease.as_ref().is_none_or(|(before, ..)| *before != holder) {
                    self.changes.push(holder.clone());
                }
                self.lease = Some((holder, self.versions, *transitions, self.clock));
                Answer::Written(self.versions.to_string())
            }
        }
    }

    fn leaders(&self) -> Vec<&str> {
        let now = self.at();
        let daemons = self.daemons.iter().flatten();
        let leading = daemons.filter(|daemon| daemon.election.leads_until(now).is_some());
        leading.map(|daemon| &*daemon.me).collect()
    }

    fn check(&self) {
        let leaders = self.leaders();
        assert!(leaders.len() <= 1, "{leaders:?} at {} ms", self.clock);
    }
}

const GOOD: Fate = Fate::Answered(10, 10);

#[test]
fn one_of_many_leads_soon_and_stays_so() {
    let mut world = World::new(5);
    world.run(40_000, GOOD);
    let leader = world.leaders().concat();
    assert!(!leader.is_empty());
    world.run(600_000, GOOD);
    assert_eq!((world.leaders().concat(), world.changes.len()), (leader, 1));
}

#[test]
fn one_leads_in_a_cluster_of_which_nothing_is_known() {
    let mut world = World::new(2);
    world.nodes = 0;
    world.run(40_000, GOOD);
    assert_eq!(world.leaders().len(), 1);
}

#[test]
fn another_one_leads_after_one_was_killed_and_at_once_after_one_has_left() {
    for (leaves, most) in [(false, 75_000), (true, 20_000)] {
        let mut world = World::new(4);
        world.run(60_000, GOOD);
        let leads = |daemon: &Option<Daemon>| {
            daemon.as_ref().is_some_and(|it| it.election.leads_until(world.at()).is_some())
        };
        let number = world.daemons.iter().position(leads).expect("a leader");
        if leaves {
            world.step(&Step::Leave(number));
            assert!(world.leaders().is_empty(), "it stops before it gives the Lease away");
            world.run(200, GOOD);
            assert!(world.daemons[number].as_ref().is_some_and(|it| it.election.has_left()));
        }
        world.step(&Step::Kill(number));
        let begin = world.clock;
        while world.leaders().is_empty() {
            world.run(100, GOOD);
            assert!(world.clock - begin <= most, "nobody leads after {most} ms");
        }
        assert!(leaves || world.clock - begin >= 14_000, "not before the Lease has ended");
    }
}

#[test]
fn all_nodes_together_look_twice_a_second_at_most() {
    let mut world = World::new(1000);
    world.run(60_000, GOOD);
    assert!(world.leaders().len() == 1);
    let before = world.looks;
    world.run(600_000, GOOD);
    let looks = world.looks - before;
    // Half of the clocks of this world are wrong by more than a Lease lasts.
    assert!((600..=2500).contains(&looks), "{looks} in 600 s");
}

#[test]
fn a_leader_that_is_not_answered_stops_before_another_one_begins() {
    let mut world = World::new(3);
    world.run(60_000, GOOD);
    assert_eq!(world.leaders().len(), 1);
    world.run(10_100, Fate::Lost);
    assert_eq!(world.leaders().len(), 0, "it has heard nothing for ten seconds");
    world.run(60_000, GOOD);
    assert_eq!(world.leaders().len(), 1);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        4 => (0..2000_u64, 0..3000_u64).prop_map(|(there, back)| Fate::Answered(there, back)),
        3 => Just(GOOD),
        1 => (0..8000_u64).prop_map(Fate::Late),
        1 => Just(Fate::Lost),
    ];
    let daemon = || 0..4_usize;
    let step = prop_oneof![
        10 => (100..30_000_u64, fate).prop_map(|(millis, fate)| Step::Run(millis, fate)),
        2 => daemon().prop_map(Step::Kill),
        1 => daemon().prop_map(Step::Leave),
        3 => daemon().prop_map(Step::Start),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn two_never_lead_and_one_does_once_the_api_server_answers(steps in steps()) {
        let mut world = World::new(4);
        steps.iter().for_each(|step| world.step(step));
        for number in 0..4 {
            world.step(&Step::Kill(number));
            world.step(&Step::Start(number));
        }
        world.run(120_000, GOOD);
        prop_assert_eq!(world.leaders().len(), 1);
        // Somebody deletes the Lease while its holder acts.
        world.lease = None;
        world.run(60_000, GOOD);
        prop_assert_eq!(world.leaders().len(), 1);
    }
}

#[test]
fn a_leader_that_is_not_answered_is_not_called_again_and_again() {
    let begun = Instant::now();
    let mut election = Election::new("n_1".to_owned(), 1, begun);
    let at = |seconds| begun + Duration::from_secs(seconds);
    // There is no Lease, and then it has it.
    for (seconds, answer) in
        [(20, Answer::Seen(None)), (40, Answer::Seen(None)), (60, Answer::Written("1".to_owned()))]
    {
        assert!(election.poll(at(seconds)).is_some(), "{seconds} s");
        election.handle(answer, at(seconds));
    }
    assert!(election.leads_until(at(61)).is_some());
    // From now on nobody answers.
    for seconds in 66..600 {
        let now = at(seconds);
        if election.poll(now).is_some() {
            election.handle(Answer::Unanswered, now);
        }
        let due = election.poll_timeout();
        assert!(due.is_none_or(|due| due > now), "{seconds} s: due {due:?}, now {now:?}");
    }
    assert_eq!(election.leads_until(at(600)), None);
}
