//! The verbs of a store over a socket between two processes of one user on one machine: for a process that is being
//! replaced, and whose file its successor has opened. It lasts as long as the first takes to end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::{Batch, Commit, Draw, EventPage, Position, Rate, ScanPage, Store, StoreError, Write};

/// Asks another process. When that is gone, nothing can be said.
#[derive(Debug, Clone)]
pub(crate) struct RelayStore {
    asked: mpsc::Sender<Asked>,
}

/// What is asked, and who waits for the answer.
type Asked = (Verb, oneshot::Sender<Answer>);

/// Bytes as they stand in a message.
#[derive(Debug, Serialize, Deserialize)]
struct Blob(Vec<u8>);

#[derive(Debug, Serialize, Deserialize)]
enum Verb {
    Get(String),
    Take(String),
    Commit(Vec<Written>),
    Scan {
        prefix: String,
        cursor: Option<String>,
        limit: usize,
    },
    Count(String, Duration),
    Draw {
        key: String,
        quota: u32,
        window: Duration,
        burst: u32,
    },
    Tail(String),
    Follow {
        log: String,
        after: String,
        wait: Duration,
    },
    Ping,
}

#[derive(Debug, Serialize, Deserialize)]
enum Written {
    Put(String, Blob, Option<Duration>),
    PutNew(String, Blob, Option<Duration>),
    Replace(String, Blob, Blob, Option<Duration>),
    Delete(String),
    Append(String, Blob),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Value(Option<Blob>),
    Committed(bool),
    Scanned(Vec<(String, Blob)>, Option<String>),
    Counted(u64),
    Drawn {
        is_allowed: bool,
        remaining: u32,
        retry: Duration,
        reset: Duration,
    },
    At(String),
    Events(Vec<Blob>, String),
    Gap(String),
    Pong,
    Failed(Failure),
}

#[derive(Debug, Serialize, Deserialize)]
enum Failure {
    Unavailable,
    Timeout,
    Refused(String),
    Internal(String),
}

/// So many questions wait to be sent.
const WAITING: usize = 1024;
/// A page of a scan is the longest message.
const MOST_BYTES: u32 = 512 << 20;

impl RelayStore {
    /// The store, and what carries its questions: to be run as long as it is used.
    pub(crate) fn over(stream: UnixStream) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (asked, waiting) = mpsc::channel(WAITING);
        (Self { asked }, carry(stream, waiting))
    }

    async fn ask(&self, verb: Verb) -> Result<Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        let gone = || StoreError::Unavailable(Some("the process that has the file is gone".into()));
        self.asked.send((verb, answer)).await.map_err(|_| gone())?;
        match answered.await.map_err(|_| gone())? {
            Answer::Failed(failure) => Err(failure.into()),
            answer => Ok(answer),
        }
    }
}

