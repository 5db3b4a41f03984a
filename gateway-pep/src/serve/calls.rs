//! Serves a connection at which another proxy calls over gRPC: HTTP/2 from its first byte, many calls at once. One
//! that is flooded with frames that call for nothing ends, as a client's does.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::pipeline::forward_auth::grpc;
use crate::serve::http2::{Streams, Watched};
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// Serves until the proxy is done, or the worker closes and the answers at hand have gone.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    number: u64,
    stream: TcpStream,
    (peer, listener): (IpAddr, usize),
) {
    let core = &worker.core;
    let connection = Rc::new(Connection::new(peer, Arc::default()));
    let service = service_fn({
        let (worker, connection) = (worker.clone(), connection.clone());
        move |request| {
            let (worker, connection) = (worker.current(), connection.clone());
            async move {
                connection.accepts_next();
                Ok::<_, Infallible>(grpc::handle(worker, connection, listener, request).await)
            }
        }
    });
    let mut http = http2::Builder::new(OnThisThread);
    http.timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_CALLS)
        .max_header_list_size(MAX_CALL_HEAD_BYTES);
    let stream = Watched::new(stream, Streams::new());
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    // Whoever connects and says nothing is no proxy.
    let mut patience = pin!(tokio::time::sleep(core.timeouts.head));
    let mut is_told = false;
    let mut is_known = false;
    let ended = poll_fn(|context| {
        if !is_known {
            is_known = true;
            worker.doors.wake_on_close(number, context.waker());
        }
        if !is_told && worker.doors.closing().is_cancelled() {
            is_told = true;
            served.as_mut().graceful_shutdown();
        }
        let ended = served.as_mut().poll(context);
        if ended.is_pending()
            && !connection.has_begun()
            && patience.as_mut().poll(context).is_ready()
        {
            return std::task::Poll::Ready(Ok(()));
        }
        ended
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Calls stay with their connection, on its worker's thread.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F> Executor<F> for OnThisThread
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, call: F) {
        tokio::task::spawn_local(call);
    }
}

const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_CALLS: u32 = 200;
/// Of the call itself. The request's head is in its message.
const MAX_CALL_HEAD_BYTES: u32 = 16 << 10;
