//! The tasks that tell: one for each receiver, and one that wakes them when there is something new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use service_kit::Tasks;
use store::{EventPage, Position};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::outbox::{Next, deliver};
use super::{LOG, is_heard};
use crate::core::Core;
use crate::error::Trouble;

/// The log is followed for so long before it is asked who there is to tell.
const ROUND: Duration = Duration::from_secs(1);

/// After an outage, before the store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells whoever there is to tell, until the tasks drain.
pub(crate) fn start(core: Arc<Core>, tasks: &Tasks) {
    let all = tasks.clone();
    tasks.spawn(async move {
        let draining = all.draining();
        draining.run_until_cancelled(keep_telling(core, &all)).await;
    });
}

async fn keep_telling(core: Arc<Core>, tasks: &Tasks) {
    let something = watch::Sender::new(());
    let mut running: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
    let mut seen = None;
    loop {
        running.retain(|_, task| !task.is_finished());
        let registry = core.registry();
        for receiver in &registry.event_receivers {
            running.entry(receiver.id.clone()).or_insert_with(|| {
                let worker = work(
                    core.clone(),
                    receiver.id.clone(),
                    something.subscribe(),
                    tasks.clone(),
                );
                tasks.spawn(worker)
            });
        }
        if !is_heard(&registry) {
            tokio::time::sleep(ROUND).await;
            continue;
        }
        match listen(&core, &mut seen).await {
            Ok(true) => something.send_replace(()),
            Ok(false) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Whether something new came within a round.
async fn listen(core: &Core, seen: &mut Option<Position>) -> Result<bool, Trouble> {
    let after = match seen {
        Some(position) => position.clone(),
        None => core.store.tail(LOG).await?,
    };
    let page = core.store.follow(LOG, &after, ROUND).await?;
    let is_new = !page.is_empty();
    let (EventPage::Events { next, .. } | EventPage::Gap { next }) = page;
    *seen = Some(next);
    Ok(is_new)
}

/// Tells one receiver, as long as there is such a one.
async fn work(core: Arc<Core>, name: String, mut heard: watch::Receiver<()>, tasks: Tasks) {
    let draining = tasks.draining();
    while !draining.is_cancelled() {
        // Before anything is read: what comes meanwhile is heard.
        heard.borrow_and_update();
        let registry = core.registry();
        let Some(receiver) = registry.event_receiver(&name) else {
            return;
        };
        let wait = match deliver(&core, receiver).await {
            Ok(Next::Now) => continue,
            Ok(Next::After(wait)) => wait,
            Err(trouble) => {
                tracing::warn!(receiver = name, error = trouble.chain(), "nobody is told");
                PAUSE
            }
        };
        tokio::select! {
            () = draining.cancelled() => {}
            _ = heard.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
