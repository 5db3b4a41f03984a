//! Load on a server: as fast as it answers, or at a constant rate whatever it does.
//!
//! At a constant rate a request's latency counts from the moment at which it was due, also where
//! no connection was free to send it: a server that stalls cannot make its questions wait
//! unseen (coordinated omission).

mod schedule;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::answer::Answers;
use crate::ask::{Prepared, Questions, Sign, Target};
use crate::chain::Chain;
use crate::run::{Cpu, Latency, Run};
use schedule::Schedule;

/// Whom to load how.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Requests a second; without it, as many as are answered
    #[arg(long)]
    rate: Option<f64>,
    /// The server's process, whose CPU time is counted
    #[arg(long)]
    process: u32,
    /// Where the result is appended; without it, this is a warm-up
    #[arg(long)]
    results: Option<PathBuf>,
    /// What the results call the server
    #[arg(long, default_value = "")]
    setup: String,
    /// What the results call the work
    #[arg(long, default_value = "")]
    work: String,
}

/// What all connections of a run share.
struct Shared {
    questions: Vec<Prepared>,
    sign: Sign,
    chain: Option<Chain>,
    /// By connection, what it would have asked next.
    left: RefCell<BTreeMap<usize, Prepared>>,
    schedule: Schedule,
    counted: RefCell<Counted>,
}

#[derive(Default)]
struct Counted {
    errors: u64,
    /// Nanoseconds, of every answer.
    latencies: Vec<u64>,
}

/// Loads the server, and says and writes what came of it.
pub(crate) async fn load(arguments: &Arguments) -> anyhow::Result<()> {
    let mut questions = Questions::read(&arguments.target.questions)?;
    let streams = connect(arguments).await?;
    let shared = Rc::new(Shared {
        questions: questions.prepared(arguments.target.server),
        sign: questions.sign.clone(),
        chain: questions.chain.clone(),
        left: RefCell::default(),
        schedule: Schedule::new(arguments.rate, Duration::from_secs(arguments.seconds)),
        counted: RefCell::default(),
    });
    let before = Cpu::of(arguments.process)?;
    let started = Instant::now();
    LocalSet::new()
        .run_until(run_all(streams, &shared))
        .await
        .with_context(|| format!("{} {}", arguments.setup, arguments.work))?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = Cpu::of(arguments.process)?.since(before);
    if questions.chain.is_some() {
        questions.go_on(shared.left.take());
        questions.write(&arguments.target.questions)?;
    }
    let counted = shared.counted.take();
    let run = Run {
        setup: arguments.setup.clone(),
        work: arguments.work.clone(),
        requests: u64::try_from(counted.latencies.len())?,
        errors: counted.errors,
        decisions_a_request: questions.decisions,
        seconds,
        cpu,
        latency: arguments
            .rate
            .map(|rate| percentiles(rate, counted.latencies)),
        resident_kb: 0,
    };
    if let Some(results) = &arguments.results {
        run.append(results)?;
        say(&run)?;
    }
    Ok(())
}

async fn connect(arguments: &Arguments) -> anyhow::Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..arguments.connections {
        let stream = TcpStream::connect(arguments.target.server).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    Ok(streams)
}

async fn run_all(streams: Vec<TcpStream>, shared: &Rc<Shared>) -> anyhow::Result<()> {
    shared.schedule.begin();
    let mut connections = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        let shared = Rc::clone(shared);
        connections.spawn_local(async move {
            match &shared.chain {
                None => converse(stream, &shared).await,
                Some(chain) => go_on(stream, &shared, chain, number).await,
            }
        });
    }
    connections.spawn_local({
        let shared = Rc::clone(shared);
        async move {
            shared.schedule.hand_out().await;
            Ok(())
        }
    });
    while let Some(ended) = connections.join_next().await {
        ended??;
    }
    Ok(())
}

/// Asks over one connection until nothing is due any more.
async fn converse(mut stream: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    let mut answers = Answers::default();
    while let Some(turn) = shared.schedule.turn().await {
        let count = shared.questions.len();
        let question = shared.questions.get(turn.number % count);
        let question = question.context("there are no questions")?;
        stream.write_all(&question.bytes).await?;
        let (status, body) = answers.next(&mut stream).await?;
        let latency = turn.due.elapsed();
        shared.count(latency, question.is_answered_by(status, body, &shared.sign));
    }
    Ok(())
}

/// Asks what follows from the answers before. One that is wrong ends it: nothing follows.
async fn go_on(
    mut stream: TcpStream,
    shared: &Shared,
    chain: &Chain,
    number: usize,
) -> anyhow::Result<()> {
    let mut answers = Answers::default();
    let first = shared.questions.get(number);
    let first = first.context("there are fewer questions than connections")?;
    let mut next: Option<Prepared> = None;
    while let Some(turn) = shared.schedule.turn().await {
        let question = next.as_ref().unwrap_or(first);
        stream.write_all(&question.bytes).await?;
        let (status, body) = answers.next(&mut stream).await?;
        let latency = turn.due.elapsed();
        let right = question.is_answered_by(status, body, &shared.sign);
        shared.count(latency, right);
        if !right {
            bail!("{status} {}", String::from_utf8_lossy(body));
        }
        next = Some(question.next(chain, body)?);
    }
    if let Some(next) = next {
        shared.left.borrow_mut().insert(number, next);
    }
    Ok(())
}

impl Shared {
    fn count(&self, latency: Duration, right: bool) {
        let mut counted = self.counted.borrow_mut();
        counted.errors += u64::from(!right);
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        counted.latencies.push(nanos);
    }
}

fn percentiles(rate: f64, mut nanos: Vec<u64>) -> Latency {
    nanos.sort_unstable();
    let at = |thousandths: usize| {
        // The least that is not below so many of them.
        let rank = (nanos.len() * thousandths).div_ceil(1000).max(1);
        let nanos = nanos.get(rank - 1).copied().unwrap_or(0);
        Duration::from_nanos(nanos).as_secs_f64() * 1e6
    };
    Latency {
        rate,
        p50: at(500),
        p99: at(990),
        p999: at(999),
        most: at(1000),
    }
}

fn say(run: &Run) -> io::Result<()> {
    let mut out = io::stdout();
    write!(
        out,
        "{:<30} {:<26} {:>8.2} µs/decision {:>8.0} requests/s {:>3} errors",
        run.setup,
        run.work,
        run.cpu_a_decision(),
        run.requests_a_second(),
        run.errors
    )?;
    if let Some(latency) = &run.latency {
        write!(
            out,
            "  p50 {:.0} p99 {:.0} p99.9 {:.0} most {:.0} µs",
            latency.p50, latency.p99, latency.p999, latency.most
        )?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests;
