//! What the processes take: resident memory and open descriptors, looked at now and then.

use std::collections::BTreeMap;
use std::fmt;

/// What a process took, at one time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    resident_kib: u64,
    descriptors: usize,
}

/// By the name of the process; one that was started again goes on under its name.
#[derive(Debug, Default, Clone)]
pub struct Samples(BTreeMap<&'static str, Vec<Sample>>);

/// The medians of the first and the last fifth, and the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Course {
    first: u64,
    last: u64,
    most: u64,
}

/// The median of the last fifth is at most this more than that of the first, or something grows.
const PERCENT: u64 = 15;
const KIB: u64 = 24 << 10;
const DESCRIPTORS: u64 = 64;

impl Samples {
    pub fn take(&mut self, processes: &[(&'static str, u32)]) {
        for (name, id) in processes {
            if let Some(sample) = look_at(*id) {
                self.0.entry(name).or_default().push(sample);
            }
        }
    }

    /// Whatever has grown.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (name, samples) in &self.0 {
            let (memory, descriptors) = courses(samples);
            let bound = memory.first + memory.first * PERCENT / 100 + KIB;
            if memory.last > bound {
                complaints.push(format!("memory of {name} grows: {memory:?} KiB"));
            }
            if descriptors.last > descriptors.first + DESCRIPTORS {
                complaints.push(format!("descriptors of {name} grow: {descriptors:?}"));
            }
        }
        complaints
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:16} {:>27}   {:>20}",
            "", "MiB first / last / most", "descriptors"
        )?;
        for (name, samples) in &self.0 {
            let (memory, descriptors) = courses(samples);
            let [first, last, most] =
                [memory.first, memory.last, memory.most].map(|kib| kib as f64 / 1024.0);
            writeln!(
                f,
                "{name:16} {first:>8.1} {last:>8.1} {most:>8.1}    {:>6} {:>6} {:>6}",
                descriptors.first, descriptors.last, descriptors.most
            )?;
        }
        Ok(())
    }
}

fn courses(samples: &[Sample]) -> (Course, Course) {
    (
        course(samples.iter().map(|it| it.resident_kib)),
        course(samples.iter().map(|it| it.descriptors as u64)),
    )
}

fn course(values: impl Iterator<Item = u64>) -> Course {
    let all: Vec<u64> = values.collect();
    let fifth = all.len().div_ceil(5);
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    };
    Course {
        first: median(&all[..fifth]),
        last: median(&all[all.len() - fifth..]),
        most: all.iter().copied().max().unwrap_or_default(),
    }
}

/// None: it is gone.
fn look_at(id: u32) -> Option<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kib = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count();
    Some(Sample {
        resident_kib,
        descriptors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident_kib: impl Iterator<Item = u64>) -> Samples {
        let taken = resident_kib.map(|resident_kib| Sample {
            resident_kib,
            descriptors: 20,
        });
        Samples(BTreeMap::from([("one", taken.collect())]))
    }

    #[test]
    fn what_grows_is_told_and_what_comes_and_goes_is_not() {
        let grows = samples((0..100).map(|it| 50_000 + it * 1_000));
        assert_eq!(grows.complaints().len(), 1);
        let stays = samples((0..100).map(|it| 50_000 + it % 7 * 9_000));
        assert_eq!(stays.complaints(), [""; 0]);
    }
}
