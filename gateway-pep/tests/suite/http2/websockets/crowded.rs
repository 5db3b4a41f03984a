//! Many sockets, and sockets that take nothing: none is in the way of the others, or of requests.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::Request;
use http_body_util::Empty;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{by_http_2, echoes, start, told};
use crate::fixture::{PATIENCE, Setup, eventually};
use crate::http2::{self, CANCEL};
use crate::http2_frames::{
    ACK, DATA, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::upstream::{Speaks, Upstream};

#[tokio::test]
async fn a_socket_that_takes_nothing_holds_up_no_other_and_leaves_nothing_when_it_is_given_up() {
    for speaks in [Speaks::Http1 { idle: None }, Speaks::Http2] {
        let fixture = start(speaks, ", access_log: 'off'").await;
        let mut frames = http2::connect(&fixture).await;
        let mut fields = http2::head("CONNECT", "/ws");
        fields.push((":protocol", "websocket"));
        fields.push(("authorization", "Bearer at_alice"));
        frames.headers(1, &fields, false).await;
        eventually("it is there", || fixture.is("pep_connections", 2.0)).await;
        fills(&mut frames, 1).await;
        let mut other = told(&fixture).await;
        let (mut socket, _) = by_http_2(&mut other, "/ws").await;
        echoes(&mut socket, "not held up").await;
        socket.close(None).await.unwrap();
        while timeout(PATIENCE, socket.next()).await.unwrap().is_some() {}
        drop((socket, other));
        frames.write(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()).await;
        // The client's own connection goes on.
        eventually("the tunnels are over", || {
            fixture.is("pep_connections", 1.0)
        })
        .await;
        // One may be kept for requests.
        eventually("the upstream has its connections back", || {
            fixture.upstream.open() <= 1
        })
        .await;
        let more = (1_u32 << 20).to_be_bytes();
        frames.write(WINDOW_UPDATE, 0, 0, &more).await;
        let request = http2::head("GET", "/public/ok");
        frames.headers(3, &request, true).await;
        assert_eq!(frames.outcome(3).await.status(), Some(200));
    }
}

async fn wish_for_one(frames: &mut Frames<TcpStream>, stream: u32) {
    let mut fields = http2::head("CONNECT", "/ws");
    fields.push((":protocol", "websocket"));
    fields.push(("authorization", "Bearer at_alice"));
    frames.headers(stream, &fields, false).await;
}

/// Others go on on the connection of a client of whom several sockets are not taken.
#[tokio::test]
async fn sockets_that_take_nothing_hold_up_no_upload_on_the_same_connection() {
    let fixture = start(Speaks::Http1 { idle: None }, ", access_log: 'off'").await;
    let mut frames = http2::connect(&fixture).await;
    let mut window = 65_535;
    for stream in [1, 3, 5, 7, 9] {
        wish_for_one(&mut frames, stream).await;
        fills_from(&mut frames, stream, window).await;
        window = 256 << 10;
    }
    let request = http2::head("POST", "/public/echo");
    frames.headers(11, &request, false).await;
    let piece = vec![b'x'; 16 << 10];
    for left in (0..8).rev() {
        let flags = if left == 0 { END_STREAM } else { 0 };
        assert!(frames.write(DATA, flags, 11, &piece).await);
    }
    // What is said back to the sockets fills what the client takes of them all.
    let more = (1_u32 << 20).to_be_bytes();
    frames.write(WINDOW_UPDATE, 0, 0, &more).await;
    assert_eq!(frames.outcome(11).await.status(), Some(200));
    assert_eq!(fixture.upstream.last().body.len(), 8 * piece.len());
}

/// Each in a frame of its own, as some clients have it, and more at once than the library keeps unread.
#[tokio::test]
async fn thousands_of_small_messages_at_once_are_messages() {
    const MESSAGES: usize = 7000;
    for speaks in [Speaks::Http1 { idle: None }, Speaks::Http2] {
        let fixture = start(speaks, ", access_log: 'off'").await;
        let mut frames = http2::connect(&fixture).await;
        let most = (1_u32 << 30).to_be_bytes();
        frames.write(WINDOW_UPDATE, 0, 0, &most).await;
        wish_for_one(&mut frames, 1).await;
        frames.write(WINDOW_UPDATE, 0, 1, &most).await;
        // On the way, what the gateway takes at a time is agreed on.
        while timeout(PATIENCE, frames.next())
            .await
            .unwrap()
            .unwrap()
            .kind
            != HEADERS
        {}
        let mut message = vec![0x81, 0x94, 0, 0, 0, 0];
        message.resize(26, b'x');
        let all = frame(DATA, 0, 1, &message).repeat(MESSAGES);
        assert!(frames.bytes(&all).await);
        let mut echoed = 0;
        // Without a mask.
        while echoed < MESSAGES * (message.len() - 4) {
            let next = timeout(PATIENCE, frames.next()).await.expect("not in time");
            let next = next.expect("the connection ended");
            assert!(![GOAWAY, RST_STREAM].contains(&next.kind), "{next:?}");
            if next.kind == DATA {
                echoed += next.payload.len();
            }
        }
    }
}

/// A socket has a connection of its own, and takes no place on those that are for requests.
#[tokio::test]
async fn sockets_leave_the_connections_for_requests_to_requests() {
    let setup = Setup {
        gateway: "{ workers: 1, h2c: true, access_log: 'off' }".into(),
        upstream: Upstream::start_speaking(Speaks::Http2).await,
        upstream_settings:
            "protocol: http2, http2: { streams: 1, connections: 1 }, pending_ms: 200".into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let mut client = told(&fixture).await;
    let (mut one, _) = by_http_2(&mut client, "/ws").await;
    let (mut other, _) = by_http_2(&mut client, "/ws").await;
    echoes(&mut one, "one").await;
    echoes(&mut other, "other").await;
    let request = || Request::get("http://gw.test/public/ok").body(Empty::new());
    let answer = client.send_request(request().unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(answer);
    // It counts as what it has become, and as nothing when it is over.
    drop((one, other));
    eventually("they are over", || fixture.is("pep_connections", 1.0)).await;
    let slow = Request::get("http://gw.test/public/slow").body(Empty::new());
    let mut second = told(&fixture).await;
    let slow = tokio::spawn(client.send_request(slow.unwrap()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let full = second.send_request(request().unwrap()).await.unwrap();
    assert_eq!(full.status(), 503, "there is one place, as ever");
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
}

/// Sends messages that the upstream says again, to a client that takes 64 KiB and no more: at last nobody takes any.
pub(super) async fn fills(frames: &mut Frames<TcpStream>, stream: u32) {
    fills_from(frames, stream, 65_535).await;
}

/// The same, where the gateway takes so much at first.
async fn fills_from(frames: &mut Frames<TcpStream>, stream: u32, mut window: usize) {
    let mut message = vec![0x81, 0xfe, 0x20, 0x00, 0, 0, 0, 0];
    message.resize(8 + 0x2000, b'x');
    let mut sent = 0;
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        while window >= message.len() {
            assert!(frames.write(DATA, 0, stream, &message).await);
            window -= message.len();
            sent += 1;
        }
        let Ok(next) = timeout(Duration::from_secs(1), frames.next()).await else {
            break;
        };
        let next = next.unwrap();
        if next.kind == WINDOW_UPDATE && next.stream == stream {
            let more = u32::from_be_bytes(next.payload.try_into().unwrap());
            window += usize::try_from(more).unwrap();
        } else if next.kind == SETTINGS && next.flags & ACK == 0 {
            // What the gateway takes of a stream at first.
            window += (256 << 10) - 65_535;
        }
        assert!(Instant::now() < limit, "it takes more and more");
    }
    assert!(sent > 30, "{sent}");
}
