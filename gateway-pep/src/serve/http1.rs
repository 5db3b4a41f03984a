//! HTTP/1.1 on a connection: one message after the other, read twice (see [`crate::guard`]).

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use service_kit::Timeouts;
use service_kit::tls::TlsSession;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::guard::Guarded;
use crate::pipeline;
use crate::serve::client::{Client, Purpose};
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// Serves until the client is done, or the worker closes and the answer at hand has gone.
pub(super) async fn serve<S>(
    worker: &Rc<Worker>,
    number: u64,
    (stream, session): (S, Option<TlsSession>),
    client: Client,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let core = &worker.core;
    let (guarded, findings) = Guarded::new(stream, core.head_bytes, core.timeouts.idle_body);
    let connection = Connection::new(client.peer, findings)
        .passed_on(client.is_by_tls, client.is_unnamed)
        .by_tls(session.map(Rc::new));
    let connection = Rc::new(connection);
    let service = service_fn(|request| {
        let (worker, connection) = (worker.current(), connection.clone());
        async move {
            Ok::<_, Infallible>(match client.purpose {
                Purpose::Forward => pipeline::handle(worker, connection, request).await,
                Purpose::Ask(listener) => {
                    pipeline::forward_auth::handle(worker, connection, listener, request).await
                }
            })
        }
    });
    let mut http = http1::Builder::new();
    http.timer(Timeouts::default())
        .header_read_timeout(core.timeouts.head)
        .max_buf_size(core.head_bytes.max(64 << 10))
        .max_header_size(core.head_bytes);
    // Its own default is kept on the stack.
    if core.max_headers != PARSER_HEADERS {
        http.max_headers(core.max_headers);
    }
    let mut served = pin!(
        http.serve_connection(TokioIo::new(guarded), service)
            .with_upgrades()
    );
    // Whoever has just connected, after a long handshake, say, is about to ask.
    let mut fresh = pin!(tokio::time::sleep(core.timeouts.linger));
    let mut is_told = false;
    let mut is_known = false;
    let ended = poll_fn(|context| {
        if !is_known {
            is_known = true;
            worker.doors.wake_on_close(number, context.waker());
        }
        if !is_told
            && worker.doors.closing().is_cancelled()
            && (connection.has_begun() || fresh.as_mut().poll(context).is_ready())
        {
            is_told = true;
            served.as_mut().graceful_shutdown();
        }
        served.as_mut().poll(context)
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

const PARSER_HEADERS: usize = 100;
