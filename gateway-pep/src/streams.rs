//! What lasts: streams, uploads and tunnels of one worker, and which of them have to be asked about again.
//!
//! A stream is asked about again when its token or its decision has come to the end of its time, when either was
//! voided by an announcement, and while announcements are not heard. It ends when the answer is no, and when there
//! is none within the grace. However many one announcement voids, a bounded number of questions is under way; the
//! same question is asked once, as for requests.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::cache::Moment;
use crate::core::StreamLimits;
use crate::events::Feed;

/// Something that lasts, and may have to end before its end.
pub(crate) trait Lasting: fmt::Debug {
    /// Whether it has to be asked about, at a moment.
    fn look(&self, moment: &Moment, times: Times) -> Found;

    /// Whether it waits to be asked about.
    fn is_due(&self) -> bool;

    /// Asks about it. It stands, ends, or waits, as the answer says.
    fn ask(self: Rc<Self>) -> Pin<Box<dyn Future<Output = ()>>>;

    /// Nobody could answer within the grace: it ends.
    fn give_up(&self);
}

/// What a look at a stream has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Due,
    /// For longer than the grace.
    Unanswered,
}

/// How long what takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Nobody is asked about one stream more often, but where something was voided.
    pub(crate) least: Duration,
    /// While announcements are not heard, each stream is asked about so often.
    pub(crate) unheard: Duration,
    /// A stream goes on for so long while nobody can say whether it may.
    pub(crate) grace: Duration,
}

/// The streams of one worker. Clones share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    held: RefCell<HashMap<u64, Weak<dyn Lasting>>>,
    last: Cell<u64>,
    /// There is one more.
    begun: Notify,
    /// To be asked about, the first first.
    due: RefCell<VecDeque<Weak<dyn Lasting>>>,
    queued: Notify,
}

/// At most so many looks a second: what is announced meanwhile is looked at together.
const PAUSE: Duration = Duration::from_millis(100);
/// Between looks, while nothing is announced.
const TICK: Duration = Duration::from_secs(1);

impl Times {
    pub(crate) const DEFAULT: Self = Self {
        least: Duration::from_secs(1),
        unheard: Duration::from_secs(10),
        grace: Duration::ZERO,
    };
}

impl Streams {
    /// Enters one, which is made with its number. It leaves when it ends: see [`Streams::leave`].
    pub(crate) fn enter<L: Lasting + 'static>(
        &self,
        moment: &Moment,
        lasting: impl FnOnce(u64) -> L,
    ) -> Rc<L> {
        let number = self.0.last.get().wrapping_add(1);
        self.0.last.set(number);
        let held = Rc::new(lasting(number));
        let entry: Weak<L> = Rc::downgrade(&held);
        self.0.held.borrow_mut().insert(number, entry.clone());
        self.0.begun.notify_one();
        // What was voided before it was one, nothing wakes us for.
        if held.look(moment, Times::DEFAULT) == Found::Due {
            self.0.due.borrow_mut().push_back(entry);
            self.0.queued.notify_waiters();
        }
        held
    }

    pub(crate) fn leave(&self, number: u64) {
        self.0.held.borrow_mut().remove(&number);
    }

    /// Finds what has to be asked about, and what nobody could answer about for too long. False: there is
    /// nothing to look at.
    fn look(&self, moment: &Moment, times: Times) -> bool {
        let held: Vec<Rc<dyn Lasting>> = {
            let held = self.0.held.borrow();
            held.values().filter_map(Weak::upgrade).collect()
        };
        let is_any = !held.is_empty();
        let mut is_due = false;
        for held in held {
            match held.look(moment, times) {
                Found::Nothing => {}
                Found::Due => {
                    is_due = true;
                    self.0.due.borrow_mut().push_back(Rc::downgrade(&held));
                }
                Found::Unanswered => held.give_up(),
            }
        }
        if is_due {
            self.0.queued.notify_waiters();
        }
        is_any
    }

    /// One to be asked about.
    fn next(&self) -> Option<Rc<dyn Lasting>> {
        let mut due = self.0.due.borrow_mut();
        while let Some(next) = due.pop_front() {
            if let Some(held) = next.upgrade().filter(|held| held.is_due()) {
                return Some(held);
            }
        }
        None
    }
}

/// Looks after the streams of a worker, as long as it lives. `moment`: its present.
pub(crate) async fn watch(
    streams: Streams,
    feed: Arc<Feed>,
    limits: StreamLimits,
    moment: impl Fn() -> Moment,
) {
    let asking = join_all((0..limits.questions).map(|_| ask(streams.clone())));
    tokio::join!(look(streams, feed, limits, moment), asking);
}

async fn look(
    streams: Streams,
    feed: Arc<Feed>,
    limits: StreamLimits,
    moment: impl Fn() -> Moment,
) {
    let times = Times {
        grace: limits.grace,
        ..Times::DEFAULT
    };
    loop {
        // Before the look: what is published after it was looked at wakes us.
        let mut news = pin!(feed.published());
        news.as_mut().enable();
        if streams.look(&moment(), times) {
            tokio::time::sleep(PAUSE).await;
            let _ = tokio::time::timeout(TICK, news).await;
        } else {
            streams.0.begun.notified().await;
        }
    }
}

/// One question after the other.
async fn ask(streams: Streams) {
    loop {
        match streams.next() {
            Some(held) => held.ask().await,
            None => streams.0.queued.notified().await,
        }
    }
}
