//! `WebSocket` connections, where the client speaks HTTP/2, or the upstream does, or both (RFC 8441): the same is asked, decided and
//! passed on as by HTTP/1.1 alone.

mod crowded;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{CANCEL, client};
use crate::fixture::{Fixture, PATIENCE, Setup, eventually};
use crate::http2_frames::{
    ACK, DATA, END_HEADERS, END_STREAM, HEADERS, Outcome, SETTINGS, block, frame,
};
use crate::upstream::{Speaks, Upstream};

/// What a WebSocket goes over at the client.
trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}
type Socket = WebSocketStream<Box<dyn Pipe>>;
type Client = SendRequest<Empty<Bytes>>;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

async fn start(speaks: Speaks, gateway: &str) -> Fixture {
    start_at(
        Upstream::start_speaking(speaks.clone()).await,
        speaks,
        gateway,
    )
    .await
}

async fn start_at(upstream: Upstream, speaks: Speaks, gateway: &str) -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, h2c: true, streams: {{ grace_secs: 1 }}{gateway} }}"),
        upstream,
        upstream_settings: match speaks {
            Speaks::Http1 { .. } => String::new(),
            _ => "protocol: http2".to_owned(),
        },
        ..Setup::new().await
    };
    setup.start().await
}

/// A client that knows what the gateway takes.
async fn told(fixture: &Fixture) -> Client {
    let mut client: Client = client(fixture).await;
    let request = Request::get("http://gw.test/public/ok");
    let answer = client.send_request(request.body(Empty::new()).unwrap());
    assert_eq!(answer.await.unwrap().status(), 200);
    client
}

fn wish(path: &str, protocol: &'static str) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://gw.test{path}"))
        .extension(Protocol::from_static(protocol))
        .header("authorization", "Bearer at_alice")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat, other")
        .body(Empty::new())
        .unwrap()
}

async fn by_http_2(client: &mut Client, path: &str) -> (Socket, HeaderMap) {
    let response = client.send_request(wish(path, "websocket")).await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    let stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let socket = WebSocketStream::from_raw_socket(Box::new(stream) as _, Role::Client, None);
    (socket.await, headers)
}

async fn by_http_1(fixture: &Fixture, path: &str) -> (Socket, HeaderMap) {
    let mut request = format!("ws://gw.test{path}").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("authorization", "Bearer at_alice".parse().unwrap());
    headers.insert("sec-websocket-protocol", "chat, other".parse().unwrap());
    let stream = Box::new(TcpStream::connect(fixture.addr).await.unwrap());
    let (socket, response) = tokio_tungstenite::client_async(request, stream as Box<dyn Pipe>)
        .await
        .unwrap();
    (socket, response.headers().clone())
}

async fn open(fixture: &Fixture, is_by_http_2: bool) -> (Socket, HeaderMap) {
    if is_by_http_2 {
        by_http_2(&mut told(fixture).await, "/ws").await
    } else {
        by_http_1(fixture, "/ws").await
    }
}

async fn echoes(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let echoed = timeout(PATIENCE, socket.next()).await.unwrap().unwrap();
    assert_eq!(echoed.unwrap().into_text().unwrap().as_str(), text);
}

async fn close_code(socket: &mut Socket) -> CloseCode {
    let message = timeout(PATIENCE, socket.next()).await.unwrap().unwrap();
    let Message::Close(Some(close)) = message.unwrap() else {
        panic!("no closing frame");
    };
    let end = timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(end.is_none_or(|end| end.is_err()));
    close.code
}

fn all() -> impl Iterator<Item = (bool, Speaks)> {
    let upstreams = [Speaks::Http1 { idle: None }, Speaks::Http2];
    [false, true]
        .into_iter()
        .flat_map(move |client| upstreams.clone().map(move |upstream| (client, upstream)))
}

