//! How long an upstream may take: on a route, in all, and what becomes of an answer that takes longer.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::fixture::{Fixture, Setup, get};

const ROUTES: &str = "
  - { match: '/patient/{*rest}', methods: ['*'], upstream: a, public: true, timeouts: { response_secs: 4 } }
  - { match: '/brief/{*rest}', methods: ['*'], upstream: a, public: true, timeouts: { total_secs: 1 } }
  - { match: '/still/{*rest}', methods: ['*'], upstream: a, public: true, timeouts: { idle_body_secs: 1 } }
";

async fn fixture() -> Fixture {
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', timeouts: { response_secs: 9 } }".into(),
        upstream_settings: "timeouts: { response_secs: 1 }".into(),
        more_routes: ROUTES,
        ..Setup::new().await
    };
    setup.start().await
}

/// An answer up to its end, and how long it took.
async fn whole(fixture: &Fixture, path: &str) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    stream.write_all(get(path, "x").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer));
    // Broken off is an end, too.
    let _ = read.await.expect("it ends");
    (
        String::from_utf8_lossy(&answer).into_owned(),
        begun.elapsed(),
    )
}

#[tokio::test]
async fn a_route_may_have_more_time_than_its_upstream_and_that_less_than_others() {
    let fixture = fixture().await;
    let (answer, took) = whole(&fixture, "/public/slower").await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(took < Duration::from_millis(1_250), "{took:?}");
    let (answer, _) = whole(&fixture, "/patient/slower").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_in_all_or_stands_still_is_broken_off() {
    let fixture = fixture().await;
    for (path, expected) in [
        ("/brief/feed", "HTTP/1.1 200"),
        ("/brief/slower", "HTTP/1.1 504"),
        ("/still/silent", "HTTP/1.1 200"),
    ] {
        let (answer, took) = whole(&fixture, path).await;
        assert!(answer.starts_with(expected), "{path}: {answer}");
        let is_in_time = (900..1_900).contains(&took.as_millis());
        assert!(is_in_time, "{path}: {took:?}");
        // Whoever reads it can tell that it has not come to its end.
        let is_whole = answer.ends_with("0\r\n\r\n");
        assert!(!is_whole, "{path}: {answer}");
    }
    // What comes in time is not touched.
    let (answer, _) = whole(&fixture, "/brief/big").await;
    assert!(answer.len() > 200_000);
}
