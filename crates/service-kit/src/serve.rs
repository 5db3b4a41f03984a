//! Serving a control API (PDP, token service, admin) on a listener that is already bound.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};
pub use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::listeners::take_late;
use crate::random::Ids;
use crate::tls::{ClientCertificate, Tls, TlsStream};
use crate::{OneWrite, Tasks, Timeouts};

/// More connections than this are not taken on: each may hold a head's worth of memory.
const MAX_CONNECTIONS: usize = 10_000;

/// A client gets this long to send a request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS handshakes that are worked on at once; others wait for their turn.
const MAX_HANDSHAKES: usize = 1024;

/// A client gets this long for its handshake, the wait for its turn included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// When the process drains, connections on which nothing is asked are kept so long: a request may be under way, and it
/// is answered by saying that it was the last of its connection.
const LINGER: Duration = Duration::from_millis(300);

/// A handshake that is under way then gets so long.
const PARTING: Duration = Duration::from_secs(2);

/// What answers requests: a router, or what stands before one.
pub trait Api: Clone + Send + Sync + 'static {
    type Answering: Future<Output = Result<Response, Infallible>> + Send;

    /// Answers a request of this client.
    fn answer(&self, request: http::Request<Incoming>, client: &Client) -> Self::Answering;
}

/// Has the [`Client`] as an extension.
impl Api for axum::Router {
    type Answering = RouteFuture<Infallible>;

    fn answer(&self, mut request: http::Request<Incoming>, client: &Client) -> Self::Answering {
        request.extensions_mut().insert(client.clone());
        self.clone().call(request)
    }
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: SocketAddr,
    /// The address in words, made once for all requests of the connection.
    pub name: Arc<str>,
    /// Where it showed one that holds.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// Serves until the tasks drain; requests in flight are finished.
///
/// Connections are HTTP/1.1 with a bounded head. Errors of one connection end that connection.
pub async fn serve(listener: TcpListener, api: impl Api, tasks: Tasks) {
    Server::new(api, None, tasks).run(listener).await;
}

/// The same over TLS.
pub async fn serve_tls(listener: TcpListener, tls: Tls, api: impl Api, tasks: Tasks) {
    Server::new(api, Some(tls), tasks).run(listener).await;
}

/// What every connection is given.
struct Server<A> {
    api: A,
    http: hyper::server::conn::http1::Builder,
    tls: Option<(Tls, Arc<Semaphore>)>,
    tasks: Tasks,
}

impl<A: Api> Server<A> {
    fn new(api: A, tls: Option<Tls>, tasks: Tasks) -> Arc<Self> {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.max_buf_size(64 << 10);
        Arc::new(Self {
            api,
            http,
            tls: tls.map(|tls| (tls, Arc::new(Semaphore::new(MAX_HANDSHAKES)))),
            tasks,
        })
    }

    async fn run(self: Arc<Self>, listener: TcpListener) {
        let draining = self.tasks.draining();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = draining.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.take_on(stream, peer, &places),
                Err(error) => {
                    // Out of descriptors, say: the next accept would fail at once, too.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        take_late(listener, |stream, peer| self.take_on(stream, peer, &places));
    }

    fn take_on(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, places: &Arc<Semaphore>) {
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            tracing::warn!("too many connections");
            return;
        };
        let _ = stream.set_nodelay(true);
        let server = Arc::clone(self);
        self.tasks.spawn(async move {
            server.connection(stream, Client::of(peer)).await;
            drop(place);
        });
    }

    async fn connection(&self, stream: TcpStream, mut client: Client) {
        let Some((tls, turns)) = &self.tls else {
            return self.requests(OneWrite::new(stream), client).await;
        };
        let draining = self.tasks.draining();
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(stream, tls, turns)) => shaken,
            // A request comes after it, and may find nobody else; whoever only pretends to shake hands is not waited for.
            () = async { draining.cancelled().await; tokio::time::sleep(PARTING).await } => return,
        };
        match shaken {
            Ok(Ok((stream, certificate))) => {
                client.certificate = certificate;
                self.requests(stream, client).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, peer = %client.name, "no TLS handshake"),
            Err(_) => tracing::debug!(peer = %client.name, "a TLS handshake took too long"),
        }
    }

    async fn requests<S>(&self, stream: S, client: Client)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let api = self.api.clone();
        let draining = self.tasks.draining();
        let service = service_fn(|request| {
            let answering = api.answer(request, &client);
            async {
                let mut answer = answering.await?;
                if self.tasks.is_draining() {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut http = self.http.clone();
        http.timer(Timeouts::default())
            .header_read_timeout(HEADER_TIMEOUT);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let leaving = async {
            draining.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        let mut leaving = pin!(leaving);
        let (mut is_watched, mut has_left) = (false, false);
        let ended = poll_fn(|context| {
            // It wakes this task, which was all that it was asked for.
            if !has_left && (!is_watched || self.tasks.is_draining()) {
                is_watched = true;
                has_left = leaving.as_mut().poll(context).is_ready();
                if has_left {
                    connection.as_mut().graceful_shutdown();
                }
            }
            connection.as_mut().poll(context)
        });
        let ended = ended.await;
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
        }
    }
}

async fn handshake(
    stream: TcpStream,
    tls: &Tls,
    turns: &Semaphore,
) -> std::io::Result<(TlsStream<TcpStream>, Option<Arc<ClientCertificate>>)> {
    let _turn = turns.acquire().await.map_err(std::io::Error::other)?;
    let (stream, session) = tls.accept(stream).await?;
    Ok((stream, session.into_client()))
}

impl Client {
    /// One that showed no certificate.
    pub fn of(address: SocketAddr) -> Self {
        Self {
            address,
            name: address.to_string().into(),
            certificate: None,
        }
    }
}

/// The id of the request that is being answered. An axum extension, set by [`request_id`].
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

const X_REQUEST_ID: HeaderName = HeaderName::from_static(RequestId::HEADER);

/// Middleware: echoes `X-Request-ID` exactly as it came, or makes one; hands it on as
/// [`RequestId`].
pub async fn request_id(mut request: Request, next: Next) -> Result<Response, Infallible> {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    id.give(&mut response);
    Ok(response)
}

impl RequestId {
    /// The header, in lower case.
    pub const HEADER: &str = "x-request-id";

    /// As it was sent, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        headers
            .get(&X_REQUEST_ID)
            .map_or_else(Self::new, |id| Self(id.clone()))
    }

    /// Of a request that was sent without one.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        static IDS: LazyLock<Option<Ids>> = LazyLock::new(|| Ids::new().ok());
        let id = IDS.as_ref().map(Ids::next);
        let id = id.and_then(|id| HeaderValue::try_from(id).ok());
        Self(id.unwrap_or_else(|| HeaderValue::from_static("unknown")))
    }

    /// Says it in the answer.
    pub fn give(self, response: &mut Response) {
        response.headers_mut().insert(X_REQUEST_ID, self.0);
    }
}
