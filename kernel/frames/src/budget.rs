//! How much of a core receiving may use: at most a share of each period, while environments want it.
//!
//! ```text
//!   used  |##      |######## |          what was used beyond the share in one period,
//!         0   share    period           is taken off the next ones'
//! ```

/// The budget of the core that receives. Times are in ticks, and need not make sense: one that ran backwards has
/// stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    period: u64,
    share: u64,
    /// When the present period began.
    start: u64,
    /// Used and not paid.
    used: u64,
}

impl Budget {
    /// Periods of `period` ticks, of which at most `percent` go to receiving. Both are 1 at least, and `percent` at most 100.
    pub fn new(period: u64, percent: u64) -> Self {
        let period = period.max(1);
        let share = u128::from(period) * u128::from(percent.clamp(1, 100)) / 100;
        Self {
            period,
            share: (share as u64).max(1),
            start: 0,
            used: 0,
        }
    }

    /// Goes on to the period in which `now` is.
    fn roll(&mut self, now: u64) {
        let passed = now.saturating_sub(self.start) / self.period;
        if passed > 0 {
            self.start += passed * self.period;
            self.used = self.used.saturating_sub(passed.saturating_mul(self.share));
        }
    }

    /// Whether more may be received at `now`. Nobody is kept from what nobody wants: `wanted` says whether an environment
    /// could run on the core.
    pub fn allows(&mut self, now: u64, wanted: bool) -> bool {
        self.roll(now);
        if !wanted {
            self.used = 0;
        }
        self.used < self.share
    }

    /// Receiving has used the time between the two.
    pub fn spend(&mut self, from: u64, to: u64) {
        self.roll(to);
        self.used = self.used.saturating_add(to.saturating_sub(from));
    }

    /// When receiving goes on, if [`Budget::allows`] said no: the begin of the first period with some of its share left.
    pub fn resumes(&self) -> u64 {
        let periods = self.used / self.share;
        self.start
            .saturating_add(self.period.saturating_mul(periods))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However bursts come: over any stretch of time receiving has its share, one share more, and the last burst.
        #[test]
        fn receiving_keeps_to_its_share(
            bursts in proptest::collection::vec((0..3000u64, 1..400u64), 1..200),
            percent in 1..100u64,
        ) {
            let mut budget = Budget::new(1000, percent);
            let (mut now, mut used) = (0, 0);
            for (pause, length) in bursts {
                now += pause;
                if !budget.allows(now, true) {
                    let later = budget.resumes();
                    prop_assert!(later > now && !budget.allows(later - 1, true));
                    prop_assert!(budget.allows(later, true));
                    now = later;
                }
                budget.spend(now, now + length);
                (now, used) = (now + length, used + length);
                let share = (1000 * percent / 100).max(1);
                prop_assert!(used <= share * (now / 1000 + 1) + 400, "{} of {}", used, now);
            }
        }
    }

    #[test]
    fn an_idle_core_receives_all() {
        let mut budget = Budget::new(1000, 20);
        budget.spend(0, 900);
        assert!(!budget.allows(900, true));
        assert_eq!(budget.resumes(), 4000);
        assert!(budget.allows(900, false));
        assert!(
            budget.allows(901, true),
            "what nobody wanted is nobody's debt"
        );
        budget.spend(5000, 4000);
        assert!(budget.allows(4000, true));
        assert!(Budget::new(0, 0).allows(0, true));
    }
}
