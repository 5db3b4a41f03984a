//! HTTP/2 on a connection: many requests at a time, each a stream, each answered as a message of
//! HTTP/1.1 would be.
//!
//! The library below refuses what is malformed (RFC 9113 sections 8.1 to 8.3) and bounds what a client
//! makes it keep. Beyond that a connection ends where its client floods it ([`frames`]) or gives up most
//! of what it asks for; a stream ends where its client does not take what it has asked for.

mod frames;
mod gathered;
mod streams;

use std::convert::Infallible;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use service_kit::tls::TlsSession;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::canonical;
use crate::core::Core;
use crate::pipeline;
use crate::serve::client::Client;
pub(super) use crate::serve::http2::frames::Watched;
use crate::serve::http2::gathered::Gathered;
pub(super) use crate::serve::http2::streams::Streams;
use crate::serve::http2::streams::{Local, Stream, StreamBody};
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// Serves until the client is done, idle for too long or hostile, or the worker closes and the answers
/// at hand have gone.
pub(super) async fn serve<S>(
    worker: &Rc<Worker>,
    number: u64,
    (stream, session): (S, Option<TlsSession>),
    client: Client,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let core = &worker.core;
    let connection = connection(client, session);
    let streams = Streams::new();
    let service = service_fn({
        let (worker, streams) = (worker.clone(), streams.clone());
        move |mut request| {
            canonical::settle_connect(&mut request);
            let (worker, connection) = (worker.current(), connection.clone());
            let stream = Stream::open(&streams);
            async move {
                let answer = pipeline::handle(worker, connection, request).await;
                Ok::<_, Infallible>(answer.map(|body| StreamBody::new(body, stream)))
            }
        }
    });
    let watched = Watched::new(stream, streams.clone());
    let (stream, gathered) = Gathered::new(watched, worker.doors.spare.clone());
    let http = builder(core, &streams);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut timer = pin!(tokio::time::sleep(core.timeouts.head));
    // Since when the client knows that it has to go.
    let mut told: Option<Instant> = None;
    let ended = poll_fn(|context| {
        if streams.keep_waker(context.waker()) {
            worker.doors.wake_on_close(number, context.waker());
        }
        if told.is_none() && worker.is_draining() {
            told = Some(Instant::now());
            served.as_mut().graceful_shutdown();
        }
        loop {
            if let Poll::Ready(ended) = go_on(served.as_mut(), &gathered, context) {
                return Poll::Ready(ended);
            }
            if streams.is_abused() {
                return Poll::Ready(Err("the client gives up what it asks for".to_owned()));
            }
            let Some(deadline) = end_of_patience(&streams, told, core.timeouts.head) else {
                return Poll::Pending;
            };
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if told.is_some() || streams.opened() == 0 {
                return Poll::Ready(Ok(()));
            }
            told = Some(Instant::now());
            served.as_mut().graceful_shutdown();
        }
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended early");
    }
}

/// The library first, and then what it has gathered.
fn go_on<F, E, S>(
    served: Pin<&mut F>,
    gathered: &Gathered<S>,
    context: &mut Context<'_>,
) -> Poll<Result<(), String>>
where
    F: Future<Output = Result<(), E>>,
    E: Display,
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Poll::Ready(ended) = served.poll(context) {
        return Poll::Ready(ended.map_err(|error| error.to_string()));
    }
    match gathered.write_out(context) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error.to_string())),
        // It goes on when the client takes more, or has something to say.
        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
    }
}

fn connection(client: Client, session: Option<TlsSession>) -> Rc<Connection> {
    let connection = Connection::of_http2(client.peer)
        .passed_on(client.is_by_tls, client.is_unnamed)
        .by_tls(session.map(Rc::new));
    Rc::new(connection)
}

/// Until when a connection on which nothing is asked is left alone. None: something is.
fn end_of_patience(streams: &Streams, told: Option<Instant>, idle: Duration) -> Option<Instant> {
    let quiet = streams.quiet_since()?;
    Some(match told {
        None => quiet + idle,
        Some(told) => quiet.max(told) + PARTING,
    })
}

fn builder(core: &Core, streams: &Rc<Streams>) -> http2::Builder<Local> {
    let mut http = http2::Builder::new(Local {
        streams: streams.clone(),
        patience: core.timeouts.idle_body,
    });
    http.timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(core.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(core.max_streams)
        // WebSockets (RFC 8441).
        .enable_connect_protocol()
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(ERRORS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    http
}

/// Streams that a client has reset before they were begun on.
const PENDING_RESETS: usize = 20;
/// Streams that had to be reset since the client did what may not be done.
const ERRORS: usize = 64;
/// What a client may send before the upstream takes it, of one request and of all. Many more than one, so that a few that
/// are not taken (an upload, a `WebSocket`) hold up no others; and the library takes the more small pieces that were not read
/// yet, the larger this is (half of it, at up to 255 bytes for each that is smaller than that).
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// What waits for a slow client, of one answer.
const SEND_BUFFER: usize = 128 << 10;
/// A client that was told to go, and takes nothing more, is waited for so long.
const PARTING: Duration = Duration::from_secs(2);
