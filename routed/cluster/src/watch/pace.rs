//! When to ask again after a failure.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use routed_core::dice::Dice;

/// Waits that grow with each failure in a row, each node's others: all of them see the API server end
/// at the same moment.
#[derive(Debug)]
pub(crate) struct Pace {
    dice: Dice,
    failures: u32,
}

impl Pace {
    /// Seeded by chance.
    pub(crate) fn new() -> Self {
        Self { dice: Dice::new(RandomState::new().build_hasher().finish()), failures: 0 }
    }

    /// What was asked for came.
    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after a failure: at least what the server asks for.
    pub(crate) fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let wait = self.dice.between(longest / 2, longest);
        asked.map_or(wait, |asked| asked.min(MOST_ASKED) + self.dice.up_to(FIRST)).max(wait)
    }

    /// A wait in between.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        self.dice.between(least, most)
    }
}

/// The first wait is half to all of this.
const FIRST: Duration = Duration::from_millis(500);
/// An API server that is back should not wait longer for us.
const LONGEST: Duration = Duration::from_secs(30);
/// A server that asks for more has not us in mind.
const MOST_ASKED: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_an_end_and_start_anew_after_a_success() {
        let mut pace = Pace::new();
        let mut longest = FIRST;
        for _ in 0..40 {
            let wait = pace.failed(None);
            assert!((longest / 2..=longest).contains(&wait), "{wait:?} of {longest:?}");
            longest = (longest * 2).min(LONGEST);
        }
        pace.succeeded();
        assert!(pace.failed(None) <= FIRST);
    }

    #[test]
    fn what_the_server_asks_for_is_waited_for_within_reason() {
        let asked = Duration::from_secs(40);
        let wait = Pace::new().failed(Some(asked));
        assert!((asked..=asked + FIRST).contains(&wait), "{wait:?}");
        assert!(Pace::new().failed(Some(Duration::from_secs(86_400))) <= MOST_ASKED + FIRST);
        assert!(Pace::new().failed(Some(Duration::ZERO)) >= FIRST / 2);
    }

    #[test]
    fn no_two_of_them_wait_alike() {
        assert_ne!(Pace::new().failed(None), Pace::new().failed(None));
    }
}