#[tokio::test]
async fn whatever_both_sides_speak_a_socket_is_the_same() {
    let mut asked = Vec::new();
    for (is_by_http_2, speaks) in all() {
        let to_http_2 = matches!(speaks, Speaks::Http2);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.jsonl");
        let log = format!(", access_log: {{ file: '{}' }}", file.display());
        let fixture = start(speaks, &log).await;
        let (mut socket, headers) = open(&fixture, is_by_http_2).await;
        echoes(&mut socket, "hello").await;
        echoes(&mut socket, &"x".repeat(1 << 20)).await;
        assert_eq!(headers["sec-websocket-protocol"], "chat");
        for of_http_1 in ["connection", "upgrade", "sec-websocket-accept"] {
            assert_eq!(
                headers.contains_key(of_http_1),
                !is_by_http_2,
                "{of_http_1}"
            );
        }
        asked.push(fixture.pdp.last());

        let seen = fixture.upstream.last();
        let names = ["connection", "upgrade", "sec-websocket-key", "host"];
        let has = names.map(|name| seen.headers.contains_key(name));
        assert_eq!(has, [!to_http_2; 4], "{:?}", seen.headers);
        let (method, version) = if to_http_2 {
            (Method::CONNECT, Version::HTTP_2)
        } else {
            (Method::GET, Version::HTTP_11)
        };
        assert_eq!((seen.method, seen.version), (method, version));
        assert!(seen.target.ends_with("/ws"), "{}", seen.target);
        assert_eq!(seen.headers["sec-websocket-version"], "13");
        assert_eq!(seen.headers["sec-websocket-protocol"], "chat, other");
        assert_ne!(seen.headers["authorization"], "Bearer at_alice");
        assert!(!seen.headers.contains_key("te"), "{:?}", seen.headers);

        socket.close(None).await.unwrap();
        while timeout(PATIENCE, socket.next()).await.unwrap().is_some() {}
        drop(socket);
        assert!(fixture.gateway.finish(PATIENCE).await);
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let line: Value = lines
            .filter(|line: &Value| line["path"] == "/ws")
            .collect::<Vec<_>>()
            .pop()
            .unwrap();
        assert_eq!(line["method"], "GET", "{line}");
        assert_eq!(line["status"], if is_by_http_2 { 200 } else { 101 });
        let carried = json!((1 << 20) + 5);
        assert!(line["bytes_in"].as_u64() > carried.as_u64(), "{line}");
        assert!(line["bytes_out"].as_u64() > carried.as_u64(), "{line}");
    }
    assert!(asked.windows(2).all(|two| two[0] == two[1]), "{asked:#?}");
}

#[tokio::test]
async fn a_socket_on_a_stream_lasts_only_as_long_as_what_it_was_permitted_by() {
    for (is_by_http_2, speaks) in all() {
        let fixture = start(speaks, ", access_log: 'off'").await;
        let (mut socket, _) = open(&fixture, is_by_http_2).await;
        echoes(&mut socket, "hello").await;
        eventually("it is looked at", || fixture.is("pep_streams", 1.0)).await;
        fixture.tokens.forget("at_alice");
        fixture
            .announce(json!({ "kind": "grant_revoked", "grant": "g_alice" }))
            .await;
        assert_eq!(close_code(&mut socket).await, CloseCode::Policy);
        eventually("the upstream was told, too", || {
            fixture.upstream.closed() == Some(1001)
        })
        .await;
    }
}

#[tokio::test]
async fn at_shutdown_a_socket_on_a_stream_is_closed_in_words() {
    for (is_by_http_2, speaks) in all() {
        let fixture = start(speaks, ", access_log: 'off'").await;
        let (mut socket, _) = open(&fixture, is_by_http_2).await;
        echoes(&mut socket, "hello").await;
        let finished = tokio::spawn(fixture.gateway.finish(PATIENCE));
        assert_eq!(close_code(&mut socket).await, CloseCode::Away);
        drop(socket);
        assert!(finished.await.unwrap());
    }
}

