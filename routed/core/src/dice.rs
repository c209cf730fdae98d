//! Repeatable random times (splitmix64). Not for secrets.

use std::time::Duration;

/// See the module.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same times.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From nothing to this.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let high = u32::try_from(self.number() >> 32).expect("32 bits are left");
        most.mul_f64(f64::from(high) / f64::from(u32::MAX))
    }

    /// From `least` to `most`, which is not less.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + self.up_to(most - least)
    }
}
