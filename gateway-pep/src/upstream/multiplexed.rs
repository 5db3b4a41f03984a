//! Connections of HTTP/2 of one worker to one endpoint: few, each with many requests under way.
//!
//! What a request cannot be sent on is left to those that are on it, and another connection is opened. A connection
//! on which the endpoint takes no more (`GOAWAY`) gets no more, and ends with the last answer on it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::DropGuard;

use super::UpstreamError;
use super::dial::{Dialled, OnThisThread};
use crate::body::RequestBody;
use crate::parting::Parting;
use crate::plan::Http2;

/// To one endpoint.
#[derive(Debug, Default)]
pub(super) struct Multiplexed {
    open: RefCell<Vec<Rc<Shared>>>,
    /// One is opened at a time: whoever waits for it most likely has no need of another.
    opening: Mutex<()>,
}

/// A connection, as the requests on it share it.
#[derive(Debug)]
struct Shared {
    sender: SendRequest<RequestBody>,
    /// Requests under way.
    streams: Cell<u32>,
    /// So many there can be, as far as is known.
    most: Rc<Cell<u32>>,
    way: Weak<Way>,
    opened: Instant,
    /// When the last of them ended.
    idle_since: Cell<Instant>,
    /// It has failed.
    is_left: Cell<bool>,
}

/// What requests go through on their way to a connection. Not held here: it has to go with the connection, and what waits in it.
type Way = RefCell<http2::Connection<TokioIo<Dialled>, RequestBody, OnThisThread>>;

/// A request's part of a connection. Left when dropped.
#[derive(Debug)]
pub(super) struct Stream {
    shared: Rc<Shared>,
    /// Closes a connection of its own.
    closing: Option<DropGuard>,
}

/// What an upstream may send before its client takes it, of one answer.
const STREAM_WINDOW: u32 = 128 << 10;
/// The library takes the more small pieces that were not read yet, the larger the window of the connection. Of few streams it
/// would be too few: messages of a `WebSocket` are small.
const FEW: u32 = 32;
/// What waits for a slow upstream, of one request.
const SEND_BUFFER: usize = 128 << 10;
/// The head of an answer.
const HEAD_BYTES: u32 = 64 << 10;
/// Streams on a connection whose upstream has not said yet how many there may be.
const UNTIL_TOLD: u32 = 100;
/// Within this an endpoint has said what it takes: it is the first that it says.
const SETTINGS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);
/// Streams that had to be reset since the upstream did what may not be done.
const ERRORS: usize = 64;

impl Multiplexed {
    /// A place on a connection; where there is none, one is opened, on what `dial` opens.
    pub(super) async fn stream<D>(
        &self,
        plan: &Http2,
        idle: Duration,
        dial: impl FnOnce() -> D,
    ) -> Result<Stream, UpstreamError>
    where
        D: Future<Output = Result<Dialled, UpstreamError>>,
    {
        let _opening = self.opening.lock().await;
        // Somebody else has opened one meanwhile.
        if let Some(stream) = self.on_one_with_room(idle) {
            return Ok(stream);
        }
        if self.open.borrow().len() >= plan.connections
            && let Some(stream) = self.on_least_used()
        {
            return Ok(stream);
        }
        let shared = Rc::new(Shared::open(plan, dial().await?, OnThisThread::default()).await?);
        self.open.borrow_mut().push(shared.clone());
        Ok(Stream::on(&shared))
    }

    /// On one of those that are there.
    pub(super) fn on_one_with_room(&self, idle: Duration) -> Option<Stream> {
        let mut open = self.open.borrow_mut();
        open.retain(|it| it.is_open() && !it.is_idle_for(idle));
        let with_room = open.iter().filter(|it| it.streams.get() < it.most.get());
        let best = with_room.min_by_key(|it| it.streams.get())?;
        Some(Stream::on(best))
    }

