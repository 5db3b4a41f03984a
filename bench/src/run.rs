//! What one run came to: a line of the file of results.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// One run against one set-up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) setup: String,
    /// The work that was asked for: set-ups are compared within one.
    pub(crate) work: String,
    pub(crate) requests: u64,
    /// Requests whose answer was not the right one.
    pub(crate) errors: u64,
    pub(crate) decisions_a_request: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu: Cpu,
    /// None where no rate was given: then every connection asks as soon as it has its answer, and
    /// its latencies say how full the server was and nothing else.
    pub(crate) latency: Option<Latency>,
    /// What the server's processes had in memory at the end; 0 where nobody has looked.
    #[serde(default)]
    pub(crate) resident_kb: u64,
}

/// CPU time of the server's process while it was asked. Microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Cpu {
    pub(crate) user: u64,
    pub(crate) system: u64,
}

/// From the moment at which a request was due until its answer was there. Microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) most: f64,
}

impl Run {
    pub(crate) fn append(&self, to: &Path) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).open(to)?;
        file.write_all(&line)?;
        Ok(())
    }

    pub(crate) fn read_all(from: &Path) -> anyhow::Result<Vec<Self>> {
        let text = fs::read_to_string(from).with_context(|| from.display().to_string())?;
        let runs = text.lines().map(serde_json::from_str);
        Ok(runs.collect::<Result<_, _>>()?)
    }

    /// CPU microseconds for each decision.
    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
    pub(crate) fn cpu_a_decision(&self) -> f64 {
        let decisions = self.requests * self.decisions_a_request;
        (self.cpu.user + self.cpu.system) as f64 / decisions.max(1) as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
    pub(crate) fn user_a_decision(&self) -> f64 {
        let decisions = self.requests * self.decisions_a_request;
        self.cpu.user as f64 / decisions.max(1) as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "kilobytes of a process")]
    pub(crate) fn resident_mb(&self) -> f64 {
        self.resident_kb as f64 / 1024.0
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
    pub(crate) fn requests_a_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

impl Cpu {
    /// What a process has used so far.
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        Self::read(&stat).context("/proc/PID/stat is not as expected")
    }

    /// Fields 14 and 15, of which field 2 is a name that may hold spaces.
    fn read(stat: &str) -> Option<Self> {
        let (_, behind_name) = stat.rsplit_once(") ")?;
        let mut fields = behind_name.split(' ').skip(11);
        let mut next = || fields.next()?.parse::<u64>().ok();
        Some(Self {
            user: next()? * TICK,
            system: next()? * TICK,
        })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// Linux tells user space of a hundredth of a second on every machine that this runs on.
const TICK: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_spaces() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 31 42 0 0";
        let cpu = Cpu::read(stat).unwrap();
        assert_eq!((cpu.user, cpu.system), (310_000, 420_000));
    }

    #[test]
    fn this_process_uses_time() {
        let before = Cpu::of(std::process::id()).unwrap();
        let mut spent = Cpu::default();
        let mut work = 1_u64;
        while spent.user + spent.system == 0 {
            for n in 0..1_000_000 {
                work = std::hint::black_box(work.wrapping_mul(3).wrapping_add(n));
            }
            spent = Cpu::of(std::process::id()).unwrap().since(before);
        }
    }
}
