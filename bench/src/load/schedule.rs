//! Whose turn it is when: connections that are free get the requests that are due.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// When requests are due. Without a rate, whenever a connection is free.
#[derive(Debug)]
pub(super) struct Schedule {
    rate: Option<f64>,
    length: Duration,
    begun: Cell<Instant>,
    /// Turns that were taken.
    taken: Cell<usize>,
    /// Free connections, the longest first.
    free: RefCell<VecDeque<oneshot::Sender<Turn>>>,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) number: usize,
    pub(super) due: Instant,
}

impl Schedule {
    pub(super) fn new(rate: Option<f64>, length: Duration) -> Self {
        Self {
            rate,
            length,
            begun: Cell::new(Instant::now()),
            taken: Cell::new(0),
            free: RefCell::default(),
        }
    }

    /// Time counts from now.
    pub(super) fn begin(&self) {
        self.begun.set(Instant::now());
    }

    /// The next turn, or none when all is done. At a constant rate it may have been due for some
    /// time: then it is late because every connection was busy.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let next = self.next()?;
        if next.due <= Instant::now() {
            return Some(self.take(next));
        }
        let (sender, receiver) = oneshot::channel();
        self.free.borrow_mut().push_back(sender);
        // Nobody will send when the last turn has been handed out.
        receiver.await.ok()
    }

    /// Gives free connections their turns, at the moment. Does not sleep for it: a timer's
    /// milliseconds would be counted as the server's.
    pub(super) async fn hand_out(&self) {
        while let Some(next) = self.next() {
            if next.due <= Instant::now()
                && let Some(connection) = self.free.borrow_mut().pop_front()
            {
                // One that does not listen any more has failed, which ends the run.
                let _ = connection.send(self.take(next));
                continue;
            }
            tokio::task::yield_now().await;
        }
        self.free.borrow_mut().clear();
    }

    fn next(&self) -> Option<Turn> {
        let (number, begun) = (self.taken.get(), self.begun.get());
        let due = match self.rate {
            None => Instant::now(),
            Some(rate) => begun + Duration::from_secs_f64(as_f64(number) / rate),
        };
        (due < begun + self.length).then_some(Turn { number, due })
    }

    fn take(&self, turn: Turn) -> Turn {
        self.taken.set(turn.number + 1);
        turn
    }
}

#[expect(clippy::cast_precision_loss, reason = "requests of some seconds")]
fn as_f64(number: usize) -> f64 {
    number as f64
}
