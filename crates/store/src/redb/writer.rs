//! The one thread that writes. Whoever is waiting when it turns round shares the next
//! transaction and its one fsync; nobody is answered before that.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use redb::Database;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::tables::{Tables, WallClock};
use crate::{Batch, Commit, StoreError};

/// The door to the thread. Dropping it finishes what was asked and joins the thread.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
pub(super) struct Work {
    pub(super) database: Arc<Database>,
    /// Named in errors.
    pub(super) file: String,
    pub(super) clock: WallClock,
    pub(super) appended: watch::Sender<()>,
    pub(super) max_events: u64,
}

struct Job {
    ask: Ask,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

enum Ask {
    Commit(Batch),
    Take(String),
    Ping,
}

#[derive(Debug)]
enum Outcome {
    Commit(Commit),
    Taken(Option<Bytes>),
    Pong,
}

impl Writer {
    pub(super) fn start(work: Work) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(MOST_WAITING);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work.run(&waiting))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        match self.ask(Ask::Commit(batch)).await? {
            Outcome::Commit(commit) => Ok(commit),
            other @ (Outcome::Taken(_) | Outcome::Pong) => Err(mixed_up(&other)),
        }
    }

    pub(super) async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.ask(Ask::Take(key.to_owned())).await? {
            Outcome::Taken(value) => Ok(value),
            other @ (Outcome::Commit(_) | Outcome::Pong) => Err(mixed_up(&other)),
        }
    }

    /// Through the thread and the file's write lock, without writing.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.ask(Ask::Ping).await.map(drop)
    }

    async fn ask(&self, ask: Ask) -> Result<Outcome, StoreError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::Unavailable(None))?;
        jobs.try_send(Job { ask, answer }).map_err(|error| {
            StoreError::Unavailable(Some(match error {
                TrySendError::Full(_) => "too many writes are waiting".into(),
                TrySendError::Disconnected(_) => "the writing thread is gone".into(),
            }))
        })?;
        answered
            .await
            .map_err(|_| StoreError::Unavailable(Some("the writing thread is gone".into())))?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It ends after the group under way. A thread that panicked said so already.
            drop(thread.join());
        }
    }
}

impl Work {
    fn run(&self, jobs: &Receiver<Job>) {
        let mut next_sweep = Instant::now();
        loop {
            let idle = next_sweep.saturating_duration_since(Instant::now());
            match jobs.recv_timeout(idle) {
                Ok(first) => self.write(gather(first, jobs)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next_sweep {
                next_sweep = Instant::now() + self.sweep();
            }
        }
    }

    fn write(&self, group: Vec<Job>) {
        match self.transact(&group) {
            Ok(outcomes) => {
                let appended = group.iter().zip(&outcomes).any(|(job, outcome)| {
                    matches!(&job.ask, Ask::Commit(batch) if batch.appends())
                        && matches!(outcome, Outcome::Commit(Commit::Applied))
                });
                if appended {
                    self.appended.send_replace(());
                }
                for (job, outcome) in group.into_iter().zip(outcomes) {
                    // Whoever no longer waits has given up on knowing.
                    drop(job.answer.send(Ok(outcome)));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for job in group {
                    drop(job.answer.send(Err(self.failed(&error))));
                }
            }
        }
    }

    /// One durable transaction for the whole group; none where nothing has to be written.
    fn transact(&self, group: &[Job]) -> Result<Vec<Outcome>, redb::Error> {
        let mut txn = self.database.begin_write()?;
        // SECURITY: two phases keep a crash from leaving half a transaction that checks out;
        // values are partly chosen by callers, and the checksum is not cryptographic.
        txn.set_two_phase_commit(true);
        let mut outcomes = Vec::with_capacity(group.len());
        let mut writes = false;
        {
            let mut tables = Tables::open(&txn, (self.clock)())?;
            for job in group {
                let outcome = match &job.ask {
                    Ask::Commit(batch) => Outcome::Commit(tables.apply(batch, self.max_events)?),
                    Ask::Take(key) => Outcome::Taken(tables.take(key)?),
                    Ask::Ping => Outcome::Pong,
                };
                writes |= matches!(
                    outcome,
                    Outcome::Commit(Commit::Applied) | Outcome::Taken(Some(_))
                );
                outcomes.push(outcome);
            }
        }
        if writes {
            txn.commit()?;
        } else {
            txn.abort()?;
        }
        Ok(outcomes)
    }

    /// Collects some garbage; says when to come again.
    fn sweep(&self) -> Duration {
        let swept = || -> Result<usize, redb::Error> {
            let txn = self.database.begin_write()?;
            let found = Tables::open(&txn, (self.clock)())?.sweep(SWEEP_AT_ONCE)?;
            if found == 0 {
                txn.abort()?;
            } else {
                txn.commit()?;
            }
            Ok(found)
        };
        match swept() {
            Ok(SWEEP_AT_ONCE..) => SWEEP_AGAIN,
            Ok(_) => SWEEP_EVERY,
            Err(error) => {
                tracing::warn!(file = %self.file, %error, "cannot collect expired records");
                SWEEP_EVERY
            }
        }
    }

    fn failed(&self, error: &Arc<redb::Error>) -> StoreError {
        StoreError::Internal {
            message: format!("cannot write the file `{}`", self.file),
            source: Some(Box::new(Arc::clone(error))),
        }
    }
}

/// Whoever is waiting right now. Waiting for more would only make the first wait longer: the
/// next group fills while this one is being written.
fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut group = vec![first];
    while group.len() < MOST_IN_A_GROUP
        && let Ok(job) = jobs.try_recv()
    {
        group.push(job);
    }
    group
}

fn mixed_up(outcome: &Outcome) -> StoreError {
    StoreError::Internal {
        message: format!("the writing thread answered another question: {outcome:?}"),
        source: None,
    }
}

const MOST_WAITING: usize = 8192;
const MOST_IN_A_GROUP: usize = 1024;
const SWEEP_AT_ONCE: usize = 1000;
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const SWEEP_AGAIN: Duration = Duration::from_millis(200);
