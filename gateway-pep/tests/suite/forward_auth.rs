//! Another proxy asks and forwards itself: the same decision as for a request that is forwarded here, and
//! nothing of the question believed that its dialect does not say.

mod agreement;
mod calls;
mod envoy_grpc;

use std::net::SocketAddr;

use serde_json::json;
use tokio::net::TcpStream;

use calls::Check;

use crate::fixture::{Answer, Fixture, Setup, eventually, get, raw};

/// In this order in the configuration.
pub(crate) const DIALECTS: [Dialect; 4] = [
    Dialect::Nginx,
    Dialect::Forwarded,
    Dialect::Envoy,
    Dialect::EnvoyGrpc,
];

/// Those whose questions are requests.
const OVER_HTTP: [Dialect; 3] = [Dialect::Nginx, Dialect::Forwarded, Dialect::Envoy];

/// A listener for each.
pub(crate) const LISTENERS: &str = "forward_auth: [
  { listen: '127.0.0.1:0', dialect: nginx },
  { listen: '127.0.0.1:0', dialect: forwarded },
  { listen: '127.0.0.1:0', dialect: envoy, path_prefix: /check },
  { listen: '127.0.0.1:0', dialect: envoy_grpc } ]";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Nginx,
    Forwarded,
    Envoy,
    EnvoyGrpc,
}

impl Dialect {
    fn addr(self, fixture: &Fixture) -> SocketAddr {
        let index = DIALECTS.iter().position(|it| *it == self).unwrap();
        fixture.gateway.forward_auth()[index]
    }

    /// What a proxy asks about a request; `more`: header lines, as the client has sent them.
    fn question(self, method: &str, target: &str, more: &str) -> String {
        let host = "gw.test";
        let seen = "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\n";
        let end = format!("{seen}{more}Connection: close\r\n\r\n");
        let named = |family: &str| {
            format!(
                "GET / HTTP/1.1\r\nHost: auth.test\r\nX-{family}-Method: {method}\r\nX-{family}-Uri: {target}\r\nX-{family}-Host: {host}\r\n{end}"
            )
        };
        match self {
            Self::Nginx => named("Original"),
            Self::Forwarded => named("Forwarded"),
            Self::Envoy => format!("{method} /check{target} HTTP/1.1\r\nHost: {host}\r\n{end}"),
            Self::EnvoyGrpc => panic!("its questions are calls"),
        }
    }

    pub(crate) async fn ask(
        self,
        fixture: &Fixture,
        method: &str,
        target: &str,
        more: &str,
    ) -> Answer {
        let address = self.addr(fixture);
        match self {
            Self::EnvoyGrpc => Check::new(method, target, more).ask(address).await,
            _ => raw(address, &self.question(method, target, more)).await,
        }
    }

    /// How a refusal of the gateway is said.
    pub(crate) fn status(self, status: u16) -> u16 {
        match (self, status) {
            (Self::Nginx, 400..=499) if status != 401 => 403,
            _ => status,
        }
    }
}

async fn fixture() -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', {LISTENERS} }}"),
        ..Setup::new().await
    };
    setup.start().await
}

const ALICE: &str = "Authorization: Bearer at_alice\r\n";

