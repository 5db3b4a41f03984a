//! What a soak has seen, as a table.

use std::fmt;
use std::time::Duration;

use super::Plan;
use super::journal::Journal;
use super::samples::Samples;
use super::tally::{Counts, OfKind};

#[derive(Debug)]
pub struct Report {
    pub plan: Plan,
    /// Requests a second at most, and while it was soaked.
    pub most: f64,
    pub loaded: f64,
    pub(super) counts: Counts,
    pub(super) samples: Samples,
    pub(super) journal: Journal,
}

impl Report {
    pub fn failures(&self) -> usize {
        self.counts.failures
    }

    /// Requests that came to what they must, of the kind that did so least.
    pub fn least_right(&self) -> usize {
        let right = |of: &OfKind| {
            of.all - of.unavailable - of.of_endpoint - of.of_gateway - of.lost - of.wrong
        };
        self.counts
            .kinds
            .values()
            .map(right)
            .min()
            .unwrap_or_default()
    }

    /// How many kinds of them.
    pub fn kinds_of_faults(&self) -> usize {
        self.counts.faults.len()
    }

    fn all(&self) -> OfKind {
        let mut all = OfKind::default();
        for of in self.counts.kinds.values() {
            all.all += of.all;
            all.unavailable += of.unavailable;
            all.of_endpoint += of.of_endpoint;
            all.of_gateway += of.of_gateway;
            all.lost += of.lost;
            all.wrong += of.wrong;
            all.latency.merge(&of.latency);
        }
        all
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:?}, seed {}: {:.0} requests a second, of {:.0} at most",
            self.plan.length, self.plan.seed, self.loaded, self.most
        )?;
        writeln!(
            f,
            "\n{:18} {:>9} {:>8} {:>9} {:>8} {:>5} {:>5} {:>9} {:>9} {:>9}",
            "requests", "all", "503", "endpoint", "gateway", "lost", "wrong", "p50", "p99", "p99.9"
        )?;
        for (kind, of) in &self.counts.kinds {
            row(f, &format!("{kind:?}"), of)?;
        }
        row(f, "all", &self.all())?;
        writeln!(f, "\n{:28} {:>6} {:>12}", "faults", "times", "well after")?;
        for (name, (times, longest)) in &self.counts.faults {
            writeln!(f, "{name:28} {times:>6} {longest:>12.2?}")?;
        }
        writeln!(
            f,
            "\nstreams: {} begun, {} ended; orders: {} taken, {} of them again by their key",
            self.counts.streams,
            self.counts.streams_ended,
            self.journal.orders,
            self.journal.repeated
        )?;
        writeln!(
            f,
            "revocations: the last request that got through was sent {:.1?} after the answer\n",
            self.counts.heard
        )?;
        write!(f, "{}", self.samples)?;
        if self.counts.failures > 0 {
            writeln!(
                f,
                "\n{} FAILURES; again by: bench/soak with seed {}",
                self.counts.failures, self.plan.seed
            )?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, of: &OfKind) -> fmt::Result {
    let at = |share: u64| millis(of.latency.at(share));
    writeln!(
        f,
        "{name:18} {:>9} {:>8} {:>9} {:>8} {:>5} {:>5} {:>9} {:>9} {:>9}",
        of.all,
        of.unavailable,
        of.of_endpoint,
        of.of_gateway,
        of.lost,
        of.wrong,
        at(500),
        at(990),
        at(999)
    )
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}
