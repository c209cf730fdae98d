//! One run of one speaker: started, given its peers, loaded, measured, ended.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Setting;
use super::contestant::{Contestant, Duty};
use super::report::{Measures, Metric};
use crate::bench::arena::{Running, Usage};
use crate::bench::load::{Load, Session};

/// See the module.
pub(super) struct Round {
    pub(super) load: Load,
    pub(super) speaker: Running,
    pub(super) measures: Measures,
    patience: Duration,
    begun: Usage,
}

/// What a session sends: its number and the octets.
pub(super) type Table = (usize, Rc<[u8]>);

impl Round {
    /// A speaker with the first `present` of its peers, idle. The others may join later.
    pub(super) fn begin(
        setting: &Setting<'_>,
        contestant: Contestant,
        duty: &Duty,
        present: usize,
    ) -> Result<Self> {
        let argv = contestant.prepare(duty, &setting.bin_dir)?;
        let mut speaker = setting.arena.start(&argv)?;
        let mut load = Load::new()?;
        for peer in &duty.peers[..present] {
            let joined = load.join(peer.clone(), START_PATIENCE);
            joined.map_err(|error| match speaker.obituary() {
                Some(obituary) => error.context(obituary),
                None => error,
            })?;
        }
        load.idle(contestant.warm_up(present))?;
        let begun = speaker.usage()?;
        let patience = setting.patience;
        let mut round = Self { load, speaker, measures: Measures::default(), patience, begun };
        round.settle()?;
        round.begun = round.speaker.usage()?;
        Ok(round)
    }

    /// Sends tables, and waits until each session knows as many routes of others as it must.
    pub(super) fn send(
        &mut self,
        metric: Metric,
        tables: &[Table],
        expected: impl Fn(usize) -> Option<usize>,
    ) -> Result<()> {
        let begun = Instant::now();
        for (sender, octets) in tables {
            self.load.send(*sender, octets)?;
        }
        self.wait(metric, begun, expected)
    }

    /// The same for a session that has yet to be established, and sends nothing.
    pub(super) fn late_joiner(
        &mut self,
        duty: &Duty,
        expected: impl Fn(usize) -> usize,
    ) -> Result<usize> {
        let number = self.load.sessions_mut().count();
        let begun = Instant::now();
        let peer = duty.peers[number].clone();
        self.load.join(peer, START_PATIENCE)?;
        self.wait(Metric::LateJoiner, begun, |at| (at == number).then(|| expected(at)))?;
        Ok(number)
    }

    /// Waits until the sessions are so; the time since `begun`.
    pub(super) fn until(
        &mut self,
        begun: Instant,
        done: impl FnMut(&[Session]) -> bool,
    ) -> Result<Duration> {
        let took = self.load.wait(begun, self.patience, done)?;
        took.with_context(|| format!("not all were told within {} s", self.patience.as_secs()))
    }

    fn wait(
        &mut self,
        metric: Metric,
        begun: Instant,
        expected: impl Fn(usize) -> Option<usize>,
    ) -> Result<()> {
        let expected: Vec<_> = (0..self.load.sessions_mut().count()).map(expected).collect();
        let done = |sessions: &[Session]| {
            let mut all = sessions.iter().zip(&expected);
            all.all(|(session, expected)| expected.is_none_or(|all| session.told.count() == all))
        };
        let took = self.load.wait(begun, self.patience, done)?;
        let took = took.with_context(|| self.unfinished(metric, &expected))?;
        self.measures.set(metric, took.as_secs_f64());
        Ok(())
    }

    fn unfinished(&self, metric: Metric, expected: &[Option<usize>]) -> String {
        let (mut known, mut wanted) = (0, 0);
        for (at, expected) in expected.iter().enumerate() {
            wanted += expected.unwrap_or(0);
            known += expected.map_or(0, |_| self.load.session(at).told.count());
        }
        let seconds = self.patience.as_secs();
        format!("{metric}: not done after {seconds} s, {known} routes told instead of {wanted}")
    }

    /// Waits until the speaker is idle, and notes what it has used.
    pub(super) fn note_usage(&mut self) -> Result<()> {
        self.settle()?;
        let usage = self.speaker.usage()?;
        #[expect(clippy::cast_precision_loss, reason = "some MiB are nothing near 2^52 octets")]
        let mib = |octets: u64| octets as f64 / f64::from(1 << 20);
        self.measures.set(Metric::Resident, mib(usage.resident));
        self.measures.set(Metric::Peak, mib(usage.peak));
        self.measures.set(Metric::Cpu, (usage.cpu - self.begun.cpu).as_secs_f64());
        Ok(())
    }

    /// Waits until the speaker uses less than 2 % of a processor, in three looks; 20 s at most.
    pub(super) fn settle(&mut self) -> Result<()> {
        let (begun, mut calm) = (Instant::now(), 0);
        while calm < 3 && begun.elapsed() < Duration::from_secs(20) {
            let before = self.speaker.usage()?.cpu;
            self.load.idle(Duration::from_millis(50))?;
            let used = self.speaker.usage()?.cpu.saturating_sub(before);
            calm = if used < Duration::from_millis(1) { calm + 1 } else { 0 };
        }
        Ok(())
    }
}

/// How long a speaker may take until a peer's session is established.
const START_PATIENCE: Duration = Duration::from_secs(30);
