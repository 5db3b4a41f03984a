//! Serving a control API (PDP, token service, admin) on a listener that is already bound.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Tasks;
use crate::random::Ids;
use crate::tls::{ClientCertificate, Tls};

/// More connections than this are not taken on: each may hold a head's worth of memory.
const MAX_CONNECTIONS: usize = 10_000;

/// A client gets this long to send a request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS handshakes that are worked on at once; others wait for their turn.
const MAX_HANDSHAKES: usize = 1024;

/// A client gets this long for its handshake, the wait for its turn included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until the tasks drain; requests in flight are finished.
///
/// Connections are HTTP/1.1 with a bounded head. Errors of one connection end that connection.
pub async fn serve(listener: TcpListener, router: axum::Router, tasks: Tasks) {
    Server::new(router, None, tasks).run(listener).await;
}

/// The same over TLS. Requests have a [`ClientCertificate`] as an extension where the client showed
/// one that holds.
pub async fn serve_tls(listener: TcpListener, tls: Tls, router: axum::Router, tasks: Tasks) {
    Server::new(router, Some(tls), tasks).run(listener).await;
}

/// What every connection is given.
struct Server {
    router: axum::Router,
    http: hyper::server::conn::http1::Builder,
    tls: Option<(Tls, Arc<Semaphore>)>,
    tasks: Tasks,
}

impl Server {
    fn new(router: axum::Router, tls: Option<Tls>, tasks: Tasks) -> Arc<Self> {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(64 << 10);
        Arc::new(Self {
            router,
            http,
            tls: tls.map(|tls| (tls, Arc::new(Semaphore::new(MAX_HANDSHAKES)))),
            tasks,
        })
    }

    async fn run(self: Arc<Self>, listener: TcpListener) {
        let draining = self.tasks.draining();
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
            let (server, watcher) = (Arc::clone(&self), graceful.watcher());
            self.tasks.spawn(async move {
                server.connection(stream, Peer::new(peer), watcher).await;
                drop(place);
            });
        }
        drop(listener);
        graceful.shutdown().await;
    }

    async fn connection(&self, stream: TcpStream, peer: Peer, watcher: Watcher) {
        let Some((tls, turns)) = &self.tls else {
            return self.requests(stream, (peer, None), watcher).await;
        };
        let (draining, name) = (self.tasks.draining(), Arc::clone(&peer.name));
        let shaken = tokio::select! {
            // Nothing has been asked yet.
            () = draining.cancelled() => return,
            shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(stream, tls, turns)) => shaken,
        };
        match shaken {
            Ok(Ok((stream, certificate))) => {
                self.requests(stream, (peer, certificate), watcher).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, peer = %name, "no TLS handshake"),
            Err(_) => tracing::debug!(peer = %name, "a TLS handshake took too long"),
        }
    }

    async fn requests<S>(
        &self,
        stream: S,
        client: (Peer, Option<ClientCertificate>),
        watcher: Watcher,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = Connected {
            router: TowerToHyperService::new(self.router.clone()),
            client,
        };
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "connection ended early");
        }
    }
}

/// Answers the requests of one connection.
struct Connected {
    router: TowerToHyperService<axum::Router>,
    client: (Peer, Option<ClientCertificate>),
}

impl Service<http::Request<Incoming>> for Connected {
    type Response = Response;
    type Error = Infallible;
    type Future = <TowerToHyperService<axum::Router> as Service<http::Request<Incoming>>>::Future;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        let (peer, certificate) = &self.client;
        request.extensions_mut().insert(peer.clone());
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        self.router.call(request)
    }
}

async fn handshake(
    stream: TcpStream,
    tls: &Tls,
    turns: &Semaphore,
) -> std::io::Result<(TlsStream<TcpStream>, Option<ClientCertificate>)> {
    let _turn = turns.acquire().await.map_err(std::io::Error::other)?;
    let stream = TlsAcceptor::from(tls.current()).accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates();
    let certificate = shown
        .and_then(|chain| chain.first())
        .and_then(ClientCertificate::read);
    Ok((stream, certificate))
}

/// The other end of the connection, for logs and limits. An axum extension.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The address in words, made once for all requests of the connection.
    pub name: Arc<str>,
}

impl Peer {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            name: address.to_string().into(),
        }
    }
}

/// The id of the request that is being answered. An axum extension, set by [`request_id`].
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Middleware: echoes `X-Request-ID` exactly as it came, or makes one; hands it on as
/// [`RequestId`].
pub async fn request_id(mut request: Request, next: Next) -> Result<Response, Infallible> {
    static IDS: LazyLock<Option<Ids>> = LazyLock::new(|| Ids::new().ok());
    let id = match request.headers().get(&X_REQUEST_ID) {
        Some(id) => id.clone(),
        None => IDS
            .as_ref()
            .and_then(|ids| HeaderValue::try_from(ids.next()).ok())
            .unwrap_or_else(|| HeaderValue::from_static("unknown")),
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    Ok(response)
}