#[tokio::test]
async fn a_yes_has_what_the_upstream_is_to_get_and_a_no_says_what_is_missing() {
    let fixture = fixture().await;
    for dialect in DIALECTS {
        for _ in 0..2 {
            let yes = dialect.ask(&fixture, "GET", "/records/1?x=1", ALICE).await;
            assert_eq!(yes.status(), 200, "{dialect:?} {yes:?}");
            assert_eq!(
                yes.header("authorization"),
                Some("Bearer jwt.alice.signature")
            );
            if dialect != Dialect::EnvoyGrpc {
                assert_eq!(yes.header("cache-control"), Some("no-store"));
            }
            assert!(yes.header("x-request-id").is_some());
            assert_eq!(yes.body(), "");
        }
        let nobody = dialect.ask(&fixture, "GET", "/records/1", "").await;
        assert_eq!(nobody.status(), 401, "{dialect:?}");
        let challenge = nobody.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        for (target, status) in [
            ("/records/forbidden", 403),
            ("/scoped", 403),
            ("/nowhere", 404),
        ] {
            let no = dialect.ask(&fixture, "GET", target, ALICE).await;
            assert_eq!(no.status(), dialect.status(status), "{dialect:?} {target}");
            assert_eq!(no.header("authorization"), None);
        }
    }
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn the_decision_point_hears_of_the_client_and_its_request() {
    let fixture = fixture().await;
    for (n, dialect) in DIALECTS.into_iter().enumerate() {
        let target = format!("/todos/{n}?a=b");
        let answer = dialect.ask(&fixture, "DELETE", &target, ALICE).await;
        assert_eq!(answer.status(), 200, "{dialect:?} {answer:?}");
        let asked = fixture.pdp.last();
        assert_eq!(asked.action.name, "DELETE");
        let properties = serde_json::to_value(&asked.resource.properties).unwrap();
        assert_eq!(properties["hostname"], "gw.test", "{dialect:?}");
        assert_eq!(properties["ip"], "198.51.100.7", "{dialect:?}");
        assert_eq!(properties["path"], format!("/todos/{n}"));
    }
}

/// What the client says of it counts for nothing.
#[tokio::test]
async fn the_scheme_of_questions_is_what_is_configured_for_the_proxy() {
    let setup = Setup {
        gateway: format!(
            "{{ workers: 1, access_log: 'off', {} }}",
            LISTENERS
                .replace("dialect: nginx", "dialect: nginx, scheme: https")
                .replace("dialect: forwarded", "dialect: forwarded, scheme: https")
                .replace("dialect: envoy,", "dialect: envoy, scheme: https,")
        ),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let more = format!("{ALICE}X-Forwarded-Proto: http\r\nX-Original-Proto: http\r\n");
    for (n, dialect) in OVER_HTTP.into_iter().enumerate() {
        let target = format!("/todos/{n}");
        let question = dialect.question("GET", &target, &more);
        let question = question.replace("gw.test", "gw.test:443");
        let answer = raw(dialect.addr(&fixture), &question).await;
        assert_eq!(answer.status(), 200, "{dialect:?} {answer:?}");
        let asked = fixture.pdp.last();
        assert_eq!(asked.context["scheme"], "https", "{dialect:?}");
        let uri = format!("https://gw.test{target}");
        assert_eq!(asked.resource.properties["uri"], uri, "{dialect:?}");
    }
}

#[tokio::test]
async fn what_a_proxy_does_not_say_once_and_plainly_is_refused() {
    let fixture = fixture().await;
    let refused = async |dialect: Dialect, question: String| {
        let answer = raw(dialect.addr(&fixture), &question).await;
        assert_eq!(
            answer.status(),
            dialect.status(400),
            "{dialect:?} {question:?} {answer:?}"
        );
    };
    for dialect in [Dialect::Nginx, Dialect::Forwarded] {
        let good = dialect.question("GET", "/records/1", ALICE);
        for name in ["-Method: ", "-Uri: ", "-Host: "] {
            let line = good.lines().find(|line| line.contains(name)).unwrap();
            // Missing, twice, and twice with another's.
            refused(dialect, good.replace(&format!("{line}\r\n"), "")).await;
            refused(dialect, good.replace(line, &format!("{line}\r\n{line}"))).await;
        }
    }
    for dialect in OVER_HTTP {
        let good = dialect.question("GET", "/records/1", ALICE);
        assert_eq!(raw(dialect.addr(&fixture), &good).await.status(), 200);
        for client in [
            "",
            "X-Forwarded-For: 198.51.100.7, unknown\r\n",
            "X-Forwarded-For: \r\n",
        ] {
            let line = "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\n";
            refused(dialect, good.replace(line, client)).await;
        }
    }
    for dialect in DIALECTS {
        for target in [
            "/records/%31",
            "/records/1#x",
            "/records/../records/1",
            "/records//1",
            "/records/1%2f2",
            "/records/caf%c3%a9",
            "/records/caf\u{e9}",
            "/records/1?a=\u{e9}",
        ] {
            let answer = dialect.ask(&fixture, "GET", target, ALICE).await;
            let expected = dialect.status(400);
            assert_eq!(answer.status(), expected, "{dialect:?} {target} {answer:?}");
        }
        for method in ["CONNECT", "TRACE"] {
            let answer = dialect.ask(&fixture, method, "/records/1", ALICE).await;
            assert!(
                (400..500).contains(&answer.status()),
                "{dialect:?} {method} {answer:?}"
            );
        }
    }
    for target in ["records/1", "http://gw.test/records/1", "*", ""] {
        for dialect in [Dialect::Nginx, Dialect::Forwarded] {
            refused(dialect, dialect.question("GET", target, ALICE)).await;
        }
    }
    let elsewhere = "GET /records/1 HTTP/1.1\r\nHost: gw.test\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: close\r\n\r\n";
    refused(Dialect::Envoy, elsewhere.to_owned()).await;
    assert_eq!(fixture.pdp.count(), 1);
}

#[tokio::test]
async fn what_would_be_forwarded_beside_what_was_decided_on_is_refused() {
    let fixture = fixture().await;
    for dialect in DIALECTS {
        for more in [
            "X-HTTP-Method-Override: DELETE\r\n",
            "X_HTTP_Method: DELETE\r\n",
            "X-Original-URL: /records/2\r\n",
            "X-Rewrite-URL: /records/2\r\n",
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            "Upgrade: foo\r\n",
            "Upgrade: websocket, h2c\r\n",
            "Upgrade: websocket\r\nUpgrade: h2c\r\n",
        ] {
            let more = format!("{ALICE}{more}");
            let answer = dialect.ask(&fixture, "GET", "/records/1", &more).await;
            assert_eq!(answer.status(), dialect.status(400), "{dialect:?} {more:?}");
        }
        let socket = format!("{ALICE}Upgrade: websocket\r\n");
        let answer = dialect.ask(&fixture, "GET", "/ws", &socket).await;
        assert_eq!(answer.status(), 200, "{dialect:?}");
        // Where the route takes none, no proxy is to make one.
        let answer = dialect.ask(&fixture, "GET", "/records/1", &socket).await;
        assert_eq!(answer.status(), 403, "{dialect:?} {answer:?}");
    }
    for dialect in OVER_HTTP {
        let good = dialect.question("GET", "/records/1", ALICE);
        for (host, status) in [
            ("GW.test:80", 200),
            ("gw.test.", 400),
            ("gw.test:0080", 400),
        ] {
            let other = good.replace("gw.test", host);
            let answer = raw(dialect.addr(&fixture), &other).await;
            assert_eq!(
                answer.status(),
                dialect.status(status),
                "{dialect:?} {host}"
            );
        }
    }
}

#[tokio::test]
async fn the_headers_of_another_dialect_say_nothing() {
    let fixture = fixture().await;
    let forged = |family: &str| {
        format!(
            "{ALICE}X-{family}-Method: GET\r\nX-{family}-Uri: /public/x\r\nX-{family}-Host: admin.gw.test\r\n"
        )
    };
    for (dialect, family) in [
        (Dialect::Nginx, "Forwarded"),
        (Dialect::Forwarded, "Original"),
        (Dialect::Envoy, "Forwarded"),
        (Dialect::Envoy, "Original"),
        (Dialect::EnvoyGrpc, "Forwarded"),
        (Dialect::EnvoyGrpc, "Original"),
    ] {
        let answer = dialect
            .ask(&fixture, "GET", "/records/forbidden", &forged(family))
            .await;
        assert_eq!(answer.status(), 403, "{dialect:?} {family}");
    }
}

#[tokio::test]
async fn no_credential_passes_a_public_route() {
    let fixture = fixture().await;
    for dialect in DIALECTS {
        let answer = dialect.ask(&fixture, "GET", "/public/x", ALICE).await;
        assert_eq!(
            (answer.status(), answer.header("authorization")),
            (200, Some(""))
        );
    }
    assert_eq!((fixture.tokens.count(), fixture.pdp.count()), (0, 0));
}

#[tokio::test]
async fn a_permit_whose_conditions_another_cannot_keep_is_none() {
    let fixture = fixture().await;
    for (obligation, properties) in [
        ("mask", json!({ "fields": ["/ssn"] })),
        ("filter", json!({ "type": "Item", "id": "/id" })),
        ("headers", json!({ "request": { "x-a": "1" } })),
        ("headers", json!({ "response": { "x-a": "1" } })),
        ("sms", json!({})),
    ] {
        fixture
            .pdp
            .oblige(json!([{ "id": "o", "type": obligation, "properties": properties }]));
        let event = json!({ "kind": "policy_changed", "version": "2", "epoch": 2 });
        fixture.announce_and_wait(event).await;
        for (n, dialect) in DIALECTS.into_iter().enumerate() {
            let target = format!("/records/{obligation}-{n}");
            for _ in 0..2 {
                let answer = dialect.ask(&fixture, "GET", &target, ALICE).await;
                assert_eq!(answer.status(), 403, "{dialect:?} {obligation}");
            }
        }
    }
}

/// Whoever asked too often hears what everybody hears of the gateway.
#[tokio::test]
async fn a_refusal_for_its_rate_says_how_much_is_left() {
    let rates = "rates: { gold: { limit: 2, window_secs: 60 } }";
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', {rates}, {LISTENERS} }}"),
        ..Setup::new().await
    };
    setup
        .pdp
        .oblige(json!([{ "id": "o", "type": "rate", "properties": { "class": "gold" } }]));
    let fixture = setup.start().await;
    let address = Dialect::EnvoyGrpc.addr(&fixture);
    for left in ["\"gold\";r=1;", "\"gold\";r=0;"] {
        let check = Check::new("GET", "/records/1", ALICE);
        let for_client = check.ask_for_client(address).await;
        let state = for_client.header("ratelimit").unwrap_or_default();
        assert!(state.starts_with(left), "{for_client:?}");
    }
    for dialect in DIALECTS {
        let no = dialect.ask(&fixture, "GET", "/records/1", ALICE).await;
        assert_eq!(no.status(), dialect.status(429), "{dialect:?} {no:?}");
        let policy = no.header("ratelimit-policy");
        assert_eq!(policy, Some("\"gold\";q=2;w=60"), "{dialect:?}");
        assert!(no.header("ratelimit").is_some() && no.header("retry-after").is_some());
    }
}

#[tokio::test]
async fn an_outage_is_no_yes() {
    let fixture = fixture().await;
    fixture
        .pdp
        .down
        .store(true, std::sync::atomic::Ordering::SeqCst);
    for dialect in DIALECTS {
        let answer = dialect.ask(&fixture, "GET", "/records/1", ALICE).await;
        assert_eq!(
            (answer.status(), answer.header("retry-after")),
            (503, Some("1"))
        );
    }
    // Nobody is answered at one listener what is asked at the other.
    let mistaken = fixture.raw(&get("/check/records/1", "at_alice")).await;
    assert_eq!(mistaken.status(), 404);
}

#[tokio::test]
async fn who_may_not_ask_is_told_so_whatever_is_asked() {
    let gateway = "{ workers: 1, access_log: 'off', forward_auth: [
      { listen: '127.0.0.1:0', dialect: forwarded, proxies: [10.0.0.0/8] } ] }";
    let setup = Setup {
        gateway: gateway.into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let question = Dialect::Forwarded.question("GET", "/public/x", ALICE);
    let answer = raw(fixture.gateway.forward_auth()[0], &question).await;
    assert_eq!(answer.status(), 403);
    assert!(answer.body().contains("untrusted-proxy"), "{answer:?}");
}

/// Proxies have as many connections as they like; whoever is none is a client like any other.
#[tokio::test]
async fn strangers_do_not_take_up_all_connections_at_a_listener_of_proxies() {
    let of = async |proxies: &str| {
        let setup = Setup {
            gateway: format!(
                "{{ workers: 1, access_log: 'off', limits: {{ connections_per_address: 3 }}, forward_auth: [
                {{ listen: '127.0.0.1:0', dialect: forwarded, proxies: [{proxies}] }},
                {{ listen: '127.0.0.1:0', dialect: envoy_grpc, proxies: [{proxies}] }} ] }}"
            ),
            ..Setup::new().await
        };
        let fixture = setup.start().await;
        let mut open = Vec::new();
        for address in fixture.gateway.forward_auth() {
            for _ in 0..5 {
                open.push(TcpStream::connect(address).await.unwrap());
            }
        }
        let all = || {
            let refused = fixture.metric("pep_connections_refused_total");
            (fixture.metric("pep_connections") + refused - 10.0).abs() < 0.5
        };
        eventually("all were looked at", all).await;
        fixture.metric("pep_connections_refused_total")
    };
    assert!(of("10.0.0.0/8").await > 6.5);
    assert!(of("127.0.0.1/32").await < 0.5);
}
