//! What became of numbered packets: lost, twice, out of order, and how long nothing came through.
//!
//! Pure: in numbers and times, out a [`Tally`].

use serde::{Deserialize, Serialize};

/// One flow at its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// Packets; they are numbered from 0.
    pub(super) count: u64,
    /// When the first was sent, in nanoseconds.
    first: u64,
    /// When the last was sent.
    last: u64,
}

/// One flow at its receiver.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Received {
    /// For each number when the packet was sent; 0: it has not arrived.
    sent: Vec<u64>,
    duplicates: u64,
    reordered: u64,
    /// Longest way through the network, in nanoseconds.
    slowest: u64,
}

/// What became of the packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    /// Packets that came after one which was sent later.
    pub(super) reordered: u64,
    /// Nanoseconds, of the flow that fared worst: from when the last packet was sent that arrived
    /// until when the next one was sent that did. 0 if none was lost.
    pub(super) gap: u64,
    /// Nanoseconds that the slowest packet took.
    pub(super) slowest: u64,
}

impl Sent {
    /// One packet was sent at that time.
    pub(super) fn note(&mut self, at: u64) {
        if self.count == 0 {
            self.first = at;
        }
        self.last = at;
        self.count += 1;
    }
}

impl Received {
    /// A packet of that number, sent then, has arrived now.
    pub(super) fn note(&mut self, number: u64, sent: u64, now: u64) {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        // Nobody of ours sends as many: not one of ours.
        if at >= MOST {
            return;
        }
        self.slowest = self.slowest.max(now.saturating_sub(sent));
        if at < self.sent.len() {
            if self.sent[at] != 0 {
                self.duplicates += 1;
                return;
            }
            self.reordered += 1;
        } else {
            self.sent.resize(at + 1, 0);
        }
        self.sent[at] = sent;
    }
}

impl Tally {
    /// Of all flows of one direction.
    pub(super) fn of(sent: &[Sent], received: &[Received]) -> Self {
        let nothing = Received::default();
        let flows = sent.iter().enumerate();
        flows.fold(Self::default(), |tally, (at, sent)| {
            tally.and(Self::of_flow(sent, received.get(at).unwrap_or(&nothing)))
        })
    }

    fn of_flow(sent: &Sent, received: &Received) -> Self {
        let arrived = received.sent.iter().filter(|at| **at != 0).count() as u64;
        Self {
            sent: sent.count,
            lost: sent.count.saturating_sub(arrived),
            duplicates: received.duplicates,
            reordered: received.reordered,
            gap: gap(sent, received),
            slowest: received.slowest,
        }
    }

    /// Two directions, or flows, together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            lost: self.lost + other.lost,
            duplicates: self.duplicates + other.duplicates,
            reordered: self.reordered + other.reordered,
            gap: self.gap.max(other.gap),
            slowest: self.slowest.max(other.slowest),
        }
    }
}

/// The longest time in which no packet was sent that arrived, as far as packets were lost in it.
fn gap(sent: &Sent, received: &Received) -> u64 {
    let mut longest = 0;
    let mut before = sent.first;
    let mut lost = false;
    for at in &received.sent {
        match *at {
            0 => lost = true,
            at => {
                if lost {
                    longest = longest.max(at.saturating_sub(before));
                }
                (before, lost) = (at, false);
            }
        }
    }
    // What was lost after the last one that arrived has no number here.
    if sent.count > received.sent.len() as u64 {
        longest = longest.max(sent.last.saturating_sub(before));
    }
    longest
}

/// Packets of a flow: some hours of them.
const MOST: usize = 1 << 26;

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets sent every 10 ns from 100 on, of which these arrive, in this order, 3 ns later.
    fn tally(count: u64, arrivals: &[u64]) -> Tally {
        let mut sent = Sent::default();
        (0..count).for_each(|number| sent.note(100 + 10 * number));
        let mut received = Received::default();
        for number in arrivals {
            received.note(*number, 100 + 10 * number, 103 + 10 * number);
        }
        Tally::of(&[sent], &[received])
    }

    #[test]
    fn nothing_lost_is_no_gap() {
        let expected = Tally { sent: 4, slowest: 3, ..Tally::default() };
        assert_eq!(tally(4, &[0, 1, 2, 3]), expected);
    }

    #[test]
    fn the_longest_gap_is_between_packets_that_arrived() {
        let Tally { lost, gap, .. } = tally(10, &[0, 2, 3, 7, 8, 9]);
        assert_eq!((lost, gap), (4, 40));
    }

    #[test]
    fn losses_at_the_beginning_and_at_the_end_count() {
        let Tally { lost, gap, .. } = tally(6, &[2, 3, 4, 5]);
        assert_eq!((lost, gap), (2, 20));
        let Tally { lost, gap, .. } = tally(6, &[0, 1]);
        assert_eq!((lost, gap), (4, 40));
        let Tally { lost, gap, .. } = tally(6, &[]);
        assert_eq!((lost, gap), (6, 50));
    }

    #[test]
    fn late_and_double_packets_are_neither_lost_nor_a_gap() {
        let expected =
            Tally { sent: 4, duplicates: 2, reordered: 1, slowest: 3, ..Tally::default() };
        assert_eq!(tally(4, &[0, 2, 1, 1, 3, 3]), expected);
    }

    #[test]
    fn flows_are_added_and_the_worst_gap_counts() {
        let mut sent = Sent::default();
        (0..3).for_each(|number| sent.note(number * 10));
        let Tally { sent: all, lost, gap, .. } = Tally::of(&[sent.clone(), sent], &[]);
        assert_eq!((all, lost, gap), (6, 6, 20));
    }
}
