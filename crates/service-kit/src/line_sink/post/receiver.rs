//! The far end of a spool: posts batches, the oldest first.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::super::PostTarget;
use super::batches::Batches;
use crate::Secret;

/// At the end, the receiver gets this long to take what there is.
const LAST_CALL: Duration = Duration::from_secs(3);

/// A batch that is refused so often is given up: those behind it wait.
const MAX_REFUSALS: u32 = 5;

pub(super) const SHORT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct ReceiverEnd {
    pub(super) target: PostTarget,
    pub(super) bearer: Option<Bearer>,
    pub(super) batches: Arc<Batches>,
    pub(super) news: Receiver<()>,
    /// The batch that the receiver has refused last, and how often.
    pub(super) refused: Option<(PathBuf, u32)>,
    /// Before the next try; longer with each failure.
    pub(super) pause: Duration,
}

/// The token of a file, which is read again for each batch: it may be another by then.
pub(super) struct Bearer {
    path: PathBuf,
    /// What was read last. While there is nothing else, it is shown.
    secret: Secret,
}

impl Bearer {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            secret: Secret::bearer(path)?.unwrap_or_else(|| Secret::new("")),
        })
    }

    fn now(&mut self) -> &Secret {
        match Secret::bearer(&self.path) {
            Ok(Some(secret)) => self.secret = secret,
            // It is being written.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the token for posting log lines cannot be read again");
            }
        }
        &self.secret
    }
}

/// What became of a batch.
enum Outcome {
    Taken,
    /// Later it may be taken.
    Failed,
    /// As it is, it will not be taken.
    Refused(StatusCode),
    /// Somebody has deleted it.
    Gone,
}

impl ReceiverEnd {
    pub(super) fn run(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let client = reqwest::Client::builder()
            .timeout(Duration::from_millis(self.target.timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let (Ok(runtime), Ok(client)) = (runtime, client) else {
            tracing::error!("log lines cannot be posted: no client");
            return;
        };
        let mut end = None;
        loop {
            let all_taken = runtime.block_on(self.post_all(&client, end));
            if let Some(end) = end {
                if all_taken || Instant::now() >= end {
                    return;
                }
                runtime.block_on(tokio::time::sleep(Duration::from_millis(50)));
                continue;
            }
            let wait = if all_taken {
                Duration::from_secs(1)
            } else {
                self.pause = (self.pause * 2).min(Duration::from_secs(30));
                self.pause
            };
            match self.news.recv_timeout(wait) {
                Ok(()) => while self.news.try_recv().is_ok() {},
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => end = Some(Instant::now() + LAST_CALL),
            }
        }
    }

    /// False where something is left.
    async fn post_all(&mut self, client: &reqwest::Client, end: Option<Instant>) -> bool {
        while end.is_none_or(|end| Instant::now() < end) {
            let Some(path) = self.batches.take_up() else {
                return true;
            };
            let outcome = self.post(client, &path).await;
            if !self.settle(path, &outcome, end.is_some()) {
                self.batches.put_back();
                return false;
            }
        }
        false
    }

    async fn post(&mut self, client: &reqwest::Client, path: &Path) -> Outcome {
        let lines = match std::fs::read(path) {
            Ok(lines) => lines,
            Err(error) if error.kind() == ErrorKind::NotFound => return Outcome::Gone,
            Err(error) => {
                tracing::warn!(%error, "log lines that wait cannot be read");
                return Outcome::Failed;
            }
        };
        let mut request = client
            .post(&self.target.url)
            .header("content-type", "application/x-ndjson")
            .body(lines);
        if let Some(bearer) = &mut self.bearer {
            request = request.bearer_auth(bearer.now().reveal());
        }
        match request.send().await {
            Ok(answer) => outcome_of(answer.status()),
            Err(error) => {
                let error = error.without_url();
                tracing::warn!(%error, "log lines cannot be posted");
                Outcome::Failed
            }
        }
    }

    /// Whether it is done with.
    fn settle(&mut self, path: PathBuf, outcome: &Outcome, is_last_call: bool) -> bool {
        let done = match outcome {
            Outcome::Failed => return false,
            Outcome::Taken => {
                self.pause = SHORT_PAUSE;
                self.batches.sent()
            }
            Outcome::Gone => self.batches.lost().map(|lines| {
                tracing::error!(lines, "log lines that waited are gone");
            }),
            // The next run tries it again: here is no time to be patient.
            Outcome::Refused(_) if is_last_call => return false,
            Outcome::Refused(_) if !self.is_refused_for_good(path) => return false,
            Outcome::Refused(status) => self.batches.lost().map(|lines| {
                let status = status.as_u16();
                tracing::error!(status, lines, "log lines are refused for good and dropped");
            }),
        };
        if let Err(error) = &done {
            tracing::error!(%error, "log lines that are done with cannot be deleted");
        }
        done.is_ok()
    }

    fn is_refused_for_good(&mut self, path: PathBuf) -> bool {
        let before = match &self.refused {
            Some((last, times)) if *last == path => *times,
            _ => 0,
        };
        self.refused = Some((path, before + 1));
        before + 1 >= MAX_REFUSALS
    }
}

fn outcome_of(status: StatusCode) -> Outcome {
    if status.is_success() {
        return Outcome::Taken;
    }
    let number = status.as_u16();
    match status {
        // Who posts is refused, and not what is posted: that waits until somebody has put it right.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            tracing::error!(
                status = number,
                "log lines wait: the receiver does not take them from us; see `bearer_file`"
            );
            Outcome::Failed
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            tracing::warn!(status = number, "log lines are not taken now");
            Outcome::Failed
        }
        _ => {
            tracing::warn!(status = number, "log lines are not taken");
            if status.is_client_error() {
                Outcome::Refused(status)
            } else {
                Outcome::Failed
            }
        }
    }
}
