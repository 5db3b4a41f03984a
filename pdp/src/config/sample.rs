//! How many decisions are taken again by Cedar's plain authorizer.

use std::time::Duration;

/// How many decisions are taken again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Every so many; 0 is never.
    pub(crate) every: u64,
    /// Fewer, where it would take a larger part of one core's time.
    pub(crate) percent: Percent,
}

/// Of a core's time: from 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent(u32);

impl Percent {
    pub(crate) fn new(percent: u32) -> Option<Self> {
        (1..=100).contains(&percent).then_some(Self(percent))
    }

    /// For how long nothing is to be done after so much work.
    pub(crate) fn rest(self, worked: Duration) -> Duration {
        worked * (100 - self.0) / self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_makes_up_for_work() {
        let rest = |percent| {
            Percent::new(percent)
                .unwrap()
                .rest(Duration::from_millis(2))
        };
        assert_eq!(rest(100), Duration::ZERO);
        assert_eq!(rest(50), Duration::from_millis(2));
        assert_eq!(rest(1), Duration::from_millis(198));
        assert_eq!([0, 101].map(Percent::new), [None, None]);
    }
}
