//! Which endpoints of an upstream get requests, and how much: by what their requests came to, by what they answer
//! when they are asked, and by how long they are back. Knows no sockets; whoever calls says what time it is.

use std::time::Duration;

use tokio::time::Instant;

use crate::plan::{HealthPlan, Outliers};

/// The endpoints of one upstream, in the order of its candidates.
#[derive(Debug)]
pub(super) struct Health {
    plan: HealthPlan,
    members: Vec<Member>,
}

/// How one endpoint is.
#[derive(Debug, Clone, Copy)]
struct Member {
    weight: u32,
    /// By its answers.
    is_well: bool,
    /// Answers in a row that say the other.
    contrary: u32,
    ejected_until: Option<Instant>,
    /// How often it was ejected.
    ejections: u32,
    /// Since when it gets requests again.
    back_since: Option<Instant>,
}

/// What endpoints get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shares {
    /// One for each; 0 is nothing.
    pub(super) weights: Vec<u32>,
    /// What those would get that were well when they were last asked, ejected or not.
    pub(super) last_resorts: Vec<u32>,
    /// Too few are well: all get requests, whatever is known of them.
    pub(super) is_panic: bool,
    /// Those that are well and not ejected.
    pub(super) are_up: Vec<bool>,
}

/// In so many steps a share grows.
const STEPS: u32 = 10;

impl Health {
    pub(super) fn new(plan: HealthPlan, weights: impl Iterator<Item = u32>) -> Self {
        Self {
            members: weights.map(Member::new).collect(),
            plan,
        }
    }

    /// There are others now: by weight, and which of those before each one is, if any. How it is stays as it was.
    pub(super) fn renew(&mut self, now: impl Iterator<Item = (u32, Option<usize>)>) {
        let members = now.map(|(weight, before)| {
            let before = before.and_then(|index| self.members.get(index));
            Member {
                weight,
                ..before.copied().unwrap_or(Member::new(weight))
            }
        });
        self.members = members.collect();
    }

    /// It has failed too often. True: it is ejected now.
    pub(super) fn eject(&mut self, index: usize, now: Instant) -> bool {
        let Some(outliers) = &self.plan.outliers else {
            return false;
        };
        let ejected = self.members.iter().filter(|it| it.is_ejected()).count();
        let most = (self.members.len() * outliers.max_percent / 100).max(1);
        let may = ejected < most && self.members.len() > 1;
        match self.members.get_mut(index) {
            Some(member) if may && !member.is_ejected() => {
                member.eject(outliers, now);
                true
            }
            Some(_) | None => false,
        }
    }

    /// It was asked, and answered well or not.
    pub(super) fn checked(&mut self, index: usize, is_well: bool, now: Instant) {
        let (Some(member), Some(check)) = (self.members.get_mut(index), &self.plan.check) else {
            return;
        };
        if member.is_well == is_well {
            member.contrary = 0;
            return;
        }
        member.contrary += 1;
        let enough = if is_well {
            check.healthy
        } else {
            check.unhealthy
        };
        if member.contrary >= enough {
            member.contrary = 0;
            member.is_well = is_well;
            member.back_since = (is_well && !member.is_ejected()).then_some(now);
        }
    }

    /// Whose time is over comes back.
    pub(super) fn pass(&mut self, now: Instant) {
        for member in &mut self.members {
            if member.ejected_until.is_some_and(|until| until <= now) {
                member.ejected_until = None;
                member.back_since = Some(now);
            }
        }
    }

    /// When something changes by itself, if it does.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let step = self.plan.slow_start / STEPS;
        let grows = |since: Instant| now < since + self.plan.slow_start;
        let next = |member: &Member| match (member.ejected_until, member.back_since) {
            (Some(until), _) => Some(until),
            (None, Some(since)) if grows(since) => Some(now + step.max(SHORTEST)),
            (None, _) => None,
        };
        self.members.iter().filter_map(next).min()
    }

    pub(super) fn shares(&self, now: Instant) -> Shares {
        let up = self.members.iter().filter(|it| it.is_up()).count();
        let is_panic = up * 100 < self.plan.panic_percent * self.members.len();
        let weight = |member: &Member| {
            if member.is_up() || is_panic {
                member.grown(self.plan.slow_start, now)
            } else {
                0
            }
        };
        let last_resort = |member: &Member| if member.is_well { member.weight } else { 0 };
        Shares {
            last_resorts: self.members.iter().map(last_resort).collect(),
            weights: self.members.iter().map(weight).collect(),
            is_panic,
            are_up: self.members.iter().map(Member::is_up).collect(),
        }
    }
}

/// Between two steps, at least.
const SHORTEST: Duration = Duration::from_millis(10);

impl Member {
    fn new(weight: u32) -> Self {
        Self {
            weight,
            is_well: true,
            contrary: 0,
            ejected_until: None,
            ejections: 0,
            back_since: None,
        }
    }

    fn is_ejected(&self) -> bool {
        self.ejected_until.is_some()
    }

    fn is_up(&self) -> bool {
        self.is_well && !self.is_ejected()
    }

