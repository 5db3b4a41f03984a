//! Tables of results: medians of runs with their least and most.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::run::{Latency, Run};

/// Prints a table for each work. Fails where there were errors: those figures are no figures.
pub(crate) fn print(results: &Path, floor: Option<&str>) -> anyhow::Result<()> {
    let runs = Run::read_all(results)?;
    write(&runs, floor, &mut io::stdout())?;
    let errors: u64 = runs.iter().map(|run| run.errors).sum();
    ensure!(
        errors == 0,
        "there were {errors} errors: these figures are no figures"
    );
    Ok(())
}

fn write(runs: &[Run], floor: Option<&str>, out: &mut impl Write) -> anyhow::Result<()> {
    for work in distinct(runs.iter().map(|run| run.work.as_str())) {
        let of_work: Vec<&Run> = runs.iter().filter(|run| run.work == work).collect();
        writeln!(out, "\n{work}\n")?;
        if of_work.iter().any(|run| run.latency.is_some()) {
            write_latencies(&of_work, out)?;
        } else {
            write_costs(&of_work, floor, out)?;
        }
    }
    Ok(())
}

fn write_costs(runs: &[&Run], floor: Option<&str>, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "| set-up | CPU µs/decision (least to most) | of which user | requests/s | to the floor | runs | errors |\n\
         |---|---|---|---|---|---|---|"
    )?;
    let cpu = |setup: &str| Spread::of(runs, setup, Run::cpu_a_decision);
    let least = floor.and_then(|floor| cpu(floor).ok());
    for setup in distinct(runs.iter().map(|run| run.setup.as_str())) {
        let cost = cpu(setup)?;
        let ratio = least.as_ref().map_or_else(
            || "–".to_owned(),
            |floor| format!("{:.2}", cost.median / floor.median),
        );
        writeln!(
            out,
            "| {setup} | {:.2} ({:.2} to {:.2}) | {:.2} | {:.0} | {ratio} | {} | {} |",
            cost.median,
            cost.least,
            cost.most,
            Spread::of(runs, setup, Run::user_a_decision)?.median,
            Spread::of(runs, setup, Run::requests_a_second)?.median,
            cost.runs,
            errors(runs, setup),
        )?;
    }
    Ok(())
}

pub(crate) fn write_latencies(runs: &[&Run], out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "| set-up | requests/s asked | answered | p50 µs | p99 (least to most) | p99.9 | most of all | runs | errors |\n\
         |---|---|---|---|---|---|---|---|---|"
    )?;
    for setup in distinct(runs.iter().map(|run| run.setup.as_str())) {
        let spread = |part: fn(Latency) -> f64| {
            Spread::of(runs, setup, move |run| run.latency.map_or(0.0, part))
        };
        let p99 = spread(|latency| latency.p99)?;
        writeln!(
            out,
            "| {setup} | {:.0} | {:.0} | {:.0} | {:.0} ({:.0} to {:.0}) | {:.0} | {:.0} | {} | {} |",
            spread(|latency| latency.rate)?.median,
            Spread::of(runs, setup, Run::requests_a_second)?.median,
            spread(|latency| latency.p50)?.median,
            p99.median,
            p99.least,
            p99.most,
            spread(|latency| latency.p999)?.median,
            spread(|latency| latency.most)?.most,
            p99.runs,
            errors(runs, setup),
        )?;
    }
    Ok(())
}

pub(crate) fn errors(runs: &[&Run], setup: &str) -> u64 {
    let of_setup = runs.iter().filter(|run| run.setup == setup);
    of_setup.map(|run| run.errors).sum()
}

/// Each once, in the order of their first.
pub(crate) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

/// One quantity over all runs of a set-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
    runs: usize,
}

impl Spread {
    pub(crate) fn of(
        runs: &[&Run],
        setup: &str,
        quantity: impl Fn(&Run) -> f64,
    ) -> anyhow::Result<Self> {
        let of_setup = runs.iter().filter(|run| run.setup == setup);
        let quantities = of_setup.map(|run| quantity(run)).collect();
        Self::over(quantities).with_context(|| format!("no runs of {setup}"))
    }

    fn over(mut quantities: Vec<f64>) -> Option<Self> {
        quantities.sort_by(f64::total_cmp);
        let count = quantities.len();
        let above = quantities.get(count / 2)?;
        let below = quantities.get((count - 1) / 2)?;
        Some(Self {
            least: *quantities.first()?,
            median: f64::midpoint(*below, *above),
            most: *quantities.last()?,
            runs: count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Cpu;

    fn run(setup: &str, user: u64, latency: Option<Latency>) -> Run {
        Run {
            setup: setup.into(),
            work: "evaluation".into(),
            requests: 100,
            errors: 0,
            decisions_a_request: 1,
            seconds: 2.0,
            cpu: Cpu { user, system: 100 },
            latency,
            resident_kb: 0,
        }
    }

    fn written(runs: &[Run]) -> String {
        let mut out = Vec::new();
        write(runs, Some("floor"), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn costs_are_medians_beside_the_floor() {
        let runs = [
            run("floor", 400, None),
            run("ours", 900, None),
            run("ours", 700, None),
            run("ours", 1100, None),
        ];
        let table = written(&runs);
        let ours = "| ours | 10.00 (8.00 to 12.00) | 9.00 | 50 | 2.00 | 3 | 0 |";
        assert!(table.contains(ours), "{table}");
    }

    #[test]
    fn latencies_are_medians_and_the_most_of_all() {
        let latency = |p99: f64| {
            Some(Latency {
                rate: 50.0,
                p50: 10.0,
                p99,
                p999: 30.0,
                most: p99 * 2.0,
            })
        };
        let table = written(&[run("ours", 1, latency(20.0)), run("ours", 1, latency(24.0))]);
        let ours = "| ours | 50 | 50 | 10 | 22 (20 to 24) | 30 | 48 | 2 | 0 |";
        assert!(table.contains(ours), "{table}");
    }

    #[test]
    fn a_median_of_none_is_none() {
        assert_eq!(Spread::over(Vec::new()), None);
    }
}
