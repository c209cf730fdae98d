//! Things in the API that nobody owns any more. They are told of, and left to people.
//!
//! In: their names in complete listings. Out: those that were there in two listings, long enough apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Leaks {
    after: Duration,
    /// Since when each is there, and whether it was told of.
    seen: BTreeMap<String, (Instant, bool)>,
}

impl Leaks {
    pub(super) const fn new(after: Duration) -> Self {
        Self { after, seen: BTreeMap::new() }
    }

    /// Those that are to be told of now, from a listing that was complete and asked for then.
    pub(super) fn observe(&mut self, names: &BTreeSet<String>, asked: Instant) -> Vec<String> {
        self.seen.retain(|name, _| names.contains(name));
        let mut told = Vec::new();
        for name in names {
            let (since, is_told) = self.seen.entry(name.clone()).or_insert((asked, false));
            if !*is_told && asked.saturating_duration_since(*since) >= self.after {
                *is_told = true;
                told.push(name.clone());
            }
        }
        told
    }

    /// Those that were told of.
    pub(super) fn list(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().filter(|(_, (_, is_told))| *is_told).map(|(name, _)| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_told_of_once() {
        let (now, mut leaks) = (Instant::now(), Leaks::new(Duration::from_secs(60)));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(leaks.observe(&names(&["a", "b"]), at(0)).is_empty());
        assert!(leaks.observe(&names(&["a"]), at(30)).is_empty());
        assert_eq!(leaks.observe(&names(&["a", "b"]), at(60)), ["a"]);
        assert!(leaks.observe(&names(&["a", "b"]), at(61)).is_empty());
        assert_eq!(leaks.list().collect::<Vec<_>>(), ["a"]);
        assert!(leaks.observe(&names(&["b"]), at(70)).is_empty());
        assert_eq!(leaks.list().count(), 0);
    }
}
