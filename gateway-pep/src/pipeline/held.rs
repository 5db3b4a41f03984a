//! One stream: what it was permitted as, what it stands on now, and how whoever carries it learns that it ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use service_kit::UnixTime;

use crate::cache::verdict::Verdict;
use crate::cache::{Epochs, Moment, Source};
use crate::identity::Identity;
use crate::names::RequestId;
use crate::pipeline::authenticate::shown::Shown;
use crate::pipeline::authorize::permitted::Permitted;
use crate::streams::{Found, Times};
use crate::withdrawn::Withdrawn;
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// Something that lasts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) permitted: Permitted,
    pub(crate) connection: Rc<Connection>,
    /// Of the request that began it.
    pub(crate) id: RequestId,
    /// When that was.
    pub(crate) began: UnixTime,
    standing: RefCell<Standing>,
    state: Cell<State>,
    /// Which decision has ended it.
    decision: RefCell<Option<(Rc<Verdict>, Source)>>,
    waker: RefCell<Option<Waker>>,
    number: u64,
    worker: Rc<Worker>,
}

/// What a stream stands on.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) caller: Rc<Identity>,
    pub(crate) verdict: Rc<Verdict>,
    /// When that was asked for, and what was known to be void then.
    pub(crate) asked: UnixTime,
    pub(crate) epochs: Epochs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Stands,
    /// It waits to be asked about, or for the answer; since when nobody knows whether it stands.
    Due {
        since: UnixTime,
    },
    /// There was no answer.
    Later {
        since: UnixTime,
        at: UnixTime,
    },
    Withdrawn(Withdrawn),
}

/// After a question without an answer.
const RETRY: Duration = Duration::from_secs(1);

impl Standing {
    /// What was granted at a moment.
    pub(crate) fn of((caller, verdict): (&Rc<Identity>, &Rc<Verdict>), moment: &Moment) -> Self {
        Self {
            caller: caller.clone(),
            verdict: verdict.clone(),
            asked: moment.unix,
            epochs: moment.epochs,
        }
    }

    /// Whether it is good at a later moment, as far as the worker has heard. `shown`: what the caller is known by.
    pub(crate) fn holds(
        &self,
        (worker, moment): (&Worker, &Moment),
        shown: Option<&Shown>,
        times: Times,
    ) -> bool {
        let now = moment.unix;
        if self.epochs != moment.epochs
            || worker.validity.borrow().is_revoked(&self.caller.names)
            || !shown.is_none_or(|shown| shown.stands(worker))
        {
            return false;
        }
        // SECURITY: the token's own end is not stretched by anything.
        if now >= self.caller.vouched.ends {
            return false;
        }
        let until = self.caller.until.min(self.verdict.until);
        let until = until.max(self.asked.plus(times.least));
        now < until && (moment.trusted || now < self.asked.plus(times.unheard))
    }
}

impl Held {
    /// Enters what lasts among the streams of its worker.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        connection: Rc<Connection>,
        (permitted, standing): (Permitted, Standing),
        id: RequestId,
    ) -> Rc<Self> {
        let worker = worker.clone();
        worker.core.metrics.streams.inc();
        worker.streams.enter(&worker.moment(), |number| Self {
            permitted,
            connection,
            id,
            began: standing.asked,
            standing: RefCell::new(standing),
            state: Cell::new(State::Stands),
            decision: RefCell::default(),
            waker: RefCell::default(),
            number,
            worker: worker.clone(),
        })
    }

    /// Among whose streams it is.
    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Why it ends, if it does; whoever asks before that is woken then.
    pub(crate) fn withdrawn(&self, context: &Context<'_>) -> Option<Withdrawn> {
        if let Some(withdrawn) = self.ended() {
            return Some(withdrawn);
        }
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(known) if known.will_wake(context.waker()) => {}
            other => *other = Some(context.waker().clone()),
        }
        None
    }

    /// The decision that has ended it.
    pub(crate) fn ended_by(&self) -> Option<(Rc<Verdict>, Source)> {
        self.decision.borrow().clone()
    }

    /// Why it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Withdrawn> {
        match self.state.get() {
            State::Withdrawn(withdrawn) => Some(withdrawn),
            State::Stands | State::Due { .. } | State::Later { .. } => None,
        }
    }

    /// Whether it could go on now without a question.
    pub(crate) fn stands(&self, now: &Moment) -> bool {
        self.state.get() == State::Stands && self.holds(now, Times::DEFAULT)
    }

    pub(crate) fn stand(&self, standing: Standing) {
        if !matches!(self.state.get(), State::Withdrawn(_)) {
            self.standing.replace(standing);
            self.state.set(State::Stands);
        }
    }

    /// Ends it.
    pub(crate) fn withdraw(&self, withdrawn: Withdrawn, decision: Option<(Rc<Verdict>, Source)>) {
        if matches!(self.state.get(), State::Withdrawn(_)) {
            return;
        }
        self.state.set(State::Withdrawn(withdrawn));
        self.decision.replace(decision);
        self.worker.core.metrics.stream_ended(withdrawn);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn try_later(&self, now: UnixTime) {
        if let State::Due { since } = self.state.get() {
            let at = now.plus(RETRY);
            self.state.set(State::Later { since, at });
        }
    }

    pub(super) fn is_due(&self) -> bool {
        matches!(self.state.get(), State::Due { .. })
    }

    pub(super) fn look(&self, moment: &Moment, times: Times) -> Found {
        let now = moment.unix;
        let due = |since| {
            self.state.set(State::Due { since });
            Found::Due
        };
        match self.state.get() {
            State::Stands if self.holds(moment, times) => Found::Nothing,
            State::Stands => due(now),
            State::Due { since } | State::Later { since, .. }
                if now.since(since) >= times.grace =>
            {
                Found::Unanswered
            }
            State::Later { since, at } if now >= at => due(since),
            State::Due { .. } | State::Later { .. } | State::Withdrawn(_) => Found::Nothing,
        }
    }

    fn holds(&self, moment: &Moment, times: Times) -> bool {
        let standing = self.standing.borrow();
        standing.holds((&self.worker, moment), self.permitted.shown(), times)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.worker.core.metrics.streams.dec();
        self.worker.streams.leave(self.number);
    }
}
