//! What goes on for a moment after everybody has left it, to say its last words, and no longer.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long what has been left may still write.
const PARTING: Duration = Duration::from_secs(1);

/// Ends tasks some time after it was left.
#[derive(Debug, Clone)]
pub(crate) struct Parting(CancellationToken);

impl Parting {
    /// It is left when the guard is dropped.
    pub(crate) fn new() -> (DropGuard, Self) {
        let (left, ended) = (CancellationToken::new(), CancellationToken::new());
        let guard = left.clone().drop_guard();
        let end = ended.clone();
        tokio::task::spawn_local(async move {
            left.cancelled().await;
            sleep(PARTING).await;
            end.cancel();
        });
        (guard, Self(ended))
    }

    /// Runs it on this thread until then.
    pub(crate) fn run(&self, task: impl Future<Output = ()> + 'static) {
        let task = self.0.clone().run_until_cancelled_owned(task);
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_left_has_a_moment_and_no_more() {
        let tasks = LocalSet::new();
        tasks
            .run_until(async {
                let (guard, parting) = Parting::new();
                let alive = Rc::new(());
                let held = alive.clone();
                parting.run(async move {
                    std::future::pending::<()>().await;
                    drop(held);
                });
                sleep(PARTING * 10).await;
                assert_eq!(Rc::strong_count(&alive), 2);
                drop(guard);
                sleep(PARTING / 2).await;
                assert_eq!(Rc::strong_count(&alive), 2);
                sleep(PARTING).await;
                assert_eq!(Rc::strong_count(&alive), 1);
            })
            .await;
    }
}
