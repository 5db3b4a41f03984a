//! Serving a control API (PDP, token service, admin) on a listener that is already bound.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::{Tasks, random};

/// More connections than this are not taken on: each may hold a head's worth of memory.
const MAX_CONNECTIONS: usize = 10_000;

/// A client gets this long to send a request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until the tasks drain; requests in flight are finished.
///
/// Connections are HTTP/1.1 with a bounded head. Errors of one connection end that connection.
pub async fn serve(listener: TcpListener, router: axum::Router, tasks: Tasks) {
    let draining = tasks.draining();
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 << 10);
    loop {
        let accepted = tokio::select! {
            () = draining.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, say: the next accept would fail at once, too.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("too many connections");
            continue;
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone().layer(axum::Extension(Peer(peer)));
        let connection =
            server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let connection = graceful.watch(connection);
        tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The other end of the connection, for logs and limits. An axum extension.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub std::net::SocketAddr);

/// The id of the request that is being answered. An axum extension, set by [`request_id`].
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Middleware: echoes `X-Request-ID` exactly as it came, or makes one; hands it on as
/// [`RequestId`].
pub async fn request_id(mut request: Request, next: Next) -> Result<Response, Infallible> {
    let id = match request.headers().get(&X_REQUEST_ID) {
        Some(id) => id.clone(),
        None => random::id()
            .ok()
            .and_then(|id| HeaderValue::try_from(id).ok())
            .unwrap_or_else(|| HeaderValue::from_static("unknown")),
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    Ok(response)
}
