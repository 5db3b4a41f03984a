//! A client's body on its way to the upstream: counted, bounded, given up when it stands still.

mod early;

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// A client's body, for the upstream.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    /// What was taken in before it was wanted.
    early: VecDeque<Bytes>,
    left: u64,
    patience: Patience,
    progress: Rc<Progress>,
}

/// How far a client's body came.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) bytes: Cell<u64>,
    /// Nothing more of it is to come.
    pub(crate) is_whole: Cell<bool>,
    /// Why it ended before its end.
    pub(crate) failure: Cell<Option<BodyError>>,
}

/// Why a body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body stood still for too long")]
    Idle,
    #[error("the body broke off")]
    Broken,
}

/// Gives up when nothing came for a while. The timer exists only once something had to wait.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl RequestBody {
    /// Of a client; longer than `limit` is an error.
    pub(crate) fn new(incoming: Incoming, limit: u64, idle: Duration) -> (Self, Rc<Progress>) {
        let progress = Rc::<Progress>::default();
        progress.is_whole.set(incoming.is_end_stream());
        let body = Self {
            incoming: (!incoming.is_end_stream()).then_some(incoming),
            early: VecDeque::new(),
            left: limit,
            patience: Patience::new(idle),
            progress: progress.clone(),
        };
        (body, progress)
    }

    /// The same request without its body: only for one that has none.
    pub(crate) fn empty() -> Self {
        Self {
            incoming: None,
            early: VecDeque::new(),
            left: 0,
            patience: Patience::new(Duration::MAX),
            progress: Rc::default(),
        }
    }

    /// Reads on to the end of what nobody wants, if that is near: the connection is good for more
    /// requests only then.
    pub(crate) async fn skip(mut self) {
        if self.size_hint().lower() > SKIPPED_BYTES {
            return;
        }
        self.left = self.left.min(SKIPPED_BYTES);
        let end = async { while let Some(Ok(_)) = self.frame().await {} };
        let _ = tokio::time::timeout(SKIPPED_FOR, end).await;
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.incoming = None;
        self.progress.is_whole.set(true);
        Poll::Ready(None)
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.incoming = None;
        self.progress.failure.set(Some(error));
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(data) = this.early.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        match Pin::new(incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.patience.reset();
                // Trailers end here: whoever reads them further on would see two heads.
                let Ok(data) = frame.into_data() else {
                    return this.end();
                };
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                let Some(left) = this.left.checked_sub(length) else {
                    return this.fail(BodyError::TooLarge);
                };
                this.left = left;
                this.progress.bytes.set(this.progress.bytes.get() + length);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Some(Err(_))) => this.fail(BodyError::Broken),
            Poll::Ready(None) => this.end(),
            Poll::Pending if this.patience.is_over(context) => this.fail(BodyError::Idle),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.early.is_empty() && self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let early: usize = self.early.iter().map(Bytes::len).sum();
        let early = u64::try_from(early).unwrap_or(u64::MAX);
        match &self.incoming {
            None => SizeHint::with_exact(early),
            Some(incoming) if early == 0 => incoming.size_hint(),
            Some(_) => {
                let mut more = SizeHint::new();
                more.set_lower(early);
                more
            }
        }
    }
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: None,
            waiting: false,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.waiting = false;
    }

    pub(crate) fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(context).is_ready()
    }
}

/// What a client sends with its request and without waiting: a message, not an upload.
const SKIPPED_BYTES: u64 = 64 << 10;
const SKIPPED_FOR: Duration = Duration::from_secs(1);
