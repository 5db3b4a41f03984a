//! A client's body on its way to the upstream: counted, bounded, given up when it stands still, drips, or nobody
//! has a use for it any more.

mod early;
mod patience;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::headers::{self, Reserved};
use crate::withdrawn::Withdrawn;
pub(crate) use patience::{LONG, Pace, Patience, Waited};

/// A client's body, for the upstream.
#[derive(Debug)]
pub(crate) struct RequestBody(
    /// It goes through many hands.
    Box<Parts>,
);

#[derive(Debug)]
struct Parts {
    incoming: Option<Incoming>,
    is_http2: bool,
    /// What was taken in before it was wanted.
    early: VecDeque<Bytes>,
    /// What has come after it.
    late: Option<HeaderMap>,
    /// By which that goes on. None: it ends here.
    passes: Option<Rc<Passing>>,
    left: u64,
    patience: Patience,
    progress: Rc<Progress>,
}

/// What of trailers goes on.
#[derive(Debug)]
struct Passing {
    reserved: Arc<Reserved>,
    said: Vec<HeaderName>,
}

/// How far a client's body came.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) bytes: Cell<u64>,
    /// Nothing more of it is to come.
    pub(crate) is_whole: Cell<bool>,
    /// Why it ended before its end.
    pub(crate) failure: Cell<Option<BodyError>>,
    /// It takes long, and whoever has to be told so.
    is_long: Cell<bool>,
    awaiting: RefCell<Option<Waker>>,
    /// The request was answered, and whoever waits for more of its body has to know.
    is_answered: Cell<bool>,
    reading: RefCell<Option<Waker>>,
}

/// Why a body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body stood still for too long")]
    Idle,
    #[error("the body took too long in all")]
    Overdue,
    #[error("the body broke off")]
    Broken,
    #[error("the body may not go on: {0}")]
    Withdrawn(Withdrawn),
}

impl RequestBody {
    /// Of a client; longer than `limit` is an error.
    pub(crate) fn new(
        incoming: Incoming,
        version: Version,
        limit: u64,
        pace: impl Into<Pace>,
    ) -> (Self, Rc<Progress>) {
        let progress = Rc::<Progress>::default();
        progress.is_whole.set(incoming.is_end_stream());
        let body = Self(Box::new(Parts {
            incoming: (!incoming.is_end_stream()).then_some(incoming),
            is_http2: version == Version::HTTP_2,
            early: VecDeque::new(),
            late: None,
            passes: None,
            left: limit,
            patience: Patience::new(pace),
            progress: progress.clone(),
        }));
        (body, progress)
    }

    /// How far it came, also once it is on its way.
    pub(crate) fn progress(&self) -> Rc<Progress> {
        self.0.progress.clone()
    }

    /// What comes after the body goes on, as far as a client may say it, and beside what is `said` by us.
    pub(crate) fn pass_trailers(&mut self, reserved: &Arc<Reserved>, said: Vec<HeaderName>) {
        let reserved = reserved.clone();
        self.0.passes = Some(Rc::new(Passing { reserved, said }));
    }

    /// Whether something goes on after it, as far as that is known.
    pub(crate) fn has_trailers(&self) -> bool {
        self.0.passes.is_some() && self.0.late.is_some()
    }

    /// It is waited for so long between two pieces, however small they are.
    pub(crate) fn wait_for(&mut self, idle: Duration) {
        self.0.patience = Patience::new(idle);
    }

    /// Whether nothing of it is still to come.
    pub(crate) fn is_at_hand(&self) -> bool {
        self.0.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    /// The same body once more; none where some of it is still to come.
    pub(crate) fn copy(&self) -> Option<Self> {
        let copy = || Parts {
            incoming: None,
            is_http2: self.0.is_http2,
            early: self.0.early.clone(),
            late: self.0.late.clone(),
            passes: self.0.passes.clone(),
            left: self.0.left,
            patience: Patience::new(Duration::MAX),
            progress: self.0.progress.clone(),
        };
        self.is_at_hand().then(|| Self(Box::new(copy())))
    }

    /// Reads all of it, if that is no more than `limit`, and still has it for whoever it is sent on to.
    pub(crate) async fn read_whole(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        if self.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(BodyError::TooLarge);
        }
        let whole = Bytes::from(self.rest(limit).await?);
        if !whole.is_empty() {
            self.0.early.push_back(whole.clone());
        }
        Ok(whole)
    }

    /// All of it, if that is no more than `limit`.
    pub(crate) async fn collect(mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        self.rest(limit).await
    }

