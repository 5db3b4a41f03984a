//! One view of a request, tried out: random and mutated bytes to a gateway in front of HTTP parsers that we
//! did not write. What reaches the end of each way is what was sent, decided upon and logged, and nothing
//! else.

mod draft;
mod exchange;
mod grammar;
#[path = "../../../fuzz/src/model.rs"]
mod model;
mod readers;
mod recorder;
mod stage;
mod table;
mod verdict;

use std::collections::HashMap;
use std::net::SocketAddr;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::random;
use crate::process::own_address;
use draft::{Place, ids};
use exchange::{Answer, Wanted, exchange};
use grammar::Class;
use model::{Plain, Stop};
use random::Random;
use readers::Readers;
use recorder::{Arrived, Recorder};
use stage::{Line, Stage, TOKEN};
use verdict::Outcome;

pub use table::Table;

/// Cases between two starts of the gateway; its log is read then.
const BATCH: usize = 5_000;

/// Connections at a time.
const AT_A_TIME: usize = 48;

/// A case before it is sent.
#[derive(Debug)]
struct Case {
    number: usize,
    class: Class,
    reader: &'static str,
    pieces: Vec<Vec<u8>>,
    messages: Vec<Plain>,
    stop: Stop,
}

/// So many cases, the same for the same seed.
pub async fn h1(cases: usize, seed: u64) -> Table {
    let (host, recorder) = (own_address(), Recorder::default());
    recorder.start(readers::address(host, "recorder")).await;
    let readers = Readers::start(host);
    let mut table = Table::new(seed);
    for begin in (0..cases).step_by(BATCH) {
        let numbers = begin..cases.min(begin + BATCH);
        let stage = Stage::start(&readers).await;
        let gateway = stage.address();
        let sent: Vec<(Case, Answer)> = stream::iter(numbers)
            .map(|number| tokio::spawn(send(gateway, Case::new(number, seed))))
            .buffer_unordered(AT_A_TIME)
            .map(|sent| sent.expect("a case"))
            .collect()
            .await;
        let (decided, logged) = stage.end().await;
        judge(sent, recorder.take(), (decided, logged), &mut table);
        if cases > BATCH {
            println!("{} cases, {} failed", table.cases(), table.failures.len());
        }
    }
    table
}

async fn send(gateway: SocketAddr, case: Case) -> (Case, Answer) {
    let wanted = Wanted {
        answers: case.messages.len(),
        close: case.stop == Stop::Bad,
    };
    let is_control = case.class == Class::Control;
    let answer = exchange(gateway, &case.pieces, wanted, is_control).await;
    (case, answer)
}

impl Case {
    fn new(number: usize, seed: u64) -> Self {
        let mut random = Random::new(seed ^ (number as u64).wrapping_mul(0x5851_f42d_4c95_7f2d));
        let random = &mut random;
        let class = Class::ALL[number % Class::ALL.len()];
        let reader = readers::ALL[number / Class::ALL.len() % readers::ALL.len()];
        let place = Place {
            reader,
            case: number,
            token: TOKEN,
        };
        let bytes = grammar::draft(class, random, &place).bytes();
        let bytes = grammar::finish(class, random, bytes);
        let (messages, stop) = model::messages(&bytes);
        Self {
            number,
            class,
            reader,
            pieces: pieces(random, &bytes),
            messages,
            stop,
        }
    }
}

/// How the bytes are written: mostly at once, sometimes in a few pieces.
fn pieces(random: &mut Random, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for _ in 0..random.pick(&[0, 0, 0, 1, 1, 2, 3]) {
        let (piece, after) = rest.split_at(random.below(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Gives each case what belongs to it, and counts. What belongs to none is a failure.
fn judge(
    sent: Vec<(Case, Answer)>,
    arrived: Vec<Arrived>,
    (decided, logged): (Vec<Line>, Vec<Line>),
    table: &mut Table,
) {
    let mut outcomes: HashMap<usize, Outcome> = sent
        .into_iter()
        .map(|(case, answer)| (case.number, Outcome::of(case, answer)))
        .collect();
    let of = |text: &str| ids(text.as_bytes()).first().map(|(case, _)| *case);
    for line in decided {
        if let Some(outcome) = of(&line.path).and_then(|case| outcomes.get_mut(&case)) {
            outcome.decided.push(line);
        }
    }
    for line in logged {
        if let Some(outcome) = of(&line.path).and_then(|case| outcomes.get_mut(&case)) {
            outcome.logged.push(line);
        }
    }
    for arrived in arrived {
        let arrived = match arrived {
            Arrived::Request(seen) => {
                let outcome = of(&seen.target).and_then(|case| outcomes.get_mut(&case));
                match outcome {
                    Some(outcome) => {
                        outcome.seen.push(seen);
                        continue;
                    }
                    None => Arrived::Request(seen),
                }
            }
            nonsense @ Arrived::Nonsense(_) => nonsense,
        };
        table.fail(format!("nobody has sent this: {}", arrived.shown()));
    }
    let mut outcomes: Vec<Outcome> = outcomes.into_values().collect();
    outcomes.sort_by_key(|outcome| outcome.case);
    for outcome in &outcomes {
        table.count(outcome);
    }
}

impl Outcome {
    fn of(case: Case, answer: Answer) -> Self {
        Self {
            case: case.number,
            class: case.class,
            reader: case.reader,
            sent: case.pieces,
            messages: case.messages,
            stop: case.stop,
            answer,
            seen: Vec::new(),
            decided: Vec::new(),
            logged: Vec::new(),
        }
    }
}
