//! A site under load while its parts are killed, changed and taken back: no wrong decision, no lost request, and
//! memory that stays as it is.

mod changes;
mod deck;
mod endpoint;
mod journal;
mod ledger;
mod line;
mod oracle;
mod outages;
mod report;
mod samples;
mod shot;
mod stage;
mod tally;
mod traffic;
mod wallet;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use endpoint::endpoint;
pub use report::Report;

use super::random::Random;
use line::Speaks;
use samples::Samples;
use stage::{DISABLED, PEOPLE, Stage};
use tally::Tally;
use traffic::Traffic;
use wallet::LIFE;

/// How a soak is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub length: Duration,
    /// What is drawn follows from it: faults, requests, tokens.
    pub seed: u64,
    /// Between two kills, and between two changes, about so long.
    pub pace: Duration,
    /// How long it is looked at what the machine can bear.
    pub trial: Duration,
    /// Of that, so much is the load. Percent.
    pub share: u32,
}

impl Plan {
    pub fn minutes(minutes: u64, seed: u64) -> Self {
        Self {
            length: Duration::from_secs(minutes * 60),
            seed,
            pace: Duration::from_secs(3),
            trial: Duration::from_secs(8),
            share: 70,
        }
    }

    /// Each fault about once.
    pub fn short(seed: u64) -> Self {
        Self {
            length: Duration::from_secs(25),
            seed,
            pace: Duration::from_millis(700),
            trial: Duration::from_secs(2),
            // Other tests run beside it.
            share: 40,
        }
    }
}

/// Tokens of the program that are in use.
const PROGRAM_TOKENS: usize = 16;

/// Runs it.
pub async fn soak(plan: Plan) -> Report {
    let stage = Arc::new(tokio::task::block_in_place(Stage::start));
    let tally = Arc::new(Tally::default());
    fill(&stage).await;
    let traffic = Traffic::start(&stage, &tally, plan.seed);
    // Once to fill the caches, once to count.
    traffic.most(plan.trial / 2).await;
    let most = traffic.most(plan.trial).await;
    let rate = most * f64::from(plan.share) / 100.0;
    traffic.at_rate(rate);

    let (begun, before) = (stage.ledger.now(), traffic.answered());
    let is_over = Arc::<AtomicBool>::default();
    let keeper = tokio::spawn(keep(stage.clone(), is_over.clone()));
    let watchers = watchers(&stage, &tally, &is_over, plan.seed);
    let outages = tokio::spawn(outages::outages(
        stage.clone(),
        tally.clone(),
        is_over.clone(),
        Random::new(plan.seed ^ 0x0a),
        plan.pace,
    ));
    let changes = changes::changes(
        stage.clone(),
        tally.clone(),
        is_over.clone(),
        Random::new(plan.seed ^ 0x0c),
        plan.pace,
    );
    let sampled = async {
        let samples = sample(&stage, &tally, plan.length).await;
        is_over.store(true, Ordering::Relaxed);
        (samples, traffic.answered(), stage.ledger.now())
    };
    let ((samples, after, ended), ()) = tokio::join!(sampled, changes);
    let loaded = (after - before) as f64 / (ended - begun).as_secs_f64();
    outages.await.expect("outages");
    traffic.stop().await;
    for watcher in watchers {
        watcher.await.expect("a watcher");
    }
    keeper.await.expect("the keeper");
    for complaint in samples.complaints() {
        tally.fail(complaint);
    }
    let journal = journal::read(&stage, &tally);
    let report = Report {
        plan,
        most,
        loaded,
        counts: tally.counts(),
        samples,
        journal,
    };
    if report.counts.failures > 0 {
        stage.keep_files(plan.seed);
    }
    report
}

async fn fill(stage: &Stage) {
    for (name, _) in PEOPLE {
        let token = stage.person_token(name).await.expect("a login");
        stage.wallet.keep(name, token);
    }
    for _ in 0..PROGRAM_TOKENS {
        let token = stage.program_token().await.expect("a token");
        stage.wallet.keep_program(token);
    }
    stage.ledger.end_turn(stage.ledger.begin_turn(true));
}

/// New tokens in the place of those that are about to expire; the old ones are tried on.
async fn keep(stage: Arc<Stage>, is_over: Arc<AtomicBool>) {
    let is_old = |born: Duration| stage.ledger.now() - born > LIFE * 3 / 4;
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for token in stage.wallet.programs() {
            if is_old(token.born)
                && let Some(new) = stage.program_token().await
            {
                stage.wallet.keep_program(new);
                stage.wallet.retire(&token);
            }
        }
        for (name, _) in PEOPLE {
            let is_wanted = |stage: &Stage| {
                let is_out = name == DISABLED && stage.is_disabled.load(Ordering::SeqCst);
                !is_out && stage.wallet.person(name).is_none_or(|it| is_old(it.born))
            };
            if !is_wanted(&stage) {
                continue;
            }
            // Nobody is disabled between the login and the moment at which the token is known here.
            let held = stage.outages_held.clone();
            let _held = held.lock().await;
            if is_wanted(&stage)
                && let Ok(new) = stage.person_token(name).await
            {
                stage.wallet.keep(name, new);
            }
        }
    }
}

fn watchers(
    stage: &Arc<Stage>,
    tally: &Arc<Tally>,
    is_over: &Arc<AtomicBool>,
    seed: u64,
) -> Vec<tokio::task::JoinHandle<()>> {
    let start = |index: usize| {
        let speaks = if index < 4 { Speaks::Kept } else { Speaks::Two };
        let random = Random::new(seed ^ (0x5e_0000 + index as u64));
        let parts = (random, speaks, index % 2);
        tokio::spawn(watch::watch(
            stage.clone(),
            tally.clone(),
            is_over.clone(),
            parts,
        ))
    };
    (0..8).map(start).collect()
}

/// Looks at the processes until it is over; the first tenth is warming up.
async fn sample(stage: &Stage, tally: &Tally, length: Duration) -> Samples {
    let begun = stage.ledger.now();
    let mut samples = Samples::default();
    let every = (length / 200).clamp(Duration::from_millis(250), Duration::from_secs(5));
    let mut told = begun;
    loop {
        tokio::time::sleep(every).await;
        let past = stage.ledger.now() - begun;
        if past > length {
            return samples;
        }
        if past > length / 10
            && let Some(processes) = stage.processes()
        {
            samples.take(&processes);
        }
        if stage.ledger.now() - told > Duration::from_secs(60) {
            told = stage.ledger.now();
            let counts = tally.counts();
            let all: usize = counts.kinds.values().map(|of| of.all).sum();
            println!(
                "{:>5.0?}: {all} requests, {} failures",
                past, counts.failures
            );
        }
    }
}
