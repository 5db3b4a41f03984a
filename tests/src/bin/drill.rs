//! What tests do a few times, as often as it is told. `bench/revocation`, `bench/kills` and `bench/soak` start it.
//! `drill h1` is started by hand: `cargo run --release -p e2e --bin drill h1 100000`.

use e2e::drills::h1::{Table, h1};
use e2e::drills::kills::kills;
use e2e::drills::revocations::revocations;
use e2e::drills::soak::{Plan, endpoint, soak};
use e2e::site::Topology;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["kills", store, cycles] => {
            let topology = match store {
                "redb" => Topology::AllInOne,
                "redis" => Topology::Split,
                _ => anyhow::bail!("no store `{store}`: redb or redis"),
            };
            let seen = kills(topology, cycles.parse()?).await;
            println!(
                "{store}: {} kills in {:.0?}; of {} acknowledged revocations and {} acknowledged tokens none is lost",
                seen.cycles, seen.took, seen.revocations, seen.tokens
            );
        }
        ["revocations", rounds] => {
            let seen = revocations(rounds.parse()?).await;
            println!(
                "revocation answered to refused at a second gateway, {} times:\n  p50 {:.2?}  p99 {:.2?}  max {:.2?}",
                seen.took.len(),
                seen.at(500),
                seen.at(990),
                seen.at(1000)
            );
            println!(
                "  beside {:.0} requests a second at that gateway, of {:.0} at most; {} failed",
                seen.load, seen.most, seen.failed
            );
        }
        ["soak", length, seed] => {
            let seed = seed.parse()?;
            let plan = match length {
                "short" => Plan::short(seed),
                minutes => Plan::minutes(minutes.parse()?, seed),
            };
            let report = soak(plan).await;
            println!("{report}");
            anyhow::ensure!(report.failures() == 0, "{} failures", report.failures());
        }
        ["soak-endpoint", address, journal] => {
            endpoint(address.parse()?, journal.as_ref()).await?;
        }
        ["h1", cases] => return report(&h1(cases.parse()?, 1).await),
        ["h1", cases, seed] => return report(&h1(cases.parse()?, seed.parse()?).await),
        _ => anyhow::bail!(
            "usage: drill kills redb|redis CYCLES, drill revocations ROUNDS, drill soak MINUTES|short SEED, or drill h1 CASES [SEED]"
        ),
    }
    Ok(())
}

fn report(table: &Table) -> anyhow::Result<()> {
    println!("{table}");
    anyhow::ensure!(table.failures.is_empty(), "{} failed", table.failures.len());
    Ok(())
}
