//! Upstreams that are reached by TLS: whom the gateway believes there, what it shows, and what it says.

use std::time::Duration;

use http::Version;

use crate::certificates::{Authority, Files, Issued};
use crate::fixture::{Fixture, Setup, eventually};
use crate::upstream::{Speaks, Upstream};

/// Of the upstream, and of the gateway at it.
struct Secure {
    authority: Authority,
    files: Files,
}

impl Secure {
    fn new() -> Self {
        Self {
            authority: Authority::new(),
            files: Files::new(),
        }
    }

    fn ca(&self) -> String {
        let path = self.files.put("ca.pem", &self.authority.pem());
        format!("ca_file: '{}'", path.display())
    }

    fn server(&self) -> Issued {
        self.authority.server(&["127.0.0.1", "api.internal"])
    }

    /// `tls`: its settings.
    async fn start(&self, speaks: Speaks, protocol: &str, tls: &str) -> Fixture {
        let setup = Setup {
            upstream: Upstream::start_speaking(speaks).await,
            upstream_scheme: "https",
            upstream_settings: format!("protocol: {protocol}, tls: {{ {tls} }}"),
            ..Setup::new().await
        };
        setup.start().await
    }
}

const BOTH: [&str; 2] = ["h2", "http/1.1"];

async fn status(fixture: &Fixture) -> u16 {
    fixture.get("/records/1", "at_alice").await.status()
}

#[tokio::test]
async fn whichever_protocol_is_configured_is_agreed_on() {
    let secure = Secure::new();
    for (protocol, version, offered) in [
        ("http1", Version::HTTP_11, &BOTH[..]),
        ("http2", Version::HTTP_2, &BOTH[..]),
        // Whoever says nothing speaks HTTP/1.1.
        ("http1", Version::HTTP_11, &[]),
    ] {
        let speaks = Speaks::Tls(secure.server().acceptor(offered, None));
        let fixture = secure.start(speaks, protocol, &secure.ca()).await;
        for _ in 0..3 {
            assert_eq!(status(&fixture).await, 200);
        }
        assert_eq!(fixture.upstream.last().version, version);
        assert!(fixture.is("pep_upstream_connects_total", 1.0));
        // An address is no name to be told.
        assert!(fixture.upstream.names.lock().unwrap().is_empty());
    }
    let speaks = Speaks::Tls(secure.server().acceptor(&["http/1.1"], None));
    let fixture = secure.start(speaks, "http2", &secure.ca()).await;
    assert_eq!(status(&fixture).await, 502);
    let tls = format!("{}, server_name: api.internal", secure.ca());
    let speaks = Speaks::Tls(secure.server().acceptor(&BOTH, None));
    let fixture = secure.start(speaks, "http2", &tls).await;
    assert_eq!(status(&fixture).await, 200);
    let told = fixture.upstream.names.lock().unwrap().clone();
    assert_eq!(told, ["api.internal"]);
    let host = fixture.upstream.addr.to_string();
    assert!(fixture.upstream.last().target.contains(&host));
}

/// SECURITY: a token is sent to nobody who cannot show who they are.
#[tokio::test]
async fn who_cannot_be_believed_is_sent_nothing() {
    let (secure, other) = (Secure::new(), Secure::new());
    let by_name = format!("{}, server_name: other.internal", secure.ca());
    for (why, tls) in [
        ("another authority", other.ca()),
        ("another name", by_name),
        ("not of the system", String::new()),
    ] {
        for protocol in ["http1", "http2"] {
            let speaks = Speaks::Tls(secure.server().acceptor(&BOTH, None));
            let fixture = secure.start(speaks, protocol, &tls).await;
            assert_eq!(status(&fixture).await, 502, "{why}");
            assert!(fixture.upstream.seen().is_empty(), "{why}");
        }
    }
    let plain = Speaks::Http1 { idle: None };
    let fixture = secure.start(plain, "http1", &secure.ca()).await;
    assert_eq!(status(&fixture).await, 502);
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_certificate_is_shown_where_one_is_configured() {
    let (secure, clients) = (Secure::new(), Authority::new());
    let files = Files::new();
    let own = files.pair("own", &clients.issue(&["gateway"], |_| {}));
    let own = own.trim_matches(['{', '}', ' ']);
    for protocol in ["http1", "http2"] {
        let speaks = || Speaks::Tls(secure.server().acceptor(&BOTH, Some(&clients)));
        let fixture = secure.start(speaks(), protocol, &secure.ca()).await;
        assert_eq!(status(&fixture).await, 502);
        let tls = format!("{}, {own}", secure.ca());
        let fixture = secure.start(speaks(), protocol, &tls).await;
        assert_eq!(status(&fixture).await, 200);
        assert_eq!(*fixture.upstream.certified.lock().unwrap(), 1);
    }
}

#[tokio::test]
async fn health_is_asked_for_by_tls() {
    let secure = Secure::new();
    for protocol in ["http1", "http2"] {
        let speaks = Speaks::Tls(secure.server().acceptor(&BOTH, None));
        let check = "health_check: { path: /healthz, interval_ms: 50 }";
        let setup = Setup {
            upstream: Upstream::start_speaking(speaks).await,
            upstream_scheme: "https",
            upstream_settings: format!("protocol: {protocol}, tls: {{ {} }}, {check}", secure.ca()),
            ..Setup::new().await
        };
        let fixture = setup.start().await;
        eventually("it is asked", || fixture.upstream.checks() > 1).await;
    }
}

#[tokio::test]
async fn files_are_followed_and_what_was_opened_by_the_old_ones_is_used_no_more() {
    for protocol in ["http1", "http2"] {
        let (secure, other) = (Secure::new(), Authority::new());
        let speaks = Speaks::Tls(secure.server().acceptor(&BOTH, None));
        let fixture = secure.start(speaks, protocol, &secure.ca()).await;
        assert_eq!(status(&fixture).await, 200);
        // What is broken changes nothing.
        secure.files.put("ca.pem", "no certificate");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(status(&fixture).await, 200);
        assert!(fixture.is("pep_upstream_connects_total", 1.0));
        secure.files.put("ca.pem", &other.pem());
        until(&fixture, 502).await;
        secure.files.put("ca.pem", &secure.authority.pem());
        until(&fixture, 200).await;
    }
}

async fn until(fixture: &Fixture, expected: u16) {
    for _ in 0..60 {
        if status(fixture).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {expected}");
}
