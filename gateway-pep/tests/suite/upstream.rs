//! An upstream that records every request and answers by path.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
    pub(crate) version: Version,
    pub(crate) connection: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Heads of requests whose body never came whole.
    broken: Arc<Mutex<usize>>,
    /// How the last WebSocket was closed.
    closed: Arc<Mutex<Option<u16>>>,
    /// How long it takes over every answer.
    delay: Arc<Mutex<Duration>>,
    /// Requests that nobody has waited for.
    given_up: Arc<AtomicUsize>,
    /// Bytes of floods that the HTTP library has asked for.
    sent: Arc<AtomicUsize>,
    /// By which TLS it was reached.
    pub(crate) names: Arc<Mutex<Vec<String>>>,
    /// Connections on which a client certificate was shown.
    pub(crate) certified: Arc<Mutex<usize>>,
    /// Connections of HTTP/2 that are open.
    open: Arc<AtomicUsize>,
    /// What `/healthz` and `…/status` answer.
    status: Arc<AtomicU16>,
    /// Times that it was asked how it is.
    checks: Arc<AtomicUsize>,
}

/// What an upstream speaks.
#[derive(Clone)]
pub(crate) enum Speaks {
    Http1 {
        idle: Option<Duration>,
    },
    /// With tunnels (RFC 8441).
    Http2,
    Http2WithoutTunnels,
    /// What is agreed on.
    Tls(TlsAcceptor),
}

/// The length of a flood.
pub(crate) const FLOOD: usize = 128 << 20;
const PIECE: usize = 64 << 10;

type Body = BoxBody<Bytes, Infallible>;

const LIST: &str = r#"{"total":4,"items":[ {"id":"1","ssn":"s1"}, {"id":"forbidden","ssn":"s2"},{"id":3,"ssn":"s3"},{"ssn":"s4"}]}"#;

impl Upstream {
    pub(crate) async fn start() -> Self {
        Self::start_closing_after(None).await
    }

    /// Closes each connection that was idle for so long.
    pub(crate) async fn start_closing_after(idle: Option<Duration>) -> Self {
        Self::start_speaking(Speaks::Http1 { idle }).await
    }

    /// One that somebody else is, there.
    pub(crate) async fn elsewhere(addr: SocketAddr) -> Self {
        let mut upstream = Self::start().await;
        upstream.addr = addr;
        upstream
    }

