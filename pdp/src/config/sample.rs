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

/// Of a core's time: above 0 and at most 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Percent(f64);

/// Nothing takes longer that is rested from. Else the rest could be longer than time can be.
const LONG: Duration = Duration::from_hours(1);

impl Percent {
    pub(crate) fn new(percent: f64) -> Option<Self> {
        (percent > 0.0 && percent <= 100.0).then_some(Self(percent))
    }

    /// For how long nothing is to be done after so much work.
    pub(crate) fn rest(self, worked: Duration) -> Duration {
        // However long that is, it ends.
        let parts = ((100.0 - self.0) / self.0).min(1e6);
        worked.min(LONG).mul_f64(parts)
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
        assert_eq!(rest(100.0), Duration::ZERO);
        assert_eq!(rest(50.0), Duration::from_millis(2));
        assert_eq!(rest(1.0), Duration::from_millis(198));
        assert_eq!(rest(0.2), Duration::from_millis(998));
        let ever = Percent::new(f64::MIN_POSITIVE).unwrap();
        assert!(ever.rest(Duration::MAX) > Duration::from_hours(24));
        for none in [0.0, -1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Percent::new(none), None);
        }
    }
}
