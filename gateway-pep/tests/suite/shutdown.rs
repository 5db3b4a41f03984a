//! Ending without losing a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::fixture::{Fixture, PATIENCE, Setup, get, raw};

#[tokio::test]
async fn a_request_in_flight_is_finished() {
    let fixture = Fixture::start().await;
    let addr = fixture.addr;
    let waiting =
        tokio::task::spawn(async move { raw(addr, &get("/records/slow", "at_alice")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(fixture.gateway.finish(PATIENCE).await);
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status(), answer.body()), (200, "{\"slow\":true}"));
    assert!(TcpStream::connect(addr).await.is_err());
    assert!(fixture.tasks.finish(PATIENCE).await);
}

#[tokio::test]
async fn under_load_every_request_that_was_sent_is_answered() {
    let gateway = "{ workers: 2, access_log: 'off', timeouts: { linger_ms: 500 } }".into();
    let fixture = Setup {
        gateway,
        ..Setup::new().await
    }
    .start()
    .await;
    let (addr, stop) = (fixture.addr, Arc::new(AtomicBool::new(false)));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (stop, answered) = (stop.clone(), answered.clone());
            tokio::task::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let Ok(stream) = TcpStream::connect(addr).await else {
                        return;
                    };
                    use_connection(stream, &answered).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(fixture.gateway.finish(PATIENCE).await);
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!(answered.load(Ordering::SeqCst) > 100);
}

/// Sends requests until the gateway says that the connection ends; each must be answered.
async fn use_connection(mut stream: TcpStream, answered: &AtomicUsize) {
    let request = get("/records/1", "at_alice").replace("Connection: close\r\n", "");
    let mut buffer = vec![0; 8192];
    loop {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with('}') {
            let length = stream.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0, "closed without an answer, after {answer:?}");
            answer.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answered.fetch_add(1, Ordering::SeqCst);
        if answer.to_lowercase().contains("connection: close") {
            return;
        }
    }
}

#[tokio::test]
async fn patience_ends_and_says_so() {
    let fixture = Fixture::start().await;
    let addr = fixture.addr;
    let waiting =
        tokio::task::spawn(async move { raw(addr, &get("/records/never", "at_alice")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    assert!(!fixture.gateway.finish(Duration::from_millis(700)).await);
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(waiting.await.unwrap().status(), 0);
}
