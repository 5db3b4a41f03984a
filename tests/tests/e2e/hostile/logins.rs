//! The cases of the gateway's attack corpus that are about people with a browser: each against a session that
//! somebody has got by logging in.

use std::net::SocketAddr;

use e2e::Site;
use e2e::http::{raw, raw_status};
use e2e::process::repository;
use e2e::recorder::Recorder;
use serde_json::Value;
use url::Url;

use super::browser::Browser;

/// What is fired here.
pub(super) const CASES: [&str; 7] = [
    "OIDC-001", "OIDC-003", "OIDC-005", "OIDC-007", "OIDC-009", "OIDC-011", "UPG-008",
];

const SESSION: &str = "__Host-cedargate-app";
const ORIGIN: &str = "https://gw.test";
const NAVIGATION: &str = "Sec-Fetch-Mode: navigate\r\n";

/// The gateway, what it forwards to, and a person.
struct Stage {
    site: Site,
    recorder: Recorder,
    /// At the provider.
    browser: Browser,
}

/// What came back for a request.
struct Answer {
    status: Option<u16>,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next().expect("a head");
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(own, value)| own.eq_ignore_ascii_case(name).then_some(value))
    }

    /// Names and values of cookies that are set.
    fn cookies(&self) -> Vec<(String, String)> {
        let head = self.text.split("\r\n\r\n").next().expect("a head");
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let set = fields.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        set.filter_map(|(_, value)| value.split(';').next()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn location(&self) -> &str {
        assert_eq!(self.status, Some(303), "{}", self.text);
        self.header("location").expect("a location")
    }
}

impl Stage {
    async fn send(&self, bytes: &str) -> Answer {
        self.recorder.clear();
        let (address, bytes) = (SocketAddr::from((self.site.host, 8080)), bytes.to_owned());
        let answer = tokio::task::spawn_blocking(move || raw(address, bytes.as_bytes()));
        let answer = answer.await.expect("exchange");
        Answer {
            status: raw_status(&answer),
            text: String::from_utf8_lossy(&answer).into_owned(),
        }
    }

    async fn get(&self, target: &str, fields: &str) -> Answer {
        let text =
            format!("GET {target} HTTP/1.1\r\nHost: gw.test\r\n{fields}Connection: close\r\n\r\n");
        self.send(&text).await
    }

    /// Where the provider sends the browser back to: path and query, and the cookie of this login.
    async fn sent_back(&mut self, target: &str) -> (String, String) {
        let sent = self.get(target, NAVIGATION).await;
        let [(name, value)] = &sent.cookies()[..] else {
            panic!("{}", sent.text)
        };
        let url = sent.location().to_owned();
        let end = format!("{ORIGIN}/.cedargate/");
        let answer = self.browser.walk(&url, "alice", &end).await;
        let back = answer.header("location").strip_prefix(ORIGIN).expect(&end);
        (back.to_owned(), format!("{name}={value}"))
    }

    /// A session's cookie.
    async fn session(&mut self) -> String {
        let (back, pending) = self.sent_back("/app/x").await;
        let answer = self.get(&back, &format!("Cookie: {pending}\r\n")).await;
        assert_eq!(answer.location(), "/app/x");
        format!("{SESSION}={}", session(&answer))
    }

    fn hits(&self) -> usize {
        self.recorder.requests().len()
    }
}

fn session(answer: &Answer) -> String {
    let cookies = answer.cookies();
    let found = cookies.iter().find(|(name, _)| name == SESSION);
    found.expect(&answer.text).1.clone()
}

fn case<'c>(corpus: &'c Value, id: &str) -> &'c Value {
    let cases = corpus["cases"].as_array().expect("cases");
    cases.iter().find(|case| case["id"] == id).expect(id)
}

