//! Connections of HTTP/2 of one worker to one endpoint: few, each with many requests under way.
//!
//! What a request cannot be sent on is left to those that are on it, and another connection is opened. A connection
//! on which the endpoint takes no more (`GOAWAY`) gets no more, and ends with the last answer on it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::UpstreamError;
use super::dial::{Dialled, OnThisThread};
use crate::body::RequestBody;
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
    /// When the last of them ended.
    idle_since: Cell<Instant>,
    /// It has failed.
    is_left: Cell<bool>,
}

/// A request's part of a connection. Left when dropped.
#[derive(Debug)]
pub(super) struct Stream(Rc<Shared>);

/// What an upstream may send before its client takes it, of one answer.
const STREAM_WINDOW: u32 = 128 << 10;
/// What waits for a slow upstream, of one request.
const SEND_BUFFER: usize = 128 << 10;
/// The head of an answer.
const HEAD_BYTES: u32 = 64 << 10;
/// Streams on a connection whose upstream has not said yet how many there may be.
const UNTIL_TOLD: u32 = 100;
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
        let shared = Rc::new(Shared::open(plan, dial().await?).await?);
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
    async fn open(plan: &Http2, dialled: Dialled) -> Result<Self, UpstreamError> {
        let mut http = http2::Builder::new(OnThisThread);
        http.timer(TokioTimer::new())
            .initial_max_send_streams(usize::try_from(plan.streams.min(UNTIL_TOLD)).ok())
            .initial_stream_window_size(STREAM_WINDOW)
            // An answer whose client is slow fills its own window, and never that of all others.
            .initial_connection_window_size(STREAM_WINDOW.saturating_mul(plan.streams))
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
        let (told, wanted) = (most.clone(), plan.streams);
        tokio::task::spawn_local(async move {
            let mut connection = pin!(connection);
            // Its errors come back to whoever is waiting on it.
            let _ = poll_fn(|context| {
                let polled = connection.as_mut().poll(context);
                if polled.is_pending() {
                    let allowed = connection.as_ref().get_ref().current_max_send_streams();
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
            idle_since: Cell::new(Instant::now()),
            is_left: Cell::new(false),
        })
    }

    fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.is_left.get()
    }

    fn is_idle_for(&self, limit: Duration) -> bool {
        self.streams.get() == 0 && self.idle_since.get().elapsed() > limit
    }
}

impl Stream {
    fn on(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self(shared.clone())
    }

    /// Nothing else is sent on its connection.
    pub(super) fn leave(&self) {
        self.0.is_left.set(true);
    }

    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.0.sender.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let streams = self.0.streams.get().saturating_sub(1);
        self.0.streams.set(streams);
        if streams == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}
