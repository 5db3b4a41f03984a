//! What began with a session and lasts: it is asked about by the session, and ends with it.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use super::Site;
use super::browser::{Browser, SESSION};
use crate::fixture::{Fixture, PATIENCE, eventually};

const OWN: &str =
    "Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\nOrigin: https://app.test\r\n";

/// A stream that was asked for, and has begun.
async fn open(browser: &Browser) -> TcpStream {
    let mut stream = TcpStream::connect(browser.addr).await.unwrap();
    let session = browser.session().unwrap();
    let request = format!(
        "GET /app/feed HTTP/1.1\r\nHost: app.test\r\n{OWN}Cookie: {SESSION}={session}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("data: 0") {
        let mut buffer = [0; 4096];
        let length = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..length.unwrap()]).unwrap());
    }
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    stream
}

async fn ends(stream: &mut TcpStream, patience: Duration) -> bool {
    let mut rest = Vec::new();
    timeout(patience, stream.read_to_end(&mut rest))
        .await
        .is_ok()
}

async fn held(fixture: &Fixture, streams: f64) {
    eventually("the streams are looked at", || {
        (fixture.metric("pep_streams") - streams).abs() < 0.1
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_no_other_does() {
    let site = Site::start().await;
    let two = site.second().await;
    let (mut leaves, stays) = (site.logged_in().await, site.logged_in().await);
    let (mut ended, mut lasting) = (open(&leaves).await, open(&stays).await);
    held(&site.one, 2.0).await;
    leaves.addr = two.addr;
    let own = OWN.replace("cors", "navigate");
    let answer = leaves
        .send("POST /.cedargate/web/logout", &own, "logout=")
        .await;
    assert_eq!(answer.status(), 303, "{}", answer.0);
    assert!(ends(&mut ended, PATIENCE).await);
    assert!(!ends(&mut lasting, Duration::from_millis(600)).await);
    held(&site.one, 1.0).await;
}

#[tokio::test]
async fn a_stream_goes_on_by_the_access_token_that_its_session_has_now() {
    let site = Site::start().await;
    let browser = site.logged_in().await;
    let mut stream = open(&browser).await;
    held(&site.one, 1.0).await;
    let asked = site.one.pdp.count();
    // The first access token is over by then.
    site.clock.advance(Duration::from_secs(601));
    eventually("it was asked about again", || site.one.pdp.count() > asked).await;
    assert_eq!(site.provider.refreshed.load(Ordering::SeqCst), 1);
    assert!(!ends(&mut stream, Duration::from_millis(600)).await);
    held(&site.one, 1.0).await;
}