/// The bytes of a case, for our paths.
fn bytes(corpus: &Value, id: &str, placeholders: &[(&str, &str)]) -> String {
    let text = case(corpus, id)["raw_request"].as_str().expect("bytes");
    let ours = [
        ("/.auth/login?rd=", "/.cedargate/app/login?return_to="),
        ("/.auth/", "/.cedargate/app/"),
        ("GET /ws ", "GET /app-ws "),
        ("{HOST}", "gw.test"),
    ];
    let all = ours.iter().chain(placeholders);
    all.fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hostile_request_gets_into_a_session_or_out_of_one() {
    let file = repository().join("tests/vectors/gateway-attacks.json");
    let text = std::fs::read_to_string(file).expect("corpus");
    let corpus: Value = serde_json::from_str(&text).expect("JSON");
    let recorder = Recorder::default();
    let site = Site::for_attacks(&recorder).await;
    let mut stage = Stage {
        site,
        recorder,
        browser: Browser::default(),
    };
    let live = stage.session().await;
    let cookie = format!("Cookie: {live}\r\n");
    let passed = stage.get("/app/x", &cookie).await;
    assert_eq!(passed.status, Some(200), "the control passes");
    assert_eq!(stage.hits(), 1);
    open_redirects(&mut stage, &corpus).await;
    fixation(&mut stage, &corpus).await;
    poisoned_host(&stage, &corpus).await;
    logout_tokens(&mut stage, &corpus, &live).await;
    without_a_session(&stage, &corpus).await;
    cross_site(&stage, &corpus, &live).await;
    let passed = stage.get("/app/x", &cookie).await;
    assert_eq!(passed.status, Some(200), "nothing has ended it");
}

/// OIDC-001. Read as a browser reads it, whatever somebody comes back to is of the same origin.
async fn open_redirects(stage: &mut Stage, corpus: &Value) {
    let case_ = case(corpus, "OIDC-001");
    let variants = case_["variants"].as_array().expect("variants");
    let targets = variants.iter().filter_map(Value::as_str);
    let mut requests = vec![bytes(corpus, "OIDC-001", &[])];
    for target in targets {
        let target = target.replace("{HOST}", "gw.test");
        let encoded: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        let query = format!("/.cedargate/app/login?return_to={encoded}");
        requests.push(format!(
            "GET {query} HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
        ));
    }
    let provider = stage.site.token_service_url("");
    for request in requests {
        let sent = stage.send(&request).await;
        assert!(sent.location().starts_with(&provider), "{request}");
        assert!(
            !sent.location().contains("evil"),
            "it is not told: {request}"
        );
        let cookies = sent.cookies();
        let url = sent.location().to_owned();
        let end = format!("{ORIGIN}/.cedargate/");
        let answer = stage.browser.walk(&url, "alice", &end).await;
        let back = answer
            .header("location")
            .strip_prefix(ORIGIN)
            .expect("ours");
        let (name, value) = &cookies[0];
        let arrived = stage
            .get(back, &format!("Cookie: {name}={value}\r\n"))
            .await;
        let location = arrived.location();
        let base = Url::parse(ORIGIN).expect("a URL");
        let read = base.join(location).expect("a URL");
        assert_eq!(read.origin(), base.origin(), "{request}: {location}");
        assert_eq!(location, "/", "{request}");
    }
}

/// OIDC-003.
async fn fixation(stage: &mut Stage, corpus: &Value) {
    let fixed = stage.session().await;
    let (back, pending) = stage.sent_back("/app/x").await;
    let (_, query) = back.split_once('?').expect("a query");
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    let mut of = |wanted: &str| {
        let found = parameters.by_ref().find(|(name, _)| name == wanted);
        found.expect(wanted).1.into_owned()
    };
    let (code, state) = (of("code"), of("state"));
    let iss: String =
        url::form_urlencoded::byte_serialize(stage.site.token_service_url("").as_bytes()).collect();
    let state = format!("{state}&iss={iss}");
    let request = bytes(
        corpus,
        "OIDC-003",
        &[
            ("{CODE}", &code),
            ("{STATE}", &state),
            ("{SESSION_FIXED}", &fixed),
            ("{PRELOGIN}", &pending),
        ],
    );
    let arrived = stage.send(&request).await;
    let fresh = format!("{SESSION}={}", session(&arrived));
    assert_ne!(fresh, fixed);
    for (cookie, status) in [(&fresh, 200), (&fixed, 401)] {
        let answer = stage.get("/app/x", &format!("Cookie: {cookie}\r\n")).await;
        assert_eq!(answer.status, Some(status));
    }
}

/// OIDC-005.
async fn poisoned_host(stage: &Stage, corpus: &Value) {
    let request = bytes(corpus, "OIDC-005", &[("/app/ ", "/app/x ")]);
    let request = request.replace(
        "Connection: close",
        "Accept: text/html\r\nConnection: close",
    );
    let sent = stage.send(&request).await;
    let url = Url::parse(sent.location()).expect("a URL");
    let mut pairs = url.query_pairs();
    let redirect_uri = pairs
        .find(|(name, _)| name == "redirect_uri")
        .expect("one")
        .1;
    let expected = &case(corpus, "OIDC-005")["expectation"]["accept"][0];
    assert_eq!(expected["authz_request_redirect_uri_host"], "{HOST}");
    assert_eq!(redirect_uri, format!("{ORIGIN}/.cedargate/app/callback"));
    assert_eq!(stage.hits(), 0);
}

/// OIDC-007, with tokens that the provider has signed, for the gateway even, and that are no logout tokens.
async fn logout_tokens(stage: &mut Stage, corpus: &Value, live: &str) {
    let id_token = id_token(stage).await;
    let at = e2e::tokens::access_token(&stage.site, "alice").await;
    let access_token = e2e::tokens::phantom(&stage.site, &at).await;
    for token in [&*id_token, &*access_token, "", "a.b.c"] {
        let request = bytes(corpus, "OIDC-007", &[("{JWT_LOGOUT_NO_JTI}", token)]);
        let length = format!("Content-Length: {}", "logout_token=".len() + token.len());
        let request = request.replace("Content-Length: 32", &length);
        let answer = stage.send(&request).await;
        assert_eq!(answer.status, Some(400), "{}", answer.text);
    }
    let answer = stage.get("/app/x", &format!("Cookie: {live}\r\n")).await;
    assert_eq!(answer.status, Some(200), "nobody is logged out");
}

/// One for the gateway itself: what its own logout shows the provider.
async fn id_token(stage: &mut Stage) -> String {
    let session = stage.session().await;
    let request = format!(
        "POST /.cedargate/app/logout HTTP/1.1\r\nHost: gw.test\r\nCookie: {session}\r\n\
         Origin: {ORIGIN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let answer = stage.send(&request).await;
    let url = Url::parse(answer.location()).expect("a URL");
    let mut pairs = url.query_pairs();
    let hint = pairs.find(|(name, _)| name == "id_token_hint");
    hint.expect("a hint").1.into_owned()
}

/// OIDC-009.
async fn without_a_session(stage: &Stage, corpus: &Value) {
    let request = bytes(corpus, "OIDC-009", &[]);
    for (fields, status) in [("", 401), (NAVIGATION, 303)] {
        let fields = format!("{fields}Connection: close");
        let answer = stage
            .send(&request.replace("Connection: close", &fields))
            .await;
        assert_eq!(answer.status, Some(status), "{}", answer.text);
        assert_eq!(stage.hits(), 0);
        assert_eq!(stage.recorder.questions().len(), 0, "nobody was asked");
    }
}

/// OIDC-011 and UPG-008.
async fn cross_site(stage: &Stage, corpus: &Value, live: &str) {
    for id in ["OIDC-011", "UPG-008"] {
        let request = bytes(corpus, id, &[("{SESSION}", live)]);
        let answer = stage.send(&request).await;
        assert_eq!(answer.status, Some(403), "{id}: {}", answer.text);
        assert!(answer.text.contains("cross-site"), "{id}: {}", answer.text);
        assert_eq!(stage.hits(), 0, "{id}");
    }
    let own = bytes(corpus, "OIDC-011", &[("{SESSION}", live)])
        .replace("https://evil.test", ORIGIN)
        .replace("cross-site", "same-origin");
    let answer = stage.send(&own).await;
    assert_eq!(
        answer.status,
        Some(200),
        "the control passes: {}",
        answer.text
    );
}
