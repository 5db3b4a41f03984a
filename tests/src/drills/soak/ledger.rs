//! What was out of order when. An answer may be another one than usual within such a window, and nowhere else.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Since the soak began.
pub type Moment = Duration;

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    FirstEndpoint,
    SecondEndpoint,
    Redis,
    Pdp,
    TokenService,
    SecondGateway,
}

/// From before something is broken until it is seen to be well again; `to` is none until then.
#[derive(Debug, Clone, Copy)]
struct Window {
    part: Part,
    from: Moment,
    to: Option<Moment>,
}

/// The policy that comes and goes: what holds at the end of a turn, and during it either may.
#[derive(Debug, Clone, Copy)]
struct Turn {
    is_on: bool,
    from: Moment,
    to: Option<Moment>,
}

#[derive(Debug)]
pub struct Ledger {
    begun: Instant,
    windows: Mutex<Vec<Window>>,
    turns: Mutex<Vec<Turn>>,
    notes: Mutex<Vec<(Moment, String)>>,
}

/// How long what is announced may take to every worker of every gateway that hears the event log.
pub const PROPAGATION: Duration = Duration::from_secs(1);

/// The same where a gateway may not hear it: `gateway.cache.max_event_lag_ms`, and that again for the way.
pub const LAG: Duration = Duration::from_millis(4_000);

impl Ledger {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            windows: Mutex::default(),
            turns: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    pub fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    /// Something that has happened, for whoever has to understand a failure.
    pub fn note(&self, text: String) {
        let now = self.now();
        self.notes.lock().expect("lock").push((now, text));
    }

    /// What had happened until then, the last few.
    pub fn before(&self, moment: Moment) -> Vec<String> {
        let notes = self.notes.lock().expect("lock");
        let until = notes.iter().filter(|(at, _)| *at <= moment);
        let mut last: Vec<_> = until.rev().take(12).collect();
        last.reverse();
        last.iter()
            .map(|(at, it)| format!("{at:.2?} {it}"))
            .collect()
    }

    pub fn open(&self, part: Part) -> usize {
        let from = self.now();
        let mut windows = self.windows.lock().expect("lock");
        windows.push(Window {
            part,
            from,
            to: None,
        });
        windows.len() - 1
    }

    /// A moment after this one: what was asked while it came back may be answered later.
    pub fn close(&self, window: usize, settle: Duration) -> Duration {
        let to = self.now() + settle;
        let mut windows = self.windows.lock().expect("lock");
        windows[window].to = Some(to);
        to - windows[window].from
    }

    /// What was out of order at some time between.
    pub fn down(&self, from: Moment, to: Moment) -> BTreeSet<Part> {
        let windows = self.windows.lock().expect("lock");
        let overlaps = |it: &&Window| it.from <= to && it.to.is_none_or(|end| end >= from);
        windows.iter().filter(overlaps).map(|it| it.part).collect()
    }

    /// For how long these were out of order at this time, the longest of those that were.
    pub fn longest(&self, parts: &[Part], from: Moment, to: Moment) -> Duration {
        let windows = self.windows.lock().expect("lock");
        let overlaps = |it: &&Window| it.from <= to && it.to.is_none_or(|end| end >= from);
        windows
            .iter()
            .filter(overlaps)
            .filter(|it| parts.contains(&it.part))
            .map(|it| it.to.unwrap_or(to).min(to).saturating_sub(it.from))
            .max()
            .unwrap_or_default()
    }

    /// By when something that was announced then is known everywhere.
    pub fn known_by(&self, announced: Moment, now: Moment) -> Moment {
        let is_heard = !self.down(announced, now).contains(&Part::Redis);
        announced + if is_heard { PROPAGATION } else { LAG }
    }

    pub fn begin_turn(&self, is_on: bool) -> usize {
        let from = self.now();
        let mut turns = self.turns.lock().expect("lock");
        turns.push(Turn {
            is_on,
            from,
            to: None,
        });
        turns.len() - 1
    }

    /// The decision point decides by it from here on.
    pub fn end_turn(&self, turn: usize) {
        let now = self.now();
        self.turns.lock().expect("lock")[turn].to = Some(now);
    }

    /// Whether the policy that comes and goes may have been there between, and whether it may not have been.
    pub fn switch(&self, from: Moment, to: Moment) -> (bool, bool) {
        let turns = self.turns.lock().expect("lock");
        let (mut on, mut off) = (false, false);
        let mut is_on = false;
        for (index, turn) in turns.iter().enumerate() {
            if turn.from > to {
                break;
            }
            // What held before, as long as somebody may not have heard of this one.
            let heard = turn.to.map(|end| self.known_by(end, to));
            if index > 0 && heard.is_none_or(|heard| heard >= from) {
                *(if is_on { &mut on } else { &mut off }) = true;
            }
            is_on = turn.is_on;
        }
        *(if is_on { &mut on } else { &mut off }) = true;
        (on, off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Duration::from_millis(millis)
    }

    fn ledger(turns: &[(bool, u64, Option<u64>)]) -> Ledger {
        let ledger = Ledger::new();
        let turns = turns.iter().map(|&(is_on, from, to)| Turn {
            is_on,
            from: at(from),
            to: to.map(at),
        });
        *ledger.turns.lock().expect("lock") = turns.collect();
        ledger
    }

    #[test]
    fn a_policy_is_in_doubt_while_it_comes_and_certain_afterwards() {
        let ledger = ledger(&[
            (true, 0, Some(0)),
            (false, 10_000, Some(10_200)),
            (true, 20_000, None),
        ]);
        assert_eq!(ledger.switch(at(9_000), at(9_001)), (true, false));
        assert_eq!(ledger.switch(at(9_000), at(10_001)), (true, true));
        assert_eq!(ledger.switch(at(11_100), at(11_101)), (true, true));
        assert_eq!(ledger.switch(at(11_300), at(11_301)), (false, true));
        assert_eq!(ledger.switch(at(90_000), at(90_001)), (true, true));
    }

    #[test]
    fn what_nobody_heard_takes_as_long_as_caches_are_trusted() {
        let ledger = ledger(&[(true, 0, Some(0)), (false, 10_000, Some(10_200))]);
        let window = Window {
            part: Part::Redis,
            from: at(10_100),
            to: Some(at(10_900)),
        };
        ledger.windows.lock().expect("lock").push(window);
        assert_eq!(ledger.switch(at(13_000), at(13_001)), (true, true));
        assert_eq!(ledger.switch(at(14_300), at(14_301)), (false, true));
    }
}