    /// It waits there until the upstream takes one more.
    fn on_least_used(&self) -> Option<Stream> {
        let open = self.open.borrow();
        let best = open.iter().min_by_key(|it| it.streams.get())?;
        Some(Stream::on(best))
    }

    /// Of the connections there are now, none gets any more.
    pub(super) fn leave_all(&self) {
        self.open.borrow_mut().clear();
    }
}

impl Shared {
    async fn open(
        plan: &Http2,
        dialled: Dialled,
        executor: OnThisThread,
    ) -> Result<Self, UpstreamError> {
        let mut http = http2::Builder::new(executor);
        http.timer(TokioTimer::new())
            .initial_max_send_streams(usize::try_from(plan.streams.min(UNTIL_TOLD)).ok())
            .initial_stream_window_size(STREAM_WINDOW)
            // An answer whose client is slow fills its own window, and never that of all others.
            .initial_connection_window_size(STREAM_WINDOW.saturating_mul(plan.streams.max(FEW)))
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEAD_BYTES)
            .max_local_error_reset_streams(ERRORS)
            .keep_alive_interval(plan.ping)
            .keep_alive_timeout(plan.ping_timeout);
        let (sender, connection) = http
            .handshake(TokioIo::new(dialled))
            .await
            .map_err(UpstreamError::Exchange)?;
        let most = Rc::new(Cell::new(plan.streams));
        let way = Rc::new(RefCell::new(connection));
        let (told, wanted) = (most.clone(), plan.streams);
        let weak = Rc::downgrade(&way);
        tokio::task::spawn_local(async move {
            // Its errors come back to whoever is waiting on it.
            let _ = poll_fn(|context| {
                let mut connection = way.borrow_mut();
                let polled = Pin::new(&mut *connection).poll(context);
                if polled.is_pending() {
                    let allowed = connection.current_max_send_streams();
                    told.set(wanted.min(u32::try_from(allowed).unwrap_or(u32::MAX)));
                }
                polled
            })
            .await;
        });
        Ok(Self {
            sender,
            streams: Cell::new(0),
            most,
            way: weak,
            opened: Instant::now(),
            idle_since: Cell::new(Instant::now()),
            is_left: Cell::new(false),
        })
    }

    fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.is_left.get()
    }

    /// As far as the endpoint has said it (RFC 8441 section 3). What has ended says itself why.
    fn is_for_tunnels(&self) -> bool {
        let way = self.way.upgrade();
        way.is_none_or(|way| way.borrow().is_extended_connect_protocol_enabled())
    }

    fn is_idle_for(&self, limit: Duration) -> bool {
        self.streams.get() == 0 && self.idle_since.get().elapsed() > limit
    }
}

impl Stream {
    fn on(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self {
            shared: shared.clone(),
            closing: None,
        }
    }

    /// On a connection that no other request gets. An upstream that takes nothing more does not keep it.
    pub(super) async fn alone(plan: &Http2, dialled: Dialled) -> Result<Self, UpstreamError> {
        let (guard, parting) = Parting::new();
        let executor = OnThisThread::until(parting);
        let shared = Rc::new(Shared::open(plan, dialled, executor).await?);
        let mut stream = Self::on(&shared);
        stream.closing = Some(guard);
        Ok(stream)
    }

    /// Nothing else is sent on its connection.
    pub(super) fn leave(&self) {
        self.shared.is_left.set(true);
    }

    /// Whether the endpoint takes wishes for a tunnel. Of a new connection that is not known at once.
    pub(super) async fn takes_tunnels(&self, deadline: Instant) -> bool {
        let settled = deadline.min(self.shared.opened + SETTINGS);
        loop {
            if self.shared.is_for_tunnels() {
                return true;
            }
            if Instant::now() >= settled {
                return false;
            }
            // Nobody tells when it is known.
            sleep(LOOK).await;
        }
    }

    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.shared.sender.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let streams = self.shared.streams.get().saturating_sub(1);
        self.shared.streams.set(streams);
        if streams == 0 {
            self.shared.idle_since.set(Instant::now());
        }
    }
}