    pub(crate) async fn start_speaking(speaks: Speaks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            addr: listener.local_addr().unwrap(),
            seen: Arc::default(),
            broken: Arc::default(),
            closed: Arc::default(),
            delay: Arc::default(),
            given_up: Arc::default(),
            sent: Arc::default(),
            names: Arc::default(),
            certified: Arc::default(),
            open: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            checks: Arc::default(),
        };
        let serving = upstream.clone();
        tokio::task::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (serving, speaks) = (serving.clone(), speaks.clone());
                tokio::task::spawn(async move {
                    match speaks {
                        Speaks::Http1 { idle } => serving.serve(stream, connection, idle).await,
                        Speaks::Http2 => serving.serve_http2(stream, connection, true).await,
                        Speaks::Http2WithoutTunnels => {
                            serving.serve_http2(stream, connection, false).await;
                        }
                        Speaks::Tls(acceptor) => {
                            serving.serve_tls(stream, connection, &acceptor).await;
                        }
                    }
                });
            }
        });
        upstream
    }

    async fn serve_tls(&self, stream: TcpStream, number: usize, acceptor: &TlsAcceptor) {
        let Ok(stream) = acceptor.accept(stream).await else {
            return;
        };
        if let Some(name) = stream.get_ref().1.server_name() {
            self.names.lock().unwrap().push(name.to_owned());
        }
        let shown = stream.get_ref().1.peer_certificates();
        *self.certified.lock().unwrap() += usize::from(shown.is_some_and(|it| !it.is_empty()));
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.serve_http2(stream, number, true).await;
        } else {
            self.serve(stream, number, None).await;
        }
    }

    async fn serve_http2<S>(&self, stream: S, number: usize, takes_tunnels: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let serving = self.clone();
        let service = service_fn(move |request| {
            let serving = serving.clone();
            async move { Ok::<_, Infallible>(serving.answer(request, number).await) }
        });
        let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        if takes_tunnels {
            http.enable_connect_protocol();
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn serve<S>(&self, stream: S, number: usize, idle: Option<Duration>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service =
            service_fn(
                |request| async move { Ok::<_, Infallible>(self.answer(request, number).await) },
            );
        let mut http = hyper::server::conn::http1::Builder::new();
        if let Some(idle) = idle {
            http.timer(hyper_util::rt::TokioTimer::new())
                .header_read_timeout(idle);
        }
        let _ = http
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    }

    async fn answer(&self, mut request: Request<Incoming>, connection: usize) -> Response<Body> {
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        if parts.uri.path() == "/healthz" {
            return self.health(&parts.headers);
        }
        if parts.uri.path().ends_with("/deaf") {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let Ok(body) = body.collect().await else {
            *self.broken.lock().unwrap() += 1;
            return Response::new(whole(""));
        };
        let path = parts.uri.path().to_owned();
        let protocol = parts.extensions.get::<Protocol>();
        let wishes = protocol.is_some_and(|it| it.as_str() == "websocket")
            || parts.headers.contains_key(header::UPGRADE);
        self.seen.lock().unwrap().push(Seen {
            method: parts.method,
            target: parts.uri.to_string(),
            headers: parts.headers.clone(),
            trailers: body.trailers().cloned().unwrap_or_default(),
            version: parts.version,
            body: body.to_bytes(),
            connection,
        });
        let delay = *self.delay.lock().unwrap();
        let unanswered = Unanswered(&self.given_up);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        std::mem::forget(unanswered);
        match path.rsplit('/').next().unwrap() {
            "ws" if wishes => switch(&parts.headers, upgrade, self.closed.clone()),
            _ => self.by_path(&path).await,
        }
    }

    async fn by_path(&self, path: &str) -> Response<Body> {
        match path.rsplit('/').next().unwrap() {
            "slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                json("{\"slow\":true}")
            }
            "slower" => {
                tokio::time::sleep(Duration::from_millis(1300)).await;
                json("{\"slow\":true}")
            }
            "status" => self.by_status(),
            "never" => std::future::pending().await,
            "events" => events(5, Duration::from_secs(1)),
            "feed" => events(100_000, Duration::from_millis(100)),
            "halting" => halting("{\"id\":\"1001\",", "\"ssn\":\"078-05-1120\"}"),
            "halting-list" => halting("{\"items\":[{\"id\":\"1\"},", "{\"id\":3}]}"),
            "silent" => events(2, Duration::from_mins(10)),
            "big" => json(&format!(
                "{{\"ssn\":\"1\",\"pad\":\"{}\"}}",
                "x".repeat(200_000)
            )),
            "list" => json(LIST),
            "long-list" => json(&format!(
                "{{\"items\":[{}]}}",
                ["{\"id\":1}"; 1001].join(",")
            )),
            "no-list" => json("{\"items\":{\"id\":\"1\"}}"),
            "twice" => json("{\"items\":[],\"items\":[{\"id\":\"forbidden\"}]}"),
            // More than the system keeps for a client that does not read.
            "huge" => Response::new(whole(&"x".repeat(32 << 20))),
            "trailers" => trailers(),
            "flood" => self.flood(),
            "text" => Response::new(whole("ssn: 1")),
            "broken-json" => json("{\"ssn\":\"1\""),
            "cors" => Response::builder()
                .header("access-control-allow-origin", "*")
                .header("access-control-allow-credentials", "true")
                .header("access-control-expose-headers", "X-Of-Upstream")
                .header("vary", "Accept")
                .body(whole("{}"))
                .unwrap(),
            "missing" => {
                let mut response = json("{\"ssn\":\"1\",\"error\":true}");
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
            _ => json("{\"id\":\"1001\",\"ssn\":\"078-05-1120\",\"n\":1.0}"),
        }
    }

    /// As fast as it is taken, and counted.
    fn flood(&self) -> Response<Body> {
        let sent = self.sent.clone();
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let pieces = (0..FLOOD / PIECE).map(move |_| {
            sent.fetch_add(PIECE, Ordering::SeqCst);
            Ok(Frame::data(piece.clone()))
        });
        Response::new(StreamBody::new(stream::iter(pieces)).boxed())
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the upstream saw nothing")
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(crate) fn closed(&self) -> Option<u16> {
        *self.closed.lock().unwrap()
    }

    fn health(&self, headers: &HeaderMap) -> Response<Body> {
        assert!(!headers.contains_key("authorization"));
        self.checks.fetch_add(1, Ordering::SeqCst);
        self.by_status()
    }

    fn by_status(&self) -> Response<Body> {
        let mut response = json("{}");
        *response.status_mut() = StatusCode::from_u16(self.status.load(Ordering::SeqCst)).unwrap();
        response
    }

    pub(crate) fn takes(&self, millis: u64) {
        *self.delay.lock().unwrap() = Duration::from_millis(millis);
    }

    pub(crate) fn given_up(&self) -> usize {
        self.given_up.load(Ordering::SeqCst)
    }

    pub(crate) fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub(crate) fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    pub(crate) fn broken(&self) -> usize {
        *self.broken.lock().unwrap()
    }
}

/// Counts where it is dropped.
struct Unanswered<'a>(&'a AtomicUsize);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn whole(body: &str) -> Body {
    Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed()
}

fn json(body: &str) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/json")
        .header("etag", "\"1\"")
        .header("keep-alive", "timeout=5")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-own", "2")
        .body(whole(body))
        .unwrap()
}

/// JSON in two pieces, the second after a pause that is long.
fn halting(first: &'static str, second: &'static str) -> Response<Body> {
    let pieces = stream::unfold(Some(first), move |piece| async move {
        let piece = piece?;
        if piece == second {
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
        let next = (piece == first).then_some(second);
        Some((Ok(Frame::data(Bytes::from(piece))), next))
    });
    Response::builder()
        .header("content-type", "application/json")
        .body(StreamBody::new(sync(pieces)).boxed())
        .unwrap()
}

/// A body, and fields after it: some that may be there, and some that may not.
fn trailers() -> Response<Body> {
    let mut fields = HeaderMap::new();
    fields.insert("x-checksum", "7".parse().unwrap());
    fields.insert("x-auth-subject", "admin".parse().unwrap());
    fields.insert("set-cookie", "a=b".parse().unwrap());
    let frames = [
        Frame::data(Bytes::from_static(b"whole")),
        Frame::trailers(fields),
    ];
    Response::builder()
        .header("trailer", "x-checksum, x-auth-subject, set-cookie")
        .body(StreamBody::new(stream::iter(frames.map(Ok))).boxed())
        .unwrap()
}

/// One event at once, the next after a pause.
fn events(most: u32, pause: Duration) -> Response<Body> {
    let events = stream::unfold(0, move |count| async move {
        if count > 0 {
            tokio::time::sleep(pause).await;
        }
        let event = Frame::data(Bytes::from(format!("data: {count}\n\n")));
        (count < most).then_some((Ok(event), count + 1))
    });
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(StreamBody::new(sync(events)).boxed())
        .unwrap()
}

fn sync<S>(stream: S) -> impl stream::Stream<Item = S::Item> + Send + Sync
where
    S: stream::Stream + Send + 'static,
    S::Item: Send,
{
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::task::spawn(async move {
        let mut stream = Box::pin(stream);
        while let Some(item) = futures_util::StreamExt::next(&mut stream).await {
            if sender.send(item).await.is_err() {
                return;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

/// Echoes WebSocket messages.
fn switch(
    headers: &HeaderMap,
    upgrade: OnUpgrade,
    closed: Arc<Mutex<Option<u16>>>,
) -> Response<Body> {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
    use tokio_tungstenite::tungstenite::protocol::Role;
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    tokio::task::spawn(async move {
        let io = TokioIo::new(upgrade.await.unwrap());
        let mut socket =
            tokio_tungstenite::WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if let tokio_tungstenite::tungstenite::Message::Close(Some(close)) = &message {
                *closed.lock().unwrap() = Some(close.code.into());
            }
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let answer = match accept {
        Some(accept) => Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", accept),
        None => Response::builder(),
    };
    // The first that is wished for is spoken.
    let spoken = headers.get(header::SEC_WEBSOCKET_PROTOCOL);
    let spoken = spoken.and_then(|wished| wished.to_str().ok()?.split(',').next());
    let answer = match spoken {
        Some(spoken) => answer.header(header::SEC_WEBSOCKET_PROTOCOL, spoken),
        None => answer,
    };
    answer.body(whole("")).unwrap()
}
