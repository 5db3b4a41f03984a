//! What lasts: streams, uploads and tunnels of one worker, and whether what each was permitted by still holds.
//!
//! A stream is asked about again when its token or its decision has come to the end of its time, when either was
//! voided by an announcement, and while announcements are not heard. It ends when the answer is no, and when there
//! is none within the grace. However many one announcement voids, a bounded number of questions is under way; the
//! same question is asked once, as for requests.

mod held;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::pipeline::reauthorize::{Unknown, reauthorize};
use crate::withdrawn::Withdrawn;
use crate::worker::Worker;

use held::Found;
pub(crate) use held::{Held, Standing, Times};

/// The streams of one worker. Clones share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    held: RefCell<HashMap<u64, Weak<Held>>>,
    last: Cell<u64>,
    /// There is one more.
    begun: Notify,
    /// To be asked about, the first first.
    due: RefCell<VecDeque<Weak<Held>>>,
    queued: Notify,
}

/// At most so many looks a second: what is announced meanwhile is looked at together.
const PAUSE: Duration = Duration::from_millis(100);
/// Between looks, while nothing is announced.
const TICK: Duration = Duration::from_secs(1);

impl Streams {
    fn enter(&self, held: impl FnOnce(u64) -> Held) -> Rc<Held> {
        let number = self.0.last.get().wrapping_add(1);
        self.0.last.set(number);
        let held = Rc::new(held(number));
        let entry = Rc::downgrade(&held);
        self.0.held.borrow_mut().insert(number, entry);
        self.0.begun.notify_one();
        held
    }

    /// What was voided before a stream was one, nothing wakes us for.
    fn look_at_new(&self, worker: &Worker, held: &Rc<Held>) {
        if held.look(&worker.moment(), Times::DEFAULT) == Found::Due {
            self.0.due.borrow_mut().push_back(Rc::downgrade(held));
            self.0.queued.notify_waiters();
        }
    }

    fn leave(&self, number: u64) {
        self.0.held.borrow_mut().remove(&number);
    }

    /// Finds what has to be asked about, and what nobody could answer about for too long. False: there is
    /// nothing to look at.
    fn look(&self, worker: &Worker) -> bool {
        let moment = worker.moment();
        let times = Times {
            grace: worker.core.streams.grace,
            ..Times::DEFAULT
        };
        let held: Vec<Rc<Held>> = {
            let held = self.0.held.borrow();
            held.values().filter_map(Weak::upgrade).collect()
        };
        let is_any = !held.is_empty();
        let mut is_due = false;
        for held in held {
            match held.look(&moment, times) {
                Found::Nothing => {}
                Found::Due => {
                    is_due = true;
                    self.0.due.borrow_mut().push_back(Rc::downgrade(&held));
                }
                Found::Unanswered => held.withdraw(Withdrawn::Unanswered, None),
            }
        }
        if is_due {
            self.0.queued.notify_waiters();
        }
        is_any
    }

    /// One to be asked about.
    fn next(&self) -> Option<Rc<Held>> {
        let mut due = self.0.due.borrow_mut();
        while let Some(next) = due.pop_front() {
            if let Some(held) = next.upgrade().filter(|held| held.is_due()) {
                return Some(held);
            }
        }
        None
    }
}

/// Looks after the streams of a worker, as long as it lives.
pub(crate) async fn watch(worker: Rc<Worker>) {
    let at_once = worker.core.streams.questions;
    let asking = join_all((0..at_once).map(|_| ask(worker.clone())));
    tokio::join!(look(worker.clone()), asking);
}

async fn look(worker: Rc<Worker>) {
    let streams = worker.streams.clone();
    let feed = worker.core.feed.clone();
    loop {
        // Before the look: what is published after it was looked at wakes us.
        let mut news = pin!(feed.published());
        news.as_mut().enable();
        if streams.look(&worker) {
            tokio::time::sleep(PAUSE).await;
            let _ = tokio::time::timeout(TICK, news).await;
        } else {
            streams.0.begun.notified().await;
        }
    }
}

/// One question after the other.
async fn ask(worker: Rc<Worker>) {
    let streams = worker.streams.clone();
    loop {
        let Some(held) = streams.next() else {
            streams.0.queued.notified().await;
            continue;
        };
        let answer = reauthorize(&worker, &held).await;
        let counter = &worker.core.metrics.streams_asked;
        match answer {
            Ok(standing) => {
                counter.permit.inc();
                held.stand(standing);
            }
            Err(Unknown::No(withdrawn, decision)) => {
                counter.deny.inc();
                held.withdraw(withdrawn, decision);
            }
            Err(Unknown::Unanswered) => {
                counter.unknown.inc();
                held.try_later(worker.core.clock.now());
            }
        }
    }
}
