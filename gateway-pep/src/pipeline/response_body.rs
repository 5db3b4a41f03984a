//! The body of an answer: an upstream's, streamed as it comes, or our own; logged when it has gone.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::record::Record;
use crate::body::{BodyError, Patience, Waited};
use crate::grpc;
use crate::upstream::Lease;

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
    Stream(Box<Stream>),
    /// None: the connection becomes a tunnel, which is what gets logged when it has gone.
    Tunnel(Rc<Handover>),
}

/// Takes what belongs to a request to the tunnel that it becomes.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    record: RefCell<Option<Box<Record>>>,
    /// Held by whoever serves the connection.
    kept: RefCell<Option<Box<dyn Any>>>,
}

/// What waits for its client here, and not at the upstream, whose connections are few: by HTTP/2 a client can have a
/// hundred answers wait. What is longer keeps its connection meanwhile, so that few of them can be.
const SMALL: usize = 8 << 10;

#[derive(Debug)]
struct Stream {
    incoming: Incoming,
    patience: Patience,
    /// By then it must have gone, if there is such a time.
    until: Option<Pin<Box<Sleep>>>,
    finished: bool,
    /// Goes back to its pool when the body has been read to its end.
    lease: Option<Lease>,
    /// It began before the request was there whole.
    is_early: bool,
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
            content: Content::Stream(Box::new(Stream {
                incoming,
                patience: Patience::new(idle),
                until: None,
                finished: false,
                lease,
                is_early: false,
            })),
            record: None,
        }
    }

    /// What has not gone by then is broken off.
    pub(crate) fn ends_by(&mut self, until: Instant) {
        if let Content::Stream(stream) = &mut self.content {
            stream.until = Some(Box::pin(tokio::time::sleep_until(until)));
        }
    }

    /// Of the answer after which the connection is a tunnel.
    pub(crate) fn tunnel(handover: Rc<Handover>) -> Self {
        Self {
            content: Content::Tunnel(handover),
            record: None,
        }
    }

    /// What is dropped with the tunnel, and not with this body. None: it is of no tunnel.
    pub(crate) fn kept_for_tunnel(&self) -> Option<&RefCell<Option<Box<dyn Any>>>> {
        match &self.content {
            Content::Tunnel(handover) => Some(&handover.kept),
            Content::Whole(_) | Content::Stream(_) => None,
        }
    }

    /// Has the request logged when this body has gone, or its tunnel.
    pub(crate) fn record(&mut self, record: Box<Record>) {
        self.content.answers(&record);
        match &self.content {
            Content::Tunnel(handover) => *handover.record.borrow_mut() = Some(record),
            Content::Whole(_) | Content::Stream(_) => self.record = Some(record),
        }
    }

    /// Reads all of it; none where it is longer than `limit`, breaks off, or may not go on.
    pub(crate) async fn collect(
        mut self,
        limit: usize,
        mut record: Option<&mut Record>,
    ) -> Result<Bytes, BodyError> {
        if let Some(record) = &record {
            self.content.answers(record);
        }
        let mut whole = Vec::new();
        while let Some(frame) =
            poll_fn(|context| self.content.poll(context, record.as_deref_mut())).await
        {
            // What comes after it is nothing of what was read whole.
            let Ok(data) = frame?.into_data() else {
                break;
            };
            if whole.len() + data.len() > limit {
                return Err(BodyError::TooLarge);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.into())
    }
}

impl Content {
    fn answers(&mut self, record: &Record) {
        if let Self::Stream(stream) = self {
            stream.is_early |= record.leaves_body();
        }
    }

    /// `record`: of the request that it answers. What takes long is looked at from then on, and ends where it may
    /// not go on.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut record: Option<&mut Record>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let stream = match self {
            Self::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Self::Tunnel(_) => return Poll::Ready(None),
            Self::Stream(stream) => stream,
        };
        if let Some(record) = &mut record
            && let Some(withdrawn) = record.withdrawn(context)
        {
            // It ends without its end: whoever reads it can tell, and the connection is of no more use.
            let error = BodyError::Withdrawn(withdrawn);
            record.broke_off(error);
            return Poll::Ready(Some(Err(error)));
        }
        let mut is_long = false;
        let polled = stream.poll(context, &mut is_long);
        let Some(record) = record else {
            return polled;
        };
        if is_long {
            record.hold();
            // What this waits for from now on can end, too.
            if record.withdrawn(context).is_some() {
                context.waker().wake_by_ref();
            }
        }
        if let Poll::Ready(Some(Err(error))) = &polled {
            record.broke_off(*error);
        }
        polled
    }
}

impl Handover {
    pub(crate) fn take(&self) -> Option<Box<Record>> {
        self.record.take()
    }

    pub(crate) fn take_kept(&self) -> Option<Box<dyn Any>> {
        self.kept.take()
    }
}

impl Stream {
    /// Beside what came: whether the body has just turned out to be long.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        is_long: &mut bool,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(until) = &mut self.until
            && until.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(BodyError::Overdue)));
        }
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                // An upstream may be as slow as it likes: that is how events come.
                *is_long = self.patience.came(0);
                // Trailers come last.
                let data = frame.data_ref();
                self.finished |= data.is_none();
                if data.is_none_or(|data| data.len() <= SMALL) {
                    self.release();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BodyError::Broken))),
            Poll::Ready(None) => {
                self.finished = true;
                self.release();
                Poll::Ready(None)
            }
            Poll::Pending => match self.patience.wait(context) {
                Waited::TooLong => Poll::Ready(Some(Err(BodyError::Idle))),
                Waited::Long => {
                    *is_long = true;
                    Poll::Pending
                }
                Waited::NotLong => Poll::Pending,
            },
        }
    }

    /// The connection is good for the next request when there is nothing left to read. One with an unread rest is
    /// closed, never reused.
    ///
    /// SECURITY: so is one on which the answer came first. What the upstream would say to the rest of the request could
    /// be read as the answer to the next.
    fn release(&mut self) {
        let is_shared = self.lease.as_ref().is_some_and(Lease::is_shared);
        if (self.finished || self.incoming.is_end_stream())
            && (!self.is_early || is_shared)
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.release();
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
        let polled = this.content.poll(context, this.record.as_deref_mut());
        let Some(record) = &mut this.record else {
            return polled;
        };
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(data) = frame.data_ref() {
                    record.sent(data.len());
                } else if let Some(trailers) = frame.trailers_mut() {
                    record.settle_trailers(trailers);
                    if trailers.is_empty() {
                        return Poll::Ready(None);
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // A call has words for why it ends; what is left of the upstream's answer ends with them.
            Poll::Ready(Some(Err(error))) if record.is_call() => {
                this.content = Content::Whole(None);
                Poll::Ready(Some(Ok(Frame::trailers(grpc::ending(error)))))
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Stream(stream) => stream.finished || stream.incoming.is_end_stream(),
            Content::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Content::Stream(stream) => stream.incoming.size_hint(),
            Content::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}
