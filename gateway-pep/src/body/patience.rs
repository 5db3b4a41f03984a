//! How long is waited for what comes in pieces: a while for each, and a while for all that are late.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Gives up when nothing came for a while, and says when a body turns out to be long. The timer exists
/// only once something had to wait.
#[derive(Debug)]
pub(crate) struct Patience {
    pace: Pace,
    /// How much longer it may be waited for.
    left: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when nothing has come.
    waiting: Option<Instant>,
    length: Length,
}

/// How much of a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Nothing,
    /// What most bodies are.
    OnePiece,
    /// More, since then.
    Pieces(Instant),
    Long,
}

/// How long a body was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    NotLong,
    /// Said once of a body.
    Long,
    TooLong,
}

/// What takes longer than this is a stream: what it is permitted by is looked at while it lasts.
pub(crate) const LONG: Duration = Duration::from_secs(1);

/// How slow a client's body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// It is waited for so long, at a time and in all.
    pub(crate) idle: Duration,
    /// Bytes, each of which gives back a part of a second of that. 0: every piece gives back all of it.
    pub(crate) bytes_per_sec: u64,
}

impl Patience {
    pub(crate) fn new(pace: impl Into<Pace>) -> Self {
        let pace = pace.into();
        Self {
            pace,
            left: pace.idle,
            timer: None,
            waiting: None,
            length: Length::Nothing,
        }
    }

    /// Nothing is waited for.
    pub(crate) fn reset(&mut self) {
        self.rest(0);
    }

    /// A piece of so many bytes has come. True once, when the body turns out to be long.
    pub(crate) fn came(&mut self, bytes: u64) -> bool {
        self.rest(bytes);
        match self.length {
            Length::Nothing => self.length = Length::OnePiece,
            Length::OnePiece => self.length = Length::Pieces(Instant::now()),
            Length::Pieces(since) if since.elapsed() >= LONG => {
                self.length = Length::Long;
                return true;
            }
            Length::Pieces(_) | Length::Long => {}
        }
        false
    }

    /// So many bytes have come, or nothing is waited for any more.
    fn rest(&mut self, bytes: u64) {
        let waiting = self.waiting.take();
        // Most bodies are there when they are wanted.
        if waiting.is_none() && self.left == self.pace.idle {
            return;
        }
        if self.pace.bytes_per_sec == 0 {
            self.left = self.pace.idle;
            return;
        }
        let waited = waiting.map_or(Duration::ZERO, |since| since.elapsed());
        let left = self.left.saturating_sub(waited);
        self.left = left.saturating_add(self.pace.worth(bytes));
        self.left = self.left.min(self.pace.idle);
    }

    /// Nothing has come; whoever polls is woken when that has been so for too long.
    pub(crate) fn wait(&mut self, context: &mut Context<'_>) -> Waited {
        let is_new = self.waiting.is_none();
        let since = *self.waiting.get_or_insert_with(Instant::now);
        let first = match self.length {
            Length::Long => self.left,
            Length::Nothing | Length::OnePiece | Length::Pieces(_) => self.left.min(LONG),
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + first)));
        if is_new {
            timer.as_mut().reset(since + first);
        }
        if timer.as_mut().poll(context).is_pending() {
            return Waited::NotLong;
        }
        if self.length == Length::Long || self.left <= LONG {
            return Waited::TooLong;
        }
        self.length = Length::Long;
        timer.as_mut().reset(since + self.left);
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => Waited::TooLong,
            Poll::Pending => Waited::Long,
        }
    }
}

impl Pace {
    /// The time that bytes give back.
    fn worth(self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * NANOS_PER_SEC / u128::from(self.bytes_per_sec.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl From<Duration> for Pace {
    /// Of what may come in pieces as small as it likes.
    fn from(idle: Duration) -> Self {
        Self {
            idle,
            bytes_per_sec: 0,
        }
    }
}

const NANOS_PER_SEC: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const PACE: Pace = Pace {
        idle: Duration::from_secs(10),
        bytes_per_sec: 100,
    };

    /// How long it is waited for something that never comes.
    async fn until_too_long(patience: &mut Patience) -> Duration {
        let begun = Instant::now();
        poll_fn(|context| match patience.wait(context) {
            Waited::TooLong => Poll::Ready(()),
            Waited::Long | Waited::NotLong => Poll::Pending,
        })
        .await;
        begun.elapsed()
    }

    /// Something comes so late.
    async fn late(patience: &mut Patience, by: Duration, bytes: u64) {
        let waiting = poll_fn(|context| match patience.wait(context) {
            Waited::TooLong => Poll::Ready(()),
            Waited::Long | Waited::NotLong => Poll::Pending,
        });
        assert!(tokio::time::timeout(by, waiting).await.is_err());
        patience.came(bytes);
    }

    fn about(duration: Duration, secs: u64) -> bool {
        duration.abs_diff(Duration::from_secs(secs)) < Duration::from_millis(20)
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_late_gives_back_what_its_bytes_are_worth() {
        let mut patience = Patience::new(PACE);
        late(&mut patience, Duration::from_secs(4), 100).await;
        late(&mut patience, Duration::from_secs(4), 1).await;
        let left = until_too_long(&mut patience).await;
        assert!(about(left, 3), "{left:?}");
        // And no more than there was; time in which nobody waits does not count.
        patience.came(1_000_000);
        advance(Duration::from_mins(1)).await;
        patience.reset();
        let left = until_too_long(&mut patience).await;
        assert!(about(left, 10), "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_each_wait_counts_for_itself() {
        let mut patience = Patience::new(PACE.idle);
        for _ in 0..10 {
            late(&mut patience, Duration::from_secs(9), 0).await;
        }
        let left = until_too_long(&mut patience).await;
        assert!(about(left, 10), "{left:?}");
    }
}
