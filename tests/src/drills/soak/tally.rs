//! What was seen, counted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::oracle::Verdict;
use super::shot::Kind;

/// So many failures are told; all are counted.
const TOLD: usize = 20;

/// Counted while it runs.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub kinds: BTreeMap<Kind, OfKind>,
    /// How often each fault came, and how long it took until everything was well, the longest.
    pub faults: BTreeMap<String, (usize, Duration)>,
    pub failures: usize,
    pub told: usize,
    pub streams: usize,
    pub streams_ended: usize,
    /// Requests that were permitted after their token's end was answered, the latest.
    pub heard: Duration,
}

/// Requests of a kind.
#[derive(Debug, Default, Clone)]
pub struct OfKind {
    pub all: usize,
    pub unavailable: usize,
    pub of_endpoint: usize,
    pub of_gateway: usize,
    pub lost: usize,
    pub wrong: usize,
    pub latency: Latency,
}

/// Latencies in steps of a sixteenth, from a microsecond on.
#[derive(Debug, Clone)]
pub struct Latency(Vec<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(vec![0; 16 * 40])
    }
}

impl Latency {
    pub fn add(&mut self, took: Duration) {
        let micros = (took.as_micros() as u64).max(1);
        let step = (micros as f64).log2() * 16.0;
        let last = self.0.len() - 1;
        self.0[(step as usize).min(last)] += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own += other;
        }
    }

    /// That share of a thousand took no longer.
    pub fn at(&self, share: u64) -> Duration {
        let all: u64 = self.0.iter().sum();
        let mut left = all * share / 1000;
        for (step, count) in self.0.iter().enumerate() {
            if *count > left {
                return Duration::from_micros(2_f64.powf((step + 1) as f64 / 16.0) as u64);
            }
            left -= count;
        }
        Duration::ZERO
    }
}

impl Tally {
    pub fn request(
        &self,
        kind: Kind,
        took: Duration,
        verdict: &Verdict,
        story: impl FnOnce() -> String,
    ) {
        let mut counts = self.counts.lock().expect("lock");
        let of = counts.kinds.entry(kind).or_default();
        of.all += 1;
        match verdict {
            Verdict::Right => of.latency.add(took),
            Verdict::Unavailable => of.unavailable += 1,
            Verdict::OfEndpoint => of.of_endpoint += 1,
            Verdict::OfGateway => of.of_gateway += 1,
            Verdict::Lost(why) => {
                of.lost += 1;
                counts.fail(|| format!("LOST {why}\n{}", story()));
            }
            Verdict::Wrong(why) => {
                of.wrong += 1;
                counts.fail(|| format!("WRONG {why}\n{}", story()));
            }
        }
    }

    pub fn fail(&self, what: String) {
        self.counts.lock().expect("lock").fail(|| what);
    }

    pub fn fault(&self, name: &str, took: Duration) {
        let mut counts = self.counts.lock().expect("lock");
        let (times, longest) = counts.faults.entry(name.to_owned()).or_default();
        *times += 1;
        *longest = took.max(*longest);
    }

    pub fn heard(&self, after: Duration) {
        let mut counts = self.counts.lock().expect("lock");
        counts.heard = counts.heard.max(after);
    }

    pub fn stream(&self, is_ended: bool) {
        let mut counts = self.counts.lock().expect("lock");
        counts.streams += usize::from(!is_ended);
        counts.streams_ended += usize::from(is_ended);
    }

    pub fn counts(&self) -> Counts {
        self.counts.lock().expect("lock").clone()
    }
}

impl Counts {
    fn fail(&mut self, what: impl FnOnce() -> String) {
        self.failures += 1;
        if self.told < TOLD {
            self.told += 1;
            // At once: a soak is long.
            println!("\n{}", what());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_step() {
        let mut latency = Latency::default();
        for micros in 1..=1_000 {
            latency.add(Duration::from_micros(micros));
        }
        let median = latency.at(500).as_micros();
        assert!((480..560).contains(&median), "{median}");
        assert!(latency.at(999) >= Duration::from_micros(990));
    }
}