async fn carry(stream: UnixStream, mut asked: mpsc::Receiver<Asked>) {
    let (mut reader, mut writer) = stream.into_split();
    let waiting = Mutex::new(HashMap::new());
    let lock = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let sending = async {
        let mut last = 0_u64;
        while let Some((verb, answer)) = asked.recv().await {
            last = last.wrapping_add(1);
            lock().insert(last, answer);
            if write(&mut writer, &(last, verb)).await.is_err() {
                return;
            }
        }
    };
    let receiving = async {
        while let Ok((number, answer)) = read::<(u64, Answer)>(&mut reader).await {
            if let Some(waiting) = lock().remove(&number) {
                // Whoever asked may have gone.
                let _ = waiting.send(answer);
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
}

/// Answers what another process asks, until it is gone.
pub async fn serve_relay(store: Arc<dyn Store>, stream: UnixStream) {
    let (mut reader, mut writer) = stream.into_split();
    let (answers, mut answered) = mpsc::channel(WAITING);
    let answering = async {
        let mut tasks = JoinSet::new();
        while let Ok((number, verb)) = read::<(u64, Verb)>(&mut reader).await {
            while tasks.try_join_next().is_some() {}
            let (store, answers) = (store.clone(), answers.clone());
            tasks.spawn(async move {
                let answer = answer(&*store, verb).await;
                let answer = answer.unwrap_or_else(|error| Answer::Failed(error.into()));
                let _ = answers.send((number, answer)).await;
            });
        }
    };
    let sending = async {
        while let Some(answer) = answered.recv().await {
            if write(&mut writer, &answer).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = answering => {}
        () = sending => {}
    }
}

async fn answer(store: &dyn Store, verb: Verb) -> Result<Answer, StoreError> {
    Ok(match verb {
        Verb::Get(key) => Answer::Value(store.get(&key).await?.map(Blob::from)),
        Verb::Take(key) => Answer::Value(store.take(&key).await?.map(Blob::from)),
        Verb::Commit(written) => {
            let batch: Batch = written.into_iter().map(Write::from).collect();
            Answer::Committed(store.commit(batch).await?.is_applied())
        }
        Verb::Scan {
            prefix,
            cursor,
            limit,
        } => {
            let page = store.scan(&prefix, cursor.as_deref(), limit).await?;
            let entries = page.entries.into_iter();
            let entries = entries.map(|(key, value)| (key, value.into()));
            Answer::Scanned(entries.collect(), page.cursor)
        }
        Verb::Count(key, window) => Answer::Counted(store.count(&key, window).await?),
        Verb::Draw {
            key,
            quota,
            window,
            burst,
        } => {
            let rate = Rate {
                quota,
                window,
                burst,
            };
            let drawn = store.draw(&key, &rate).await?;
            Answer::Drawn {
                is_allowed: drawn.is_allowed,
                remaining: drawn.remaining,
                retry: drawn.retry,
                reset: drawn.reset,
            }
        }
        Verb::Tail(log) => Answer::At(store.tail(&log).await?.0),
        Verb::Follow { log, after, wait } => {
            match store.follow(&log, &Position(after), wait).await? {
                EventPage::Events { events, next } => {
                    Answer::Events(events.into_iter().map(Blob::from).collect(), next.0)
                }
                EventPage::Gap { next } => Answer::Gap(next.0),
            }
        }
        Verb::Ping => {
            store.ping().await?;
            Answer::Pong
        }
    })
}

#[async_trait]
impl Store for RelayStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.ask(Verb::Get(key.to_owned())).await? {
            Answer::Value(value) => Ok(value.map(Bytes::from)),
            other => Err(mixed_up(&other)),
        }
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.ask(Verb::Take(key.to_owned())).await? {
            Answer::Value(value) => Ok(value.map(Bytes::from)),
            other => Err(mixed_up(&other)),
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        let written = batch.writes.into_iter().map(Written::from).collect();
        match self.ask(Verb::Commit(written)).await? {
            Answer::Committed(true) => Ok(Commit::Applied),
            Answer::Committed(false) => Ok(Commit::Conflict),
            other => Err(mixed_up(&other)),
        }
    }

    async fn scan(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ScanPage, StoreError> {
        let verb = Verb::Scan {
            prefix: prefix.to_owned(),
            cursor: cursor.map(str::to_owned),
            limit,
        };
        match self.ask(verb).await? {
            Answer::Scanned(entries, cursor) => {
                let entries = entries.into_iter();
                let entries = entries.map(|(key, value)| (key, value.into()));
                Ok(ScanPage {
                    entries: entries.collect(),
                    cursor,
                })
            }
            other => Err(mixed_up(&other)),
        }
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        match self.ask(Verb::Count(key.to_owned(), window)).await? {
            Answer::Counted(count) => Ok(count),
            other => Err(mixed_up(&other)),
        }
    }

    async fn draw(&self, key: &str, rate: &Rate) -> Result<Draw, StoreError> {
        let verb = Verb::Draw {
            key: key.to_owned(),
            quota: rate.quota,
            window: rate.window,
            burst: rate.burst,
        };
        match self.ask(verb).await? {
            Answer::Drawn {
                is_allowed,
                remaining,
                retry,
                reset,
            } => Ok(Draw {
                is_allowed,
                remaining,
                retry,
                reset,
            }),
            other => Err(mixed_up(&other)),
        }
    }

    async fn tail(&self, log: &str) -> Result<Position, StoreError> {
        match self.ask(Verb::Tail(log.to_owned())).await? {
            Answer::At(position) => Ok(Position(position)),
            other => Err(mixed_up(&other)),
        }
    }

    async fn follow(
        &self,
        log: &str,
        after: &Position,
        wait: Duration,
    ) -> Result<EventPage, StoreError> {
        let verb = Verb::Follow {
            log: log.to_owned(),
            after: after.0.clone(),
            wait,
        };
        match self.ask(verb).await? {
            Answer::Events(events, next) => Ok(EventPage::Events {
                events: events.into_iter().map(Bytes::from).collect(),
                next: Position(next),
            }),
            Answer::Gap(next) => Ok(EventPage::Gap {
                next: Position(next),
            }),
            other => Err(mixed_up(&other)),
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        match self.ask(Verb::Ping).await? {
            Answer::Pong => Ok(()),
            other => Err(mixed_up(&other)),
        }
    }
}

/// A length, and as many bytes of JSON.
async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> std::io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(std::io::Error::other)?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(&body).await
}

async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<T> {
    let length = from.read_u32().await?;
    if length > MOST_BYTES {
        return Err(std::io::Error::other("a message is too long"));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// SECURITY: what it holds instead is not said.
fn mixed_up(_: &Answer) -> StoreError {
    StoreError::Internal {
        message: "another answer came than was asked for".to_owned(),
        source: None,
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes.into())
    }
}

impl From<Blob> for Bytes {
    fn from(Blob(bytes): Blob) -> Self {
        bytes.into()
    }
}

impl From<Write> for Written {
    fn from(write: Write) -> Self {
        match write {
            Write::Put { key, value, ttl } => Self::Put(key, value.into(), ttl),
            Write::PutNew { key, value, ttl } => Self::PutNew(key, value.into(), ttl),
            Write::Replace {
                key,
                expected,
                value,
                ttl,
            } => Self::Replace(key, expected.into(), value.into(), ttl),
            Write::Delete { key } => Self::Delete(key),
            Write::Append { log, event } => Self::Append(log, event.into()),
        }
    }
}

impl From<Written> for Write {
    fn from(written: Written) -> Self {
        match written {
            Written::Put(key, value, ttl) => Self::Put {
                key,
                value: value.into(),
                ttl,
            },
            Written::PutNew(key, value, ttl) => Self::PutNew {
                key,
                value: value.into(),
                ttl,
            },
            Written::Replace(key, expected, value, ttl) => Self::Replace {
                key,
                expected: expected.into(),
                value: value.into(),
                ttl,
            },
            Written::Delete(key) => Self::Delete { key },
            Written::Append(log, event) => Self::Append {
                log,
                event: event.into(),
            },
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable,
            StoreError::Timeout => Self::Timeout,
            StoreError::Refused { message } => Self::Refused(message),
            StoreError::Internal { message, .. } => Self::Internal(message),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable => Self::Unavailable(None),
            Failure::Timeout => Self::Timeout,
            Failure::Refused(message) => Self::Refused { message },
            Failure::Internal(message) => Self::Internal {
                message,
                source: None,
            },
        }
    }
}
