//! `WebSocket` connections, which are told that they are over where that breaks no frame.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{QUICK, fixture, held, policy_changed};
use crate::fixture::{Fixture, LOG, PATIENCE, eventually};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(fixture: &Fixture) -> Socket {
    let url = format!("ws://{}/ws", fixture.addr);
    let mut request = url.into_client_request().unwrap();
    let token = "Bearer at_alice".parse().unwrap();
    request.headers_mut().insert("authorization", token);
    let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    socket
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

#[tokio::test]
async fn a_tunnel_is_closed_in_words_when_it_may_not_go_on() {
    let fixture = fixture(QUICK).await;
    let mut socket = connect(&fixture).await;
    echoes(&mut socket, "hello").await;
    held(&fixture, 1.0).await;
    fixture.announce_and_wait(policy_changed()).await;
    eventually("it was asked about again", || fixture.pdp.count() == 2).await;
    echoes(&mut socket, &"x".repeat(100_000)).await;
    fixture.tokens.forget("at_alice");
    fixture
        .announce(json!({ "kind": "grant_revoked", "grant": "g_alice" }))
        .await;
    assert_eq!(close_code(&mut socket).await, CloseCode::Policy);
    held(&fixture, 0.0).await;
    eventually("the upstream was told, too", || {
        fixture.upstream.closed() == Some(1001)
    })
    .await;
}

#[tokio::test]
async fn no_words_are_put_into_a_frame_that_is_under_way() {
    let fixture = fixture(QUICK).await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer at_alice\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    held(&fixture, 1.0).await;
    // Half of a masked frame of four bytes: the upstream waits for the rest.
    stream
        .write_all(&[0x81, 0x84, 0, 0, 0, 0, b'h', b'a'])
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    fixture.pdp.denies.store(true, Ordering::SeqCst);
    fixture.announce(policy_changed()).await;
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    end.unwrap().unwrap();
    // Towards the client there was no frame under way.
    assert!(rest.ends_with(&[0x88, 2, 0x03, 0xf0]), "{rest:?}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        fixture.upstream.closed(),
        None,
        "a broken frame ends without words"
    );
}

#[tokio::test]
async fn a_tunnel_is_logged_when_it_ends_and_closed_in_words_at_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.jsonl");
    let log = format!("access_log: {{ file: '{}' }}", file.display());
    let fixture = fixture(&QUICK.replace("access_log: 'off'", &log)).await;
    let mut socket = connect(&fixture).await;
    echoes(&mut socket, "hello").await;
    let finished = tokio::spawn(fixture.gateway.finish(PATIENCE));
    assert_eq!(close_code(&mut socket).await, CloseCode::Away);
    assert!(finished.await.unwrap());
    let text = std::fs::read_to_string(&file).unwrap();
    let line: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(
        (&line["status"], &line["bytes_out"]),
        (&json!(101), &json!(7))
    );
    assert_eq!(line["bytes_in"], 11);
}

#[tokio::test]
async fn where_another_process_serves_a_tunnel_goes_on_under_watch_and_up_to_a_bound() {
    for is_revoked in [true, false] {
        let fixture = fixture(QUICK).await;
        let mut socket = connect(&fixture).await;
        echoes(&mut socket, "hello").await;
        held(&fixture, 1.0).await;
        let (addr, tasks, events) = (fixture.addr, fixture.tasks.clone(), fixture.events.clone());
        let bound = Duration::from_secs(3);
        let begun = tokio::time::Instant::now();
        let finished = tokio::spawn(fixture.gateway.finish_succeeded(bound));
        eventually("nothing new is taken", || tasks.draining().is_cancelled()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(TcpStream::connect(addr).await.is_err());
        echoes(&mut socket, "still here").await;
        if is_revoked {
            fixture.pdp.denies.store(true, Ordering::SeqCst);
            let told = policy_changed().to_string();
            events.append(LOG, told.into()).await.unwrap();
            assert_eq!(close_code(&mut socket).await, CloseCode::Policy);
            assert!(begun.elapsed() < bound);
        } else {
            assert_eq!(close_code(&mut socket).await, CloseCode::Away);
            assert!(begun.elapsed() >= bound);
        }
        assert!(finished.await.unwrap(), "nothing was cut off");
    }
}
