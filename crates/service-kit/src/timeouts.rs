//! The timeouts of one connection, by one timer that goes on.
//!
//! A connection begins a timeout with every message and drops it when the message's head is there. Entering each into
//! the runtime's timers and taking it out again costs as much as reading the head does. So there is one entry, which
//! stays: it wakes the connection at the earliest deadline that it has had, and is moved on only then.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// For one connection: its timeouts are waited for by one task at a time, and there is seldom more than one.
#[derive(Debug, Clone, Default)]
pub struct Timeouts(Arc<Mutex<Option<Entry>>>);

/// What the runtime knows of.
type Entry = Pin<Box<tokio::time::Sleep>>;

/// One that has been begun.
#[derive(Debug)]
struct Timeout {
    entry: Timeouts,
    deadline: tokio::time::Instant,
}

impl Timeouts {
    /// What the future comes to. None: it has taken until the deadline.
    pub async fn until<F>(&self, deadline: tokio::time::Instant, mut future: F) -> Option<F::Output>
    where
        F: Future + Unpin,
    {
        let entry = self.clone();
        let mut timeout = Timeout { entry, deadline };
        poll_fn(|context| {
            if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
                return Poll::Ready(Some(output));
            }
            Pin::new(&mut timeout).poll(context).map(|()| None)
        })
        .await
    }
}

impl Timer for Timeouts {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Timeout {
            entry: self.clone(),
            deadline: deadline.into(),
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

impl Sleep for Timeout {}

impl Future for Timeout {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let mut entry = self.entry.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entry.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if entry.deadline() > deadline {
            entry.as_mut().reset(deadline);
        }
        while entry.as_mut().poll(context).is_ready() {
            if entry.deadline() >= deadline {
                return Poll::Ready(());
            }
            // It was that of a message before.
            entry.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_ends_at_its_own_deadline() {
        let (timeouts, begun) = (Timeouts::default(), tokio::time::Instant::now());
        timeouts.sleep(3 * SECOND).await;
        assert_eq!(begun.elapsed().as_secs(), 3);
        // One that is dropped leaves its deadline behind, which is not that of the next.
        let mut dropped = timeouts.sleep(2 * SECOND);
        assert!(polled(&mut dropped).await.is_pending());
        drop(dropped);
        timeouts.sleep(5 * SECOND).await;
        assert_eq!(begun.elapsed().as_secs(), 8);
        // A shorter one does not wait for the longer one before it, and nor does the longer one end with it.
        let (mut long, mut short) = (timeouts.sleep(9 * SECOND), timeouts.sleep(SECOND));
        assert!(polled(&mut long).await.is_pending());
        short.as_mut().await;
        assert_eq!(begun.elapsed().as_secs(), 9);
        assert!(polled(&mut short).await.is_ready());
        long.as_mut().await;
        assert_eq!(begun.elapsed().as_secs(), 17);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_waited_for_has_until_the_deadline_and_the_next_has_its_own() {
        let timeouts = Timeouts::default();
        for (takes, within, comes) in [(1, 2, true), (3, 2, false), (9, 10, true), (1, 1, true)] {
            let begun = tokio::time::Instant::now();
            let working = pin!(tokio::time::sleep(takes * SECOND));
            let came = timeouts.until(begun + within * SECOND, working).await;
            assert_eq!(came.is_some(), comes, "{takes} {within}");
            assert_eq!(begun.elapsed().as_secs(), u64::from(takes.min(within)));
        }
    }

    async fn polled(sleep: &mut Pin<Box<dyn Sleep>>) -> Poll<()> {
        poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await
    }
}
