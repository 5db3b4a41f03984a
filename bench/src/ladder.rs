//! What each rung of the ladder adds: a table beside other proxies, and a plot of it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::run::Run;
use crate::table::{Spread, distinct, errors, write_latencies};

/// Results of `bench/ladder`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    results: PathBuf,
    /// Where the plot is written, as SVG
    #[arg(long)]
    plot: PathBuf,
}

/// One set-up.
#[derive(Debug)]
struct Rung {
    name: String,
    cpu: Spread,
    user: f64,
    requests_a_second: f64,
    resident_mb: f64,
    errors: u64,
}

/// The set-up that does nothing but forward, and that others are compared with.
const YARDSTICK: &str = "nginx L1";
/// The same of ours.
const OWN: &str = "L1 proxy";
/// Nobody is between load and service.
const DIRECT: &str = "L0 direct";

pub(crate) fn print(arguments: &Arguments) -> anyhow::Result<()> {
    let runs = Run::read_all(&arguments.results)?;
    let (latencies, costs): (Vec<&Run>, Vec<&Run>) =
        runs.iter().partition(|run| run.latency.is_some());
    let rungs = rungs(&costs)?;
    let mut out = io::stdout();
    write_rungs(&rungs, &mut out)?;
    if !latencies.is_empty() {
        writeln!(
            out,
            "\nAt a quarter of what each answers a second, on a core that is kept awake:\n"
        )?;
        write_latencies(&latencies, &mut out)?;
    }
    write_plot(&rungs, &arguments.plot)?;
    let errors: u64 = runs.iter().map(|run| run.errors).sum();
    ensure!(errors == 0, "there were {errors} errors");
    Ok(())
}

/// Requests a second, as a share of what a set-up has answered.
pub(crate) fn rate(results: &Path, setup: &str, share: f64) -> anyhow::Result<()> {
    let runs = Run::read_all(results)?;
    let own: Vec<&Run> = runs.iter().filter(|run| run.latency.is_none()).collect();
    let answered = Spread::of(&own, setup, Run::requests_a_second)?;
    writeln!(io::stdout(), "{:.0}", answered.median * share)?;
    Ok(())
}

fn rungs(runs: &[&Run]) -> anyhow::Result<Vec<Rung>> {
    let names = distinct(runs.iter().map(|run| run.setup.as_str()));
    let rung = |name: &str| {
        let of = |quantity: fn(&Run) -> f64| Spread::of(runs, name, quantity);
        Ok(Rung {
            name: name.to_owned(),
            cpu: of(Run::cpu_a_decision)?,
            user: of(Run::user_a_decision)?.median,
            requests_a_second: of(Run::requests_a_second)?.median,
            resident_mb: of(Run::resident_mb)?.most,
            errors: errors(runs, name),
        })
    };
    names.into_iter().map(rung).collect()
}

fn write_rungs(rungs: &[Rung], out: &mut impl Write) -> anyhow::Result<()> {
    let cost = |name: &str| {
        let found = rungs.iter().find(|rung| rung.name == name);
        found.map(|rung| rung.cpu.median)
    };
    writeln!(
        out,
        "\n| set-up | CPU µs/request (least to most) | of which user | beyond its L1 | cost, nginx L1 = 1 | requests/s | MB | errors |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    for rung in rungs {
        let first = match rung.name.split_once(" L") {
            Some((peer, _)) => cost(&format!("{peer} L1")),
            None => cost(OWN),
        };
        let dash = || "–".to_owned();
        // The service's own process is measured where nobody is in front of it.
        let is_direct = rung.name == DIRECT;
        let first = first.filter(|_| !is_direct);
        let beyond = first.map_or_else(dash, |first| format!("{:+.2}", rung.cpu.median - first));
        let yardstick = cost(YARDSTICK).filter(|_| !is_direct);
        let ratio = yardstick.map_or_else(dash, |it| format!("{:.2}", rung.cpu.median / it));
        writeln!(
            out,
            "| {} | {:.2} ({:.2} to {:.2}) | {:.2} | {beyond} | {ratio} | {:.0} | {:.0} | {} |",
            rung.name,
            rung.cpu.median,
            rung.cpu.least,
            rung.cpu.most,
            rung.user,
            rung.requests_a_second,
            rung.resident_mb,
            rung.errors
        )?;
    }
    Ok(())
}