    fn eject(&mut self, outliers: &Outliers, now: Instant) {
        let did_well = |since: Instant| now.duration_since(since) >= outliers.max_ejection;
        if self.back_since.is_some_and(did_well) {
            self.ejections = 0;
        }
        self.ejections = self.ejections.saturating_add(1);
        let time = outliers.ejection.saturating_mul(self.ejections);
        self.ejected_until = Some(now + time.min(outliers.max_ejection));
    }

    /// Its weight, in tenths where shares grow.
    fn grown(&self, slow_start: Duration, now: Instant) -> u32 {
        if slow_start.is_zero() {
            return self.weight;
        }
        let passed = self.back_since.map_or(slow_start, |since| {
            now.saturating_duration_since(since).min(slow_start)
        });
        let tenths = passed.as_millis() * u128::from(STEPS) / slow_start.as_millis().max(1);
        let tenths = u32::try_from(tenths).unwrap_or(STEPS).clamp(1, STEPS);
        self.weight * tenths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn health(settings: &str, count: usize) -> Health {
        let endpoints: Vec<_> = (1..=count).map(|n| format!("'a:{n}'")).collect();
        let text = format!(
            "upstreams: {{ a: {{ url: 'http://x', endpoints: [{}], {settings} }} }}",
            endpoints.join(", ")
        );
        let plan = crate::plan::tests::compile(&text).unwrap();
        let upstream = plan.upstreams.into_iter().next().unwrap();
        let weights = upstream.endpoints.iter().map(|it| it.weight);
        Health::new(upstream.health, weights)
    }

    #[test]
    fn each_ejection_is_longer_and_a_good_while_makes_up_for_it() {
        let mut health = health(
            "outlier_detection: { ejection_secs: 10, max_ejection_secs: 25 }",
            2,
        );
        let mut now = Instant::now();
        for secs in [10, 20, 25, 25] {
            assert!(health.eject(0, now));
            assert_eq!(health.shares(now).weights, [0, 1]);
            assert_eq!(health.next(now), Some(now + SECOND * secs));
            now += SECOND * secs;
            health.pass(now);
            assert_eq!(health.shares(now).weights, [1, 1]);
        }
        now += SECOND * 25;
        assert!(health.eject(0, now));
        assert_eq!(health.next(now), Some(now + SECOND * 10));
    }

    #[test]
    fn a_bounded_share_is_ejected_and_who_is_alone_never() {
        let now = Instant::now();
        let mut four = health("", 4);
        assert!(four.eject(0, now) && four.eject(1, now));
        assert!(!four.eject(1, now), "it is already");
        assert!(!four.eject(2, now), "half of them are");
        let mut few = health("outlier_detection: { max_ejected_percent: 0 }", 2);
        assert!(few.eject(0, now) && !few.eject(1, now));
        let mut alone = health("", 1);
        assert!(!alone.eject(0, now));
    }

    #[test]
    fn answers_count_in_a_row_and_too_few_that_are_well_are_not_all_that_is_left() {
        let check = "health_check: { path: /h, unhealthy_threshold: 2, healthy_threshold: 2 }";
        let mut three = health(check, 3);
        let now = Instant::now();
        for is_well in [false, true, false] {
            three.checked(0, is_well, now);
        }
        assert_eq!(three.shares(now).weights, [1, 1, 1]);
        three.checked(0, false, now);
        assert_eq!(three.shares(now).weights, [0, 1, 1]);
        for _ in 0..2 {
            three.checked(1, false, now);
        }
        let shares = three.shares(now);
        assert!(shares.is_panic && shares.weights == [1, 1, 1]);
        assert_eq!(shares.are_up, [false, false, true]);
        for _ in 0..2 {
            three.checked(1, true, now);
        }
        assert_eq!(three.shares(now).weights, [0, 1, 1]);
        let mut none = health(&format!("panic_threshold_percent: 0, {check}"), 1);
        for _ in 0..2 {
            none.checked(0, false, now);
        }
        assert_eq!(none.shares(now).weights, [0]);
    }

    #[test]
    fn who_stays_is_as_before() {
        let mut health = health("", 3);
        let now = Instant::now();
        assert!(health.eject(1, now));
        health.renew([(1, None), (5, Some(1)), (7, Some(2))].into_iter());
        assert_eq!(health.shares(now).weights, [1, 0, 7]);
        health.pass(now + SECOND * 10);
        assert_eq!(health.shares(now + SECOND * 10).weights, [1, 5, 7]);
        health.renew(std::iter::empty());
        assert_eq!(health.shares(now).weights, [0; 0]);
    }

    #[test]
    fn who_comes_back_gets_more_with_time() {
        let mut health = health("slow_start_secs: 20", 2);
        let mut now = Instant::now();
        assert_eq!(health.shares(now).weights, [10, 10], "at the start, all");
        health.eject(0, now);
        now += SECOND * 10;
        health.pass(now);
        let mut grown = Vec::new();
        while let Some(next) = health.next(now) {
            grown.push(health.shares(now).weights[0]);
            now = next;
        }
        assert_eq!(grown, [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(health.shares(now).weights, [10, 10]);
    }
}
