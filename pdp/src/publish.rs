//! Keeps what is handed out up to date: the document of each snapshot is made once, beside the threads that
//! answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::Pdp;
use crate::handout::Written;
use crate::pdp::Inner;

impl Pdp {
    /// Begins to hand out snapshots, where that is configured. Entities that were written must be there
    /// already.
    pub fn hand_out(&self) {
        let inner = Arc::clone(&self.0);
        let draining = inner.tasks.draining();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = inner.write_documents() => {}
            }
        });
    }
}

impl Inner {
    async fn write_documents(self: &Arc<Self>) {
        let Some(handout) = &self.handout else {
            return;
        };
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let began = Instant::now();
            let inner = Arc::clone(self);
            let since = self.clock.now().as_millis();
            let writing = tokio::task::spawn_blocking(move || {
                let snapshot = inner.snapshot.load_full();
                Written::of(&snapshot, &inner.reading, since)
            });
            handout.hand(writing.await.ok().flatten());
            if changes.changed().await.is_err() {
                return;
            }
            // Where entities change all the time, half of a core is enough for this.
            tokio::time::sleep(began.elapsed().min(LONGEST_PAUSE)).await;
        }
    }
}

const LONGEST_PAUSE: Duration = Duration::from_secs(1);
