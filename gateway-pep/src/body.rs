//! Bodies on their way through: streamed, counted, bounded, and given up when they stand still.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::pipeline::record::Record;
use crate::upstream::Lease;

/// A client's body, for the upstream.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    left: u64,
    patience: Patience,
    progress: Rc<Progress>,
}

/// How far a client's body came.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) bytes: Cell<u64>,
    /// Why it ended before its end.
    pub(crate) failure: Cell<Option<BodyError>>,
}

/// An upstream's body, or our own, for the client.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    content: Content,
    /// Written to the log when the body has gone.
    record: Option<Box<Record>>,
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Stream(Stream),
}

#[derive(Debug)]
struct Stream {
    incoming: Incoming,
    patience: Patience,
    finished: bool,
    /// Goes back to its pool when the body was read to its end.
    lease: Option<Lease>,
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
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl RequestBody {
    /// Of a client; longer than `limit` is an error.
    pub(crate) fn new(incoming: Incoming, limit: u64, idle: Duration) -> (Self, Rc<Progress>) {
        let progress = Rc::<Progress>::default();
        let body = Self {
            incoming: (!incoming.is_end_stream()).then_some(incoming),
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
            left: 0,
            patience: Patience::new(Duration::MAX),
            progress: Rc::default(),
        }
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
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        match Pin::new(incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.patience.reset();
                // Trailers end here: whoever reads them further on would see two heads.
                let Ok(data) = frame.into_data() else {
                    this.incoming = None;
                    return Poll::Ready(None);
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
            Poll::Ready(None) => {
                this.incoming = None;
                Poll::Ready(None)
            }
            Poll::Pending if this.patience.is_over(context) => this.fail(BodyError::Idle),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl ResponseBody {
    /// Our own words, or a body that had to be read whole.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            content: Content::Whole(Some(bytes.into())),
            record: None,
        }
    }

    /// An upstream's, passed on as it comes.
    pub(crate) fn stream(incoming: Incoming, idle: Duration, lease: Option<Lease>) -> Self {
        Self {
            content: Content::Stream(Stream {
                incoming,
                patience: Patience::new(idle),
                finished: false,
                lease,
            }),
            record: None,
        }
    }

    /// Has the request logged when this body has gone.
    pub(crate) fn record(&mut self, record: Box<Record>) {
        self.record = Some(record);
    }

    /// Reads all of it; none where it is longer than `limit` or breaks off.
    pub(crate) async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let mut whole = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await
        {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if whole.len() + data.len() > limit {
                return Err(BodyError::TooLarge);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.into())
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.patience.reset();
                // Trailers come last, and end here.
                let data = frame.into_data().ok();
                self.finished |= data.is_none();
                Poll::Ready(data.map(Ok))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BodyError::Broken))),
            Poll::Ready(None) => {
                self.finished = true;
                Poll::Ready(None)
            }
            Poll::Pending if self.patience.is_over(context) => {
                Poll::Ready(Some(Err(BodyError::Idle)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A connection with an unread rest is closed, never reused.
        if (self.finished || self.incoming.is_end_stream())
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.content {
            Content::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(Ok))
            }
            Content::Stream(stream) => stream.poll(context),
        };
        if let (Poll::Ready(Some(result)), Some(record)) = (&polled, &mut this.record) {
            match result {
                Ok(data) => record.sent(data.len()),
                Err(error) => record.broke_off(*error),
            }
        }
        polled.map(|frame| frame.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Stream(stream) => stream.finished || stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Content::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: None,
            waiting: false,
        }
    }

    fn reset(&mut self) {
        self.waiting = false;
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
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
