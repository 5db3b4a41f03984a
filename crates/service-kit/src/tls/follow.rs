//! Files that are looked at now and then: a change that holds is taken over, a broken one is told and the old one
//! stays.

use std::time::Duration;

use crate::{ConfigIssue, Tasks};

/// Files are compared this often.
pub(super) const FOLLOW: Duration = Duration::from_secs(2);

/// Until the tasks drain. `look` takes over what the files have become; true: they are others now.
pub(super) fn follow<L>(look: L, interval: Duration, tasks: &Tasks)
where
    L: Fn() -> Result<bool, ConfigIssue> + Clone + Send + 'static,
{
    let draining = tasks.draining();
    tasks.spawn(async move {
        let mut refused = None;
        loop {
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
            let looked = tokio::task::spawn_blocking(look.clone()).await;
            let problem = match looked {
                Ok(Ok(changed)) => {
                    if changed {
                        tracing::info!("TLS certificates changed");
                    }
                    None
                }
                Ok(Err(issue)) => Some(issue.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(problem) = &problem
                && refused.as_ref() != Some(problem)
            {
                tracing::error!(problem, "changed TLS files are refused; the old ones stay");
            }
            refused = problem;
        }
    });
}