    async fn rest(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let mut whole = Vec::new();
        while let Some(frame) = self.frame().await {
            let data = match frame?.into_data() {
                Ok(data) => data,
                Err(last) => {
                    self.0.late = last.into_trailers().ok();
                    break;
                }
            };
            if whole.len() + data.len() > limit {
                return Err(BodyError::TooLarge);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    }

    /// Reads on to the end of what nobody wants, if that is near: the connection is good for more
    /// requests only then.
    pub(crate) async fn skip(mut self) {
        if self.size_hint().lower() > SKIPPED_BYTES {
            return;
        }
        self.0.left = self.0.left.min(SKIPPED_BYTES);
        let end = async { while let Some(Ok(_)) = self.frame().await {} };
        let _ = tokio::time::timeout(SKIPPED_FOR, end).await;
    }

    /// The upstream gets no more; what the client still sends is read for a moment.
    fn leave(&mut self) {
        let rest = Self(Box::new(Parts {
            incoming: self.0.incoming.take(),
            is_http2: self.0.is_http2,
            early: VecDeque::new(),
            late: None,
            passes: None,
            left: self.0.left,
            patience: Patience::new(SKIPPED_FOR),
            progress: Rc::default(),
        }));
        // In HTTP/2 the stream alone ends.
        if !rest.0.is_http2 {
            tokio::task::spawn_local(rest.skip());
        }
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.incoming = None;
        self.0.progress.is_whole.set(true);
        self.trailers()
    }

    /// What comes after the body, once.
    fn trailers(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(passing) = &self.0.passes else {
            return Poll::Ready(None);
        };
        let trailers = self.0.late.take().and_then(|mut trailers| {
            let reserved = &passing.reserved;
            reserved.scrub_trailers(&mut trailers, passing.said.iter());
            (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)))
        });
        Poll::Ready(trailers)
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.incoming = None;
        self.0.progress.failure.set(Some(error));
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
        if let Some(data) = this.0.early.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        // SECURITY: an upstream that has answered may take the rest for the next request. It gets no more of it, and
        // its connection is used for nothing else.
        if this.0.progress.is_answered.get() && this.0.incoming.is_some() {
            this.leave();
            return this.fail(BodyError::Broken);
        }
        let Some(incoming) = &mut this.0.incoming else {
            return this.trailers();
        };
        match Pin::new(&mut *incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let length = u64::try_from(length).unwrap_or(u64::MAX);
                if this.0.patience.came(length) {
                    this.0.progress.turns_long();
                }
                let data = match frame.into_data().map_err(Frame::into_trailers) {
                    Ok(data) => data,
                    Err(Ok(trailers)) if headers::is_no_trailer(&trailers) => {
                        return this.fail(BodyError::Broken);
                    }
                    // They end here, mostly: whoever reads them further on would see two heads.
                    Err(trailers) => {
                        this.0.late = trailers.ok();
                        return this.end();
                    }
                };
                let Some(left) = this.0.left.checked_sub(length) else {
                    return this.fail(BodyError::TooLarge);
                };
                this.0.left = left;
                this.0
                    .progress
                    .bytes
                    .set(this.0.progress.bytes.get() + length);
                // Of a known length, whoever reads asks for no more after the last piece.
                this.0.progress.is_whole.set(incoming.is_end_stream());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Some(Err(_))) => this.fail(BodyError::Broken),
            // SECURITY: a stream that its client has reset with NO_ERROR looks as if it were at its end, and
            // the upstream would take the half of a message for the whole.
            Poll::Ready(None) if this.0.is_http2 && !incoming.is_end_stream() => {
                this.fail(BodyError::Broken)
            }
            Poll::Ready(None) => this.end(),
            Poll::Pending => {
                this.0.progress.reads(context);
                match this.0.patience.wait(context) {
                    Waited::TooLong => this.fail(BodyError::Idle),
                    Waited::Long => {
                        this.0.progress.turns_long();
                        Poll::Pending
                    }
                    Waited::NotLong => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_at_end = self.0.incoming.as_ref().is_none_or(Body::is_end_stream);
        self.0.early.is_empty() && is_at_end && !self.has_trailers()
    }

    fn size_hint(&self) -> SizeHint {
        let early: usize = self.0.early.iter().map(Bytes::len).sum();
        let early = u64::try_from(early).unwrap_or(u64::MAX);
        match &self.0.incoming {
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

impl Progress {
    /// The request was answered, and the answer has gone.
    pub(crate) fn answered(&self) {
        self.is_answered.set(true);
        if let Some(waker) = self.reading.take() {
            waker.wake();
        }
    }

    /// Whoever reads waits for more.
    fn reads(&self, context: &Context<'_>) {
        match &mut *self.reading.borrow_mut() {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    /// Whether the body takes long; whoever asks before it does is woken when it turns out so.
    pub(crate) fn is_long(&self, context: &Context<'_>) -> bool {
        if !self.is_long.get() {
            *self.awaiting.borrow_mut() = Some(context.waker().clone());
        }
        self.is_long.get()
    }

    fn turns_long(&self) {
        self.is_long.set(true);
        if let Some(waker) = self.awaiting.take() {
            waker.wake();
        }
    }
}

/// What a client sends with its request and without waiting: a message, not an upload.
const SKIPPED_BYTES: u64 = 64 << 10;
const SKIPPED_FOR: Duration = Duration::from_secs(1);
