//! The streams of one connection: how many there are, how they end, and whether their client takes
//! what it has asked for.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::{BodyError, Patience, Waited};
use crate::parting::Parting;
use crate::pipeline::ResponseBody;

/// What the streams of a connection share.
#[derive(Debug)]
pub(in crate::serve) struct Streams {
    open: Cell<usize>,
    opened: Cell<u64>,
    /// When the last stream ended, or something of an answer was written last.
    last: Cell<Instant>,
    /// Bytes of answers that were handed over, and may be waiting to be written.
    owed: Cell<usize>,
    /// How many more may be given up.
    left: Cell<u32>,
    /// The connection's own.
    waker: RefCell<Option<Waker>>,
    /// Of the stream that was opened last, until its task is begun.
    fresh: RefCell<Option<Rc<Handed>>>,
    /// Of the stream that has become a tunnel last, until the task that writes to it is begun.
    tunnel: RefCell<Option<Parting>>,
}

/// A client may give up so many requests more than it sees through. Browsers do it, too.
const GIVEN_UP: u32 = 100;

impl Streams {
    pub(in crate::serve) fn new() -> Rc<Self> {
        Rc::new(Self {
            open: Cell::new(0),
            opened: Cell::new(0),
            last: Cell::new(Instant::now()),
            owed: Cell::new(0),
            left: Cell::new(GIVEN_UP),
            waker: RefCell::default(),
            fresh: RefCell::default(),
            tunnel: RefCell::default(),
        })
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened.get()
    }

    /// None: there are some.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        (self.open.get() == 0).then(|| self.last.get())
    }

    /// So much was written. What answers a ping is not what the client has asked for.
    pub(super) fn wrote(&self, bytes: usize) {
        let owed = self.owed.get();
        self.owed.set(owed.saturating_sub(bytes));
        if owed > 0 && self.open.get() == 0 {
            self.last.set(Instant::now());
        }
    }

    /// Whether the client has given up more than it may.
    pub(super) fn is_abused(&self) -> bool {
        self.left.get() == 0
    }

    /// Wakes the connection when there is something to look at. True: it did not know the waker.
    pub(super) fn keep_waker(&self, waker: &Waker) -> bool {
        let mut known = self.waker.borrow_mut();
        if known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return false;
        }
        *known = Some(waker.clone());
        true
    }

    fn close(&self, was_given_up: bool) {
        let open = self.open.get().saturating_sub(1);
        self.open.set(open);
        self.left.set(if was_given_up {
            self.left.get().saturating_sub(1)
        } else {
            GIVEN_UP.min(self.left.get() + 1)
        });
        if was_given_up {
            // What was left of it is not written any more.
            self.owed.set(0);
        }
        if open == 0 {
            self.last.set(Instant::now());
        }
        if (open == 0 || self.is_abused())
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

/// One request, from its head to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Rc<Streams>,
    handed: Rc<Handed>,
    /// Whatever is done with it now, it is not its client that gives it up.
    is_done: bool,
}

/// What an answer has handed over to be sent.
#[derive(Debug, Default)]
struct Handed {
    pieces: Cell<u64>,
    /// The last piece was not followed by a question for the next.
    is_waiting: Cell<bool>,
}

impl Stream {
    pub(super) fn open(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        streams.opened.set(streams.opened.get() + 1);
        let handed = Rc::<Handed>::default();
        *streams.fresh.borrow_mut() = Some(handed.clone());
        Self {
            streams: streams.clone(),
            handed,
            is_done: false,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.close(!self.is_done);
    }
}

/// An answer's body on its stream.
#[derive(Debug)]
pub(super) struct StreamBody {
    body: ResponseBody,
    /// None: it has become a tunnel's.
    stream: Option<Stream>,
}

impl StreamBody {
    pub(super) fn new(body: ResponseBody, mut stream: Stream) -> Self {
        stream.is_done = body.is_end_stream();
        let stream = match body.kept_for_tunnel() {
            Some(kept) => {
                // A client that takes nothing more does not keep the stream: without its task it is reset.
                let (guard, parting) = Parting::new();
                *stream.streams.tunnel.borrow_mut() = Some(parting);
                kept.replace(Some(Box::new((stream, guard))));
                None
            }
            None => Some(stream),
        };
        Self { body, stream }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, stream } = self.get_mut();
        let polled = Pin::new(&mut *body).poll_frame(context);
        let Some(stream) = stream else {
            return polled;
        };
        let handed = &stream.handed;
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let owed = &stream.streams.owed;
                owed.set(owed.get().saturating_add(length));
                handed.pieces.set(handed.pieces.get() + 1);
                handed.is_waiting.set(true);
                stream.is_done = body.is_end_stream();
            }
            Poll::Ready(None | Some(Err(_))) => {
                handed.is_waiting.set(false);
                stream.is_done = true;
            }
            Poll::Pending => handed.is_waiting.set(false),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the tasks of streams on this thread, each as long as its client takes what it sends.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) streams: Rc<Streams>,
    /// Between two pieces.
    pub(super) patience: Duration,
}

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future<Output = ()> + 'static,
{
    /// The task of the stream that was opened just before, or has just become a tunnel.
    fn execute(&self, task: F) {
        let handed = self.streams.fresh.borrow_mut().take();
        let parting = self.streams.tunnel.borrow_mut().take();
        if let (None, Some(parting)) = (&handed, parting) {
            return parting.run(task);
        }
        let mut patience = Patience::new(self.patience);
        tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            let mut pieces = 0;
            poll_fn(|context| {
                if task.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                let Some(handed) = handed.as_ref().filter(|handed| handed.is_waiting.get()) else {
                    patience.reset();
                    return Poll::Pending;
                };
                if handed.pieces.get() != pieces {
                    pieces = handed.pieces.get();
                    patience.reset();
                }
                // Without its task a stream is reset.
                match patience.wait(context) {
                    Waited::TooLong => Poll::Ready(()),
                    Waited::Long | Waited::NotLong => Poll::Pending,
                }
            })
            .await;
        });
    }
}