#[tokio::test]
async fn a_connection_with_a_socket_is_in_use_and_open_to_others() {
    let head = ", access_log: 'off', timeouts: { head_secs: 1 }";
    let fixture = start(Speaks::Http2, head).await;
    let mut client = told(&fixture).await;
    let (mut socket, _) = by_http_2(&mut client, "/ws").await;
    let (mut second, _) = by_http_2(&mut client, "/ws").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    echoes(&mut socket, "still here").await;
    echoes(&mut second, "so am I").await;
    let request = Request::get("http://gw.test/public/ok");
    let request = request.body(Empty::new()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
    // Nobody is left: then the connection is idle, and not before.
    drop((socket, second));
    eventually("the sockets are gone", || {
        fixture.is("pep_connections", 1.0)
    })
    .await;
    eventually("it was told to go", || client.is_closed()).await;
}

async fn refused(client: &mut Client, request: Request<Empty<Bytes>>) -> (u16, Value) {
    let response = timeout(PATIENCE, client.send_request(request)).await;
    let (head, body): (_, Incoming) = response.unwrap().unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let problem = serde_json::from_slice(&body).unwrap_or_default();
    (head.status.as_u16(), problem)
}

#[tokio::test]
async fn what_is_no_socket_does_not_become_one() {
    for speaks in [Speaks::Http1 { idle: None }, Speaks::Http2] {
        // Of an upstream that speaks HTTP/2, 200 is how it agrees.
        let unlike = if matches!(speaks, Speaks::Http2) {
            200
        } else {
            502
        };
        let found = ", access_log: 'off', authorization_servers: ['https://as.example']";
        let fixture = start(speaks, found).await;
        let mut client = told(&fixture).await;
        for (path, protocol, status) in [
            // Its route takes none.
            ("/records/1", "websocket", 403),
            // What the gateway answers itself.
            ("/.well-known/oauth-protected-resource", "websocket", 403),
            ("/nowhere", "websocket", 404),
            ("/ws", "connect-udp", 405),
            ("/ws", "WebSocket", 405),
            ("/ws", "h2c", 405),
            // The upstream answers, and does not agree.
            ("/public/ok", "websocket", unlike),
            ("/public/missing", "websocket", 404),
        ] {
            let (told, problem) = refused(&mut client, wish(path, protocol)).await;
            assert_eq!(told, status, "{path} {protocol} {problem}");
        }
        fixture.pdp.denies.store(true, Ordering::SeqCst);
        let (told, problem) = refused(&mut client, wish("/ws", "websocket")).await;
        assert_eq!(told, 403, "{problem}");
        let mut anonymous = wish("/ws", "websocket");
        anonymous.headers_mut().remove("authorization");
        assert_eq!(refused(&mut client, anonymous).await.0, 401);
    }
}

/// A WebSocket by HTTP/1.1, with these as keys.
fn with_keys(keys: &[&str]) -> String {
    let keys = keys.iter().fold(String::new(), |keys, key| {
        keys + "Sec-WebSocket-Key: " + key + "\r\n"
    });
    format!(
        "GET /ws HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\nConnection: upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{keys}\r\n"
    )
}

#[tokio::test]
async fn a_key_that_no_upstream_looks_at_is_looked_at_here() {
    let fixture = start(Speaks::Http2, ", access_log: 'off'").await;
    for keys in [&[][..], &["short"], &[KEY, KEY]] {
        let answer = fixture.raw(&with_keys(keys)).await;
        assert_eq!(answer.status(), 400, "{answer:?}");
    }
    let refused = fixture.metric("pep_ambiguous_requests_total{kind=\"websocket_key\"}");
    assert!((refused - 3.0).abs() < 0.1);
    assert!(fixture.upstream.seen().is_empty());
}

/// An upstream of HTTP/1.1 that says this to every wish.
async fn says(answer: &'static str) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let head = String::from_utf8_lossy(&request);
                    let answer = if head.starts_with("GET /ws") {
                        answer
                    } else {
                        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    Upstream::elsewhere(addr).await
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_our_key_has_not_agreed() {
    for answer in [
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let speaks = Speaks::Http1 { idle: None };
        let fixture = start_at(says(answer).await, speaks, ", access_log: 'off'").await;
        let mut client = told(&fixture).await;
        let (status, problem) = refused(&mut client, wish("/ws", "websocket")).await;
        assert_eq!(status, 502, "{answer} {problem}");
    }
}

#[tokio::test]
async fn an_upstream_that_takes_no_sockets_on_streams_is_not_asked_for_one() {
    let fixture = start(Speaks::Http2WithoutTunnels, ", access_log: 'off'").await;
    let mut client = told(&fixture).await;
    // It could still say that it does.
    for within in [PATIENCE, PATIENCE] {
        let begun = Instant::now();
        let request = client.send_request(wish("/ws", "websocket"));
        let response: Response<Incoming> = request.await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert!(begun.elapsed() < within);
        let answer = fixture.raw(&with_keys(&[KEY])).await;
        assert_eq!(answer.status(), 502, "{answer:?}");
    }
    assert!(
        fixture
            .upstream
            .seen()
            .iter()
            .all(|seen| seen.method == Method::GET)
    );
}

#[tokio::test]
async fn a_socket_on_a_stream_is_a_connection_of_its_client() {
    let limits = ", access_log: 'off', limits: { connections_per_address: 2 }";
    let fixture = start(Speaks::Http2, limits).await;
    let mut client = told(&fixture).await;
    let (mut socket, _) = by_http_2(&mut client, "/ws").await;
    let (status, problem) = refused(&mut client, wish("/ws", "websocket")).await;
    assert_eq!(status, 503);
    assert!(
        problem["type"]
            .as_str()
            .unwrap()
            .ends_with("too-many-connections"),
        "{problem}"
    );
    assert!(fixture.is("pep_connections_refused_total{reason=\"address\"}", 1.0));
    echoes(&mut socket, "hello").await;
    socket.close(None).await.unwrap();
    while timeout(PATIENCE, socket.next()).await.unwrap().is_some() {}
    drop(socket);
    eventually("it is no connection any more", || {
        fixture.is("pep_connections", 1.0)
    })
    .await;
    let (mut socket, _) = by_http_2(&mut client, "/ws").await;
    echoes(&mut socket, "hello").await;
}

#[tokio::test]
async fn whoever_takes_nothing_is_not_waited_for_without_end() {
    for speaks in [Speaks::Http1 { idle: None }, Speaks::Http2] {
        let patience = ", access_log: 'off', timeouts: { idle_body_secs: 2 }";
        let fixture = start(speaks, patience).await;
        let mut frames = super::connect(&fixture).await;
        let mut fields = super::head("CONNECT", "/ws");
        fields.push((":protocol", "websocket"));
        fields.push(("authorization", "Bearer at_alice"));
        frames.headers(1, &fields, false).await;
        eventually("it is there", || fixture.is("pep_connections", 2.0)).await;
        crowded::fills(&mut frames, 1).await;
        // The stream, too, is given up then.
        assert_eq!(frames.outcome(1).await, Outcome::Reset(CANCEL));
        assert!(fixture.is("pep_connections", 1.0));
    }
}

/// An upstream of HTTP/1.1 that agrees, and then neither says anything nor looks whether anybody is there.
async fn deaf() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn(async move {
                loop {
                    let mut request = [0; 4096];
                    let read = stream.read(&mut request).await.unwrap();
                    let head = String::from_utf8_lossy(&request[..read]);
                    let Some(at) = head.to_lowercase().find("sec-websocket-key: ") else {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        stream.write_all(answer).await.unwrap();
                        continue;
                    };
                    let accept = derive_accept_key(&request[at + 19..at + 43]);
                    let answer = format!(
                        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: {accept}\r\nContent-Length: 5\r\n\r\n"
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    Upstream::elsewhere(addr).await
}

#[tokio::test]
async fn an_end_that_the_other_side_does_not_hear_is_one() {
    let speaks = Speaks::Http1 { idle: None };
    let patience = ", access_log: 'off', timeouts: { idle_body_secs: 2 }";
    let fixture = start_at(deaf().await, speaks, patience).await;
    let mut client = told(&fixture).await;
    let (socket, _) = by_http_2(&mut client, "/ws").await;
    assert!(fixture.is("pep_connections", 2.0));
    // As long as both are there nothing need be said.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(fixture.is("pep_connections", 2.0));
    drop(socket);
    eventually("it is over", || fixture.is("pep_connections", 1.0)).await;
}

#[tokio::test]
async fn a_wish_that_says_how_long_nothing_is_can_come_true() {
    let fixture = start(Speaks::Http2, ", access_log: 'off'").await;
    let mut request = "ws://gw.test/ws".into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("authorization", "Bearer at_alice".parse().unwrap());
    headers.insert("content-length", "0".parse().unwrap());
    let stream = Box::new(TcpStream::connect(fixture.addr).await.unwrap());
    let opened = tokio_tungstenite::client_async(request, stream as Box<dyn Pipe>).await;
    let (mut socket, _) = opened.unwrap();
    echoes(&mut socket, "hello").await;
    let seen = fixture.upstream.last();
    assert!(!seen.headers.contains_key("content-length"), "{seen:?}");
}

/// An upstream of HTTP/2 that takes wishes, and answers them with a page.
async fn answers_with_a_page() -> Upstream {
    const ENABLE_CONNECT_PROTOCOL: [u8; 6] = [0, 8, 0, 0, 0, 1];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn(async move {
                let mut preface = [0; 24];
                stream.read_exact(&mut preface).await.unwrap();
                let settings = frame(SETTINGS, 0, 0, &ENABLE_CONNECT_PROTOCOL);
                stream.write_all(&settings).await.unwrap();
                loop {
                    let mut head = [0; 9];
                    if stream.read_exact(&mut head).await.is_err() {
                        return;
                    }
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    let mut payload = vec![0; usize::try_from(length).unwrap()];
                    stream.read_exact(&mut payload).await.unwrap();
                    let answer = match head[3] {
                        SETTINGS if head[4] & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
                        HEADERS => {
                            let fields = block(&[(":status", "200"), ("content-length", "5")]);
                            let mut page = frame(HEADERS, END_HEADERS, id, &fields);
                            page.extend(frame(DATA, END_STREAM, id, b"hello"));
                            page
                        }
                        _ => continue,
                    };
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    Upstream::elsewhere(addr).await
}

#[tokio::test]
async fn an_upstream_that_answers_a_wish_with_a_page_is_as_well_as_before() {
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', h2c: true }".into(),
        upstream: answers_with_a_page().await,
        upstream_settings: "protocol: http2, outlier_detection: { consecutive_failures: 2 }".into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let mut client = told(&fixture).await;
    for _ in 0..5 {
        let (status, problem) = refused(&mut client, wish("/ws", "websocket")).await;
        assert_eq!(status, 502, "{problem}");
    }
    assert!(fixture.metric("pep_upstream_endpoint_ejections_total") < 0.5);
}
