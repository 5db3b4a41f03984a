//! The clients: each sends what it draws, at its pace, and has every answer judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::line::{Line, Speaks};
use super::oracle::{Verdict, judge};
use super::shot::{Kind, Shot};
use super::stage::Stage;
use super::tally::Tally;
use crate::drills::random::Random;

/// Half of them at each gateway. Those of HTTP/2 send several requests at a time.
const CLIENTS: [(Speaks, usize, usize); 3] = [
    (Speaks::Kept, 16, 1),
    (Speaks::Fresh, 4, 1),
    (Speaks::Two, 4, 4),
];

/// All of them.
pub struct Traffic {
    is_over: Arc<AtomicBool>,
    /// Microseconds between two requests of a client; none: as fast as it is answered.
    pace: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    pub fn start(stage: &Arc<Stage>, tally: &Arc<Tally>, seed: u64) -> Self {
        let mut traffic = Self {
            is_over: Arc::default(),
            pace: Arc::default(),
            answered: Arc::default(),
            clients: Vec::new(),
        };
        for (speaks, clients, at_once) in CLIENTS {
            for _ in 0..clients {
                let index = traffic.clients.len() as u64;
                let gateway = (index % 2) as usize;
                let client = Client {
                    stage: stage.clone(),
                    tally: tally.clone(),
                    line: Line::new(speaks, stage.gateway(gateway), &stage.tls),
                    gateway,
                    at_once,
                    random: Random::new(seed ^ (index + 1) << 32),
                    next: (index + 1) << 40,
                };
                let (is_over, pace) = (traffic.is_over.clone(), traffic.pace.clone());
                let task = client.run(is_over, pace, traffic.answered.clone());
                traffic.clients.push(tokio::spawn(task));
            }
        }
        traffic
    }

    /// Requests a second while nobody waits.
    pub async fn most(&self, length: Duration) -> f64 {
        let before = self.answered.load(Ordering::Relaxed);
        tokio::time::sleep(length).await;
        (self.answered.load(Ordering::Relaxed) - before) as f64 / length.as_secs_f64()
    }

    /// From now on so many requests a second, by all together.
    pub fn at_rate(&self, rate: f64) {
        let at_once: usize = CLIENTS
            .iter()
            .map(|(_, clients, at_once)| clients * at_once)
            .sum();
        let micros = at_once as f64 / rate * 1e6;
        self.pace.store(micros as u64, Ordering::Relaxed);
    }

    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub async fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client");
        }
    }
}

struct Client {
    stage: Arc<Stage>,
    tally: Arc<Tally>,
    line: Line,
    gateway: usize,
    at_once: usize,
    random: Random,
    next: u64,
}

impl Client {
    async fn run(
        mut self,
        is_over: Arc<AtomicBool>,
        pace: Arc<AtomicU64>,
        answered: Arc<AtomicU64>,
    ) {
        let mut due = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            let shots: Vec<_> = (0..self.at_once).filter_map(|_| self.draw()).collect();
            let sent = shots.iter().map(|shot| self.send(shot));
            futures_util::future::join_all(sent).await;
            answered.fetch_add(shots.len() as u64, Ordering::Relaxed);
            let pause = Duration::from_micros(pace.load(Ordering::Relaxed));
            // What was late is not sent all at once: it is the pace of clients that wait for their answers.
            due = (due + pause).max(Instant::now() - pause);
            if shots.is_empty() {
                due = Instant::now() + Duration::from_millis(5);
            }
            tokio::time::sleep_until(due).await;
        }
    }

    fn draw(&mut self) -> Option<Shot> {
        self.next += 1;
        let mut shot = Shot::draw(&mut self.random, &self.stage.wallet, self.next)?;
        shot.speaks = self.line.speaks;
        shot.gateway = self.gateway;
        Some(shot)
    }

    async fn send(&self, shot: &Shot) {
        let ledger = &self.stage.ledger;
        if shot.kind == Kind::KeyedOrder {
            let mut orders = self.stage.orders.lock().expect("lock");
            orders.keyed.insert(shot.number);
        }
        let sent = ledger.now();
        let outcome = self.line.ask(shot.request()).await;
        let answered = ledger.now();
        let status = outcome.as_ref().map_or(0, |answer| answer.status);
        if status == 200
            && let Some(token) = &shot.token
            && sent > token.dead_at()
        {
            self.tally.heard(sent - token.dead_at());
        }
        if status == 200 && shot.kind.is_order() {
            let mut orders = self.stage.orders.lock().expect("lock");
            orders.answered.push(shot.number);
        }
        let verdict = judge(shot, (sent, answered), &outcome, ledger);
        let took = answered - sent;
        self.tally.request(shot.kind, took, &verdict, || {
            let before = ledger.before(answered).join("\n    ");
            format!(
                "  sent at {sent:.3?}, answered at {answered:.3?}\n  {}\n  what had happened:\n    {before}",
                shot.story()
            )
        });
        if matches!(verdict, Verdict::Lost(_) | Verdict::OfGateway) && self.gateway == 1 {
            // Nobody hammers on a gateway that is not there.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
