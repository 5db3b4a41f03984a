//! A connection that is open is worth no more than a new one would be.

use std::time::Duration;

use rcgen::SanType;
use service_kit::{Clock as _, ManualClock, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::{OPTIONAL, ask, bare, client, connect, start};
use crate::certificates::{Authority, Issued, TlsClient};
use crate::fixture::Answer;
use crate::tls::{Tls, exchange};

/// On a connection that stays open.
async fn again(stream: &mut TlsStream<TcpStream>) -> u16 {
    again_for(stream, "/mesh/1").await
}

async fn again_for(stream: &mut TlsStream<TcpStream>, path: &str) -> u16 {
    let request = bare(path).replace("Connection: close\r\n", "");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 8192];
    let length = stream.read(&mut buffer).await.unwrap();
    Answer(String::from_utf8_lossy(&buffer[..length]).into_owned()).status()
}

#[tokio::test]
async fn an_open_connection_is_worth_no_more_than_a_new_one_would_be() {
    let clock = ManualClock::at(SystemClock.now());
    let moved = clock.clone();
    let (tls, _) = start(OPTIONAL, |setup| setup.clock = moved).await;
    let job = client(&tls.authority, &["spiffe://x/job"]);
    let brief = tls.authority.issue(&["job.test"], |params| {
        params.not_after = rcgen::date_time_ymd(2060, 1, 1);
        let uri = "spiffe://x/brief".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
    });
    let mut open = connect(&tls, Some(&job)).await;
    let mut ending = connect(&tls, Some(&brief)).await;
    assert_eq!(
        (again(&mut open).await, again(&mut ending).await),
        (200, 200)
    );
    // The authority that stays is believed on, also by connections from before.
    let other = Authority::new();
    tls.files.put(
        "clients.pem",
        &format!("{}{}", tls.authority.pem(), other.pem()),
    );
    wait_for_change(&tls, &client(&other, &["spiffe://x/new"])).await;
    assert_eq!(again(&mut open).await, 200);
    // The one that goes takes its clients along.
    tls.files.put("clients.pem", &other.pem());
    let begin = Instant::now();
    while again(&mut open).await == 200 {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "it counts for ever"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(again(&mut open).await, 401);
    // And it comes back with it.
    tls.files.put("clients.pem", &tls.authority.pem());
    let begin = Instant::now();
    while again(&mut open).await != 200 {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "it counts no more"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(again(&mut ending).await, 200);
    clock.advance(Duration::from_hours(40 * 366 * 24));
    assert_eq!(again(&mut ending).await, 401);
}

#[tokio::test]
async fn what_lasts_ends_with_the_authority_of_its_certificate() {
    let (tls, _) = start(OPTIONAL, |_| {}).await;
    let job = client(&tls.authority, &["spiffe://x/job"]);
    let mut stream = connect(&tls, Some(&job)).await;
    stream
        .write_all(bare("/mesh/feed").as_bytes())
        .await
        .unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    tls.files.put("clients.pem", &Authority::new().pem());
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "it goes on");
}

async fn wait_for_change(tls: &Tls, identity: &Issued) {
    let begin = Instant::now();
    while ask(tls, Some(identity), &bare("/mesh/1")).await.status() != 200 {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "it is not believed"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A new one would not be taken on: who has an open one gets nowhere with it, not even where anybody may pass.
#[tokio::test]
async fn where_a_certificate_is_required_an_open_connection_ends_with_it() {
    let of_tls = format!("{OPTIONAL}, client_certificates: required");
    let clock = ManualClock::at(SystemClock.now());
    let moved = clock.clone();
    let (tls, _) = start(&of_tls, |setup| setup.clock = moved).await;
    let issue = |year| {
        tls.authority.issue(&["job.test"], |params| {
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
        })
    };
    let mut ending = connect(&tls, Some(&issue(2060))).await;
    let mut open = connect(&tls, Some(&issue(2090))).await;
    let mut ask = async |path: &str| {
        (
            again_for(&mut ending, path).await,
            again_for(&mut open, path).await,
        )
    };
    assert_eq!(ask("/public/ok").await, (200, 200));
    clock.advance(Duration::from_hours(40 * 366 * 24));
    for path in ["/public/ok", "/records/1", "/nowhere"] {
        assert_eq!(ask(path).await.0, 421, "{path}");
    }
    assert_eq!(ask("/public/ok").await.1, 200);
    tls.files.put("clients.pem", &Authority::new().pem());
    let begin = Instant::now();
    while ask("/public/ok").await.1 != 421 {
        assert!(begin.elapsed() < Duration::from_secs(10), "it goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is revoked counts for nothing, on open connections too, and so does everything once nobody knows what is.
#[tokio::test]
async fn a_certificate_that_is_revoked_counts_no_more_whatever_is_open() {
    let of_tls = format!("{OPTIONAL}, client_crl_file: 'REVOKED'");
    let clock = ManualClock::at(SystemClock.now());
    let moved = clock.clone();
    let (tls, _) = start(&of_tls, |setup| setup.clock = moved).await;
    let issue = |serial: u64, year| {
        tls.authority.issue(&["job.test"], |params| {
            params.serial_number = Some(serial.into());
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let uri = "spiffe://x/job".try_into().unwrap();
            params.subject_alt_names.push(SanType::URI(uri));
        })
    };
    let (one, other) = (issue(7, 2090), issue(8, 2090));
    let (mut of_one, mut of_other) = (
        connect(&tls, Some(&one)).await,
        connect(&tls, Some(&other)).await,
    );
    assert_eq!(
        (again(&mut of_one).await, again(&mut of_other).await),
        (200, 200)
    );
    let revoked = tls.authority.revocations(&[7], 2060);
    tls.files.put("revoked.pem", &revoked);
    let begin = Instant::now();
    while again(&mut of_one).await != 401 {
        assert!(begin.elapsed() < Duration::from_secs(10), "it goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(again(&mut of_other).await, 200);
    let client = TlsClient::new(&tls.authority, Some(&one));
    let refused = client.connect(tls.fixture.addr, "gw.test").await;
    let request = bare("/mesh/1");
    let answer = match refused {
        Ok(stream) => exchange(stream, &request).await.status(),
        Err(_) => 0,
    };
    assert_eq!(answer, 0, "there is no handshake");
    assert_eq!(ask(&tls, Some(&other), &request).await.status(), 200);
    // The certificate would be good for longer than the list is.
    clock.advance(Duration::from_hours(40 * 366 * 24));
    assert_eq!(again(&mut of_other).await, 401);
}

/// A list that is newer is no reason to ask again and again.
#[tokio::test]
async fn what_lasts_goes_on_across_lists_and_is_looked_at_once() {
    let of_tls = format!("{OPTIONAL}, client_crl_file: 'REVOKED'");
    let (tls, _) = start(&of_tls, |_| {}).await;
    let job = client(&tls.authority, &["spiffe://x/job"]);
    let mut stream = connect(&tls, Some(&job)).await;
    let request = bare("/mesh/feed");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let asked = || tls.fixture.metric("pep_streams_reauthorized_total");
    let list = tls.authority.revocations(&[9], 2061);
    tls.files.put("revoked.pem", &list);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(asked() < 2.0, "{}", asked());
    let reading = stream.read_exact(&mut begun);
    assert!(
        tokio::time::timeout(Duration::from_secs(2), reading)
            .await
            .unwrap()
            .is_ok()
    );
}
