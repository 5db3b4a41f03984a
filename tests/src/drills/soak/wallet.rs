//! The tokens of the soak, and from when on each of them is worth nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ledger::{Ledger, Moment};
use crate::drills::random::Random;

/// How long tokens live, as the token service is configured.
pub const LIFE: Duration = Duration::from_secs(240);

/// How far a clock that knows seconds alone may be from ours, and what gateways allow for clocks that differ.
const SKEW: Duration = Duration::from_secs(4);

/// Those that are worth nothing are tried for a while; so many are kept.
const OLD: usize = 200;

#[derive(Debug)]
pub struct Token {
    pub text: String,
    /// Whose it is, as policies and upstreams know them.
    pub subject: String,
    pub born: Moment,
    /// Milliseconds since the beginning: it may be dead from then on, and is dead for sure from then on.
    may_be_dead: AtomicU64,
    is_dead: AtomicU64,
}

/// What a token is worth in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    Live,
    Dead,
    /// Its end came meanwhile, or not everybody has heard of it.
    Either,
}

impl Token {
    /// Asked for and got then.
    pub fn new(text: String, subject: &str, asked: Moment, got: Moment) -> Arc<Self> {
        Arc::new(Self {
            text,
            subject: subject.to_owned(),
            born: got,
            may_be_dead: AtomicU64::new(millis((asked + LIFE).saturating_sub(SKEW))),
            is_dead: AtomicU64::new(millis(got + LIFE + SKEW)),
        })
    }

    /// Somebody begins to take it back.
    pub fn may_die(&self, now: Moment) {
        self.may_be_dead.fetch_min(millis(now), Ordering::SeqCst);
    }

    /// That it was taken back has been answered.
    pub fn dies(&self, now: Moment) {
        self.is_dead.fetch_min(millis(now) + 1, Ordering::SeqCst);
    }

    /// For a request that was sent and answered then.
    pub fn worth(&self, ledger: &Ledger, sent: Moment, answered: Moment) -> Worth {
        if answered < Duration::from_millis(self.may_be_dead.load(Ordering::SeqCst)) {
            return Worth::Live;
        }
        if sent > ledger.known_by(self.dead_at(), sent).max(self.dead_at()) {
            return Worth::Dead;
        }
        Worth::Either
    }

    pub fn dead_at(&self) -> Moment {
        Duration::from_millis(self.is_dead.load(Ordering::SeqCst))
    }

    /// For whoever has to understand a failure; the text is worth nothing beyond the soak's own loopback.
    pub fn story(&self) -> String {
        let may = Duration::from_millis(self.may_be_dead.load(Ordering::SeqCst));
        format!(
            "token {} of {}, born at {:.2?}, maybe dead from {may:.2?}, dead from {:.2?}",
            self.text,
            self.subject,
            self.born,
            self.dead_at()
        )
    }
}

fn millis(moment: Moment) -> u64 {
    moment.as_millis() as u64
}

/// Those in use.
#[derive(Debug, Default)]
pub struct Wallet {
    people: Mutex<BTreeMap<&'static str, Arc<Token>>>,
    programs: Mutex<Vec<Arc<Token>>>,
    old: Mutex<VecDeque<Arc<Token>>>,
}

impl Wallet {
    /// Of a person; the one before is an old one then.
    pub fn keep(&self, person: &'static str, token: Arc<Token>) {
        let before = self.people.lock().expect("lock").insert(person, token);
        if let Some(before) = before {
            self.put_away(before);
        }
    }

    pub fn keep_program(&self, token: Arc<Token>) {
        self.programs.lock().expect("lock").push(token);
    }

    pub fn person(&self, name: &str) -> Option<Arc<Token>> {
        self.people.lock().expect("lock").get(name).cloned()
    }

    pub fn programs(&self) -> Vec<Arc<Token>> {
        self.programs.lock().expect("lock").clone()
    }

    pub fn program(&self, random: &mut Random) -> Option<Arc<Token>> {
        let programs = self.programs.lock().expect("lock");
        programs.get(random.below(programs.len())).cloned()
    }

    pub fn old(&self, random: &mut Random) -> Option<Arc<Token>> {
        let old = self.old.lock().expect("lock");
        old.get(random.below(old.len())).cloned()
    }

    /// Everything of somebody's.
    pub fn of(&self, subject: &str) -> Vec<Arc<Token>> {
        let mut all: Vec<_> = self.old.lock().expect("lock").iter().cloned().collect();
        all.extend(self.people.lock().expect("lock").values().cloned());
        all.retain(|it| it.subject == subject);
        all
    }

    /// Out of use, whatever it is worth: it is tried on.
    pub fn retire(&self, token: &Arc<Token>) {
        let mut programs = self.programs.lock().expect("lock");
        programs.retain(|it| !Arc::ptr_eq(it, token));
        drop(programs);
        self.people
            .lock()
            .expect("lock")
            .retain(|_, it| !Arc::ptr_eq(it, token));
        self.put_away(token.clone());
    }

    /// What nobody can tell the worth of any more.
    pub fn forget(&self, subject: &str) {
        self.old
            .lock()
            .expect("lock")
            .retain(|it| it.subject != subject);
        self.people
            .lock()
            .expect("lock")
            .retain(|_, it| it.subject != subject);
    }

    fn put_away(&self, token: Arc<Token>) {
        let mut old = self.old.lock().expect("lock");
        if old.iter().any(|it| Arc::ptr_eq(it, &token)) {
            return;
        }
        old.push_back(token);
        if old.len() > OLD {
            old.pop_front();
        }
    }
}