const ROW: f64 = 22.0;
const NAMES: f64 = 330.0;
const BARS: f64 = 520.0;
const HEAD: f64 = 46.0;

/// A bar a set-up: CPU time of a request, the user's part darker; a line from the least to the most.
fn write_plot(rungs: &[Rung], to: &Path) -> anyhow::Result<()> {
    let most = rungs.iter().map(|rung| rung.cpu.most).fold(1.0, f64::max);
    let scale = |micros: f64| micros / most * BARS;
    let count = u32::try_from(rungs.len())?;
    let (width, height) = (NAMES + BARS + 70.0, HEAD + ROW * f64::from(count) + 16.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\">CPU µs of a request: system (light), user (dark), least to most (line)</text>\n"
    );
    let mut top = HEAD;
    for rung in rungs {
        let is_own = !["nginx", "HAProxy", "Envoy", "Caddy", "hyper", DIRECT]
            .iter()
            .any(|peer| rung.name.starts_with(peer));
        let (light, dark) = if is_own {
            ("#9fd3b4", "#2f855a")
        } else {
            ("#c9ced6", "#77808c")
        };
        let middle = top + ROW / 2.0;
        let (cpu, user) = (scale(rung.cpu.median), scale(rung.user));
        let (least, most) = (NAMES + scale(rung.cpu.least), NAMES + scale(rung.cpu.most));
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{NAMES}\" y=\"{:.1}\" width=\"{cpu:.1}\" height=\"{:.1}\" fill=\"{light}\"/>\n\
             <rect x=\"{NAMES}\" y=\"{:.1}\" width=\"{user:.1}\" height=\"{:.1}\" fill=\"{dark}\"/>\n\
             <path d=\"M{least:.1} {middle:.1}H{most:.1}\" stroke=\"black\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.1}</text>",
            NAMES - 8.0,
            middle + 4.0,
            escaped(&rung.name),
            top + 3.0,
            ROW - 6.0,
            top + 3.0,
            ROW - 6.0,
            most + 6.0,
            middle + 4.0,
            rung.cpu.median
        )?;
        top += ROW;
    }
    svg.push_str("</svg>\n");
    fs::write(to, svg).with_context(|| to.display().to_string())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Cpu;

    fn run(setup: &str, micros: u64) -> Run {
        Run {
            setup: setup.into(),
            work: "ladder".into(),
            requests: 100,
            errors: 0,
            decisions_a_request: 1,
            seconds: 2.0,
            cpu: Cpu {
                user: micros * 50,
                system: micros * 50,
            },
            latency: None,
            resident_kb: 2048,
        }
    }

    #[test]
    fn a_rung_is_beside_its_own_first_and_the_yardstick() {
        let runs = [
            run("L0 direct", 5),
            run("nginx L1", 10),
            run("nginx L7 TLS 1.3", 14),
            run("L1 proxy", 12),
            run("L6 + limit, access log", 15),
        ];
        let runs: Vec<&Run> = runs.iter().collect();
        let rungs = rungs(&runs).unwrap();
        let mut table = Vec::new();
        write_rungs(&rungs, &mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        for row in [
            "| L0 direct | 5.00 (5.00 to 5.00) | 2.50 | – | – | 50 | 2 | 0 |",
            "| nginx L7 TLS 1.3 | 14.00 (14.00 to 14.00) | 7.00 | +4.00 | 1.40 | 50 | 2 | 0 |",
            "| L6 + limit, access log | 15.00 (15.00 to 15.00) | 7.50 | +3.00 | 1.50 | 50 | 2 | 0 |",
        ] {
            assert!(table.contains(row), "{row}\n{table}");
        }
    }
}
