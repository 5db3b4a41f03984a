//! Clients that show certificates: tokens that are bound to one (RFC 8705), and callers that are known
//! by one.

mod open;

use gateway_pep::{Config, Gateway, IssuerConfig, RouteConfig};
use oauth::Confirmation;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SanType};
use serde_json::{Value, json};
use service_kit::{Clock as _, SystemClock, Variables, digest};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::certificates::{Authority, Issued, TlsClient, der};
use crate::fixture::{Answer, Setup, get};
use crate::holder::{Holder, base64};
use crate::http2_frames::Frames;
use crate::signer::{Signer, jwks};
use crate::tls::{Tls, exchange};

const OPTIONAL: &str = ", client_ca_file: 'CLIENTS'";
const ROUTES: &str = "  - { match: '/bound', methods: [GET], upstream: a, action: view, resource: Service/x, certificate_bound_access_tokens_required: true }
  - { match: '/corp/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', issuers: [corp] }
  - { match: '/mesh/{id}', methods: [GET, POST], upstream: a, action: view, resource: 'Record/{id}', issuers: [token_service, mesh] }
  - { match: '/mesh-only', methods: [GET], upstream: a, action: view, resource: Service/x, scope: jobs, issuers: [mesh] }
  - { match: '/mesh-more', methods: [GET], upstream: a, action: view, resource: Service/x, scope: jobs more, issuers: [mesh] }
  - { match: '/hosts', methods: [GET], upstream: a, action: view, resource: Service/x, issuers: [hosts] }
";
const MESH: &str = "mesh: { certificate: { name: san_uri, scope: jobs } }, hosts: { certificate: { name: san_dns, subject: { namespace: 'host/', type: user } } }";

async fn start(of_tls: &str, change: impl FnOnce(&mut Setup)) -> (Tls, Signer) {
    let signer = Signer::new("k1");
    let more = format!(
        ", authorization_servers: ['https://as.example'], public_origins: ['https://gw.test', 'https://admin.gw.test'], \
         issuers: {{ {MESH}, corp: {{ jwt: {{ issuer: 'https://corp.example', jwks: {} }} }} }}",
        jwks(&[&signer])
    );
    let tls = Tls::set_up(of_tls, &more, |setup| {
        setup.more_routes = ROUTES;
        change(setup);
    })
    .await;
    (tls, signer)
}

fn client(authority: &Authority, uris: &[&str]) -> Issued {
    authority.issue(&["job.test"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
    })
}

fn self_signed() -> Issued {
    let key = KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["job.test".to_owned()]).unwrap();
    Issued {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn hash(issued: &Issued) -> String {
    base64(digest::sha256(&der(&issued.certificate)))
}

async fn connect(tls: &Tls, identity: Option<&Issued>) -> TlsStream<TcpStream> {
    let client = TlsClient::new(&tls.authority, identity);
    client.connect(tls.fixture.addr, "gw.test").await.unwrap()
}

async fn ask(tls: &Tls, identity: Option<&Issued>, request: &str) -> Answer {
    exchange(connect(tls, identity).await, request).await
}

fn bare(path: &str) -> String {
    get(path, "").replace("Authorization: Bearer \r\n", "")
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_counts_beside_it_alone() {
    let (tls, _) = start(OPTIONAL, |_| {}).await;
    let (own, thief) = (client(&tls.authority, &[]), client(&tls.authority, &[]));
    let confirmation = Confirmation::Certificate(hash(&own));
    tls.fixture
        .tokens
        .issue_bound("carol", 4_000_000_000, Some(confirmation));
    let request = get("/records/1", "at_carol");
    // Asked about, then remembered.
    for _ in 0..2 {
        for (identity, status) in [(Some(&own), 200), (Some(&thief), 401), (None, 401)] {
            let answer = ask(&tls, identity, &request).await;
            assert_eq!(answer.status(), status, "{answer:?}");
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert_eq!(
                challenge.contains("invalid_token"),
                status == 401,
                "{challenge}"
            );
        }
    }
    assert_eq!(tls.fixture.tokens.count(), 1);
    // By a proof of some key it is no token of a key.
    let holder = Holder::new();
    let proof = holder.proof(
        "https://gw.test/records/1",
        SystemClock.now().as_secs(),
        &[],
    );
    let proven =
        request
            .replace("Bearer", "DPoP")
            .replacen("\r\n", &format!("\r\nDPoP: {proof}\r\n"), 1);
    assert_eq!(ask(&tls, Some(&own), &proven).await.status(), 401);
    // A certificate that is spoken of is none.
    let spoken = request.replacen("\r\n", "\r\nClient-Cert: :YQ==:\r\nX-Client-Cert: x\r\n", 1);
    assert_eq!(ask(&tls, None, &spoken).await.status(), 401);
    assert_eq!(ask(&tls, Some(&own), &spoken).await.status(), 200);
    let seen = tls.fixture.upstream.last();
    assert!(
        !seen.headers.contains_key("client-cert") && !seen.headers.contains_key("x-client-cert")
    );
    assert_eq!(seen.headers["authorization"], "Bearer jwt.carol.signature");
    // One that is bound to nothing is one, whatever was shown.
    assert_eq!(
        ask(&tls, Some(&thief), &get("/records/1", "at_alice"))
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn by_http_2_the_certificate_is_that_of_the_connection_too() {
    let (tls, _) = start(OPTIONAL, |_| {}).await;
    let own = client(&tls.authority, &["spiffe://x/job"]);
    let confirmation = Confirmation::Certificate(hash(&own));
    tls.fixture
        .tokens
        .issue_bound("carol", 4_000_000_000, Some(confirmation));
    for (identity, expected) in [(Some(&own), Some(200)), (None, Some(401))] {
        let client = TlsClient::new(&tls.authority, identity).speaking("h2");
        let stream = client.connect(tls.fixture.addr, "gw.test").await.unwrap();
        let mut frames = Frames::begin(stream).await;
        let mut fields = vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "gw.test"),
            (":path", "/mesh/1"),
        ];
        frames.headers(1, &fields, true).await;
        assert_eq!(frames.outcome(1).await.status(), expected);
        fields.push(("authorization", "Bearer at_carol"));
        frames.headers(3, &fields, true).await;
        assert_eq!(frames.outcome(3).await.status(), expected);
    }
    let subjects: Vec<_> = {
        let asked = tls.fixture.pdp.asked.lock().unwrap();
        asked.iter().map(|asked| asked.subject.id.clone()).collect()
    };
    assert_eq!(subjects, ["mesh:spiffe://x/job", "carol"]);
}

#[tokio::test]
async fn whoever_made_the_token_it_is_bound_all_the_same() {
    let (tls, signer) = start(", client_certificates: any", |setup| {
        setup.gateway = setup.gateway.replace(MESH, "");
        setup.gateway = setup.gateway.replace("issuers: { , ", "issuers: { ");
        setup.more_routes = "  - { match: '/corp/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', issuers: [corp] }\n";
    })
    .await;
    // Nobody vouches for these, and nobody need.
    let (own, other) = (self_signed(), self_signed());
    let now = SystemClock.now().as_secs();
    let token = signer.token(&json!({
        "iss": "https://corp.example", "aud": "https://a", "sub": "alice", "client_id": "web",
        "iat": now - 10, "exp": now + 300, "jti": "1", "cnf": { "x5t#S256": hash(&own) },
    }));
    for _ in 0..2 {
        for (identity, status) in [(Some(&own), 200), (Some(&other), 401), (None, 401)] {
            let answer = ask(&tls, identity, &get("/corp/1", &token)).await;
            assert_eq!(answer.status(), status, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_route_that_wants_certificates_takes_no_others_and_metadata_say_what_is_taken() {
    let (tls, _) = start(OPTIONAL, |_| {}).await;
    let own = client(&tls.authority, &["spiffe://x/job"]);
    let confirmation = Confirmation::Certificate(hash(&own));
    tls.fixture
        .tokens
        .issue_bound("carol", 4_000_000_000, Some(confirmation));
    let holder = Holder::new();
    tls.fixture
        .tokens
        .issue_bound("dave", 4_000_000_000, Some(holder.confirmation()));
    assert_eq!(
        ask(&tls, Some(&own), &get("/bound", "at_carol"))
            .await
            .status(),
        200
    );
    let now = SystemClock.now().as_secs();
    let claims = crate::holder::claims("https://gw.test/bound", "at_dave", now).to_string();
    let proof = holder.sign(&holder.header().to_string(), &claims);
    let proven = get("/bound", "at_dave").replace("Bearer", "DPoP").replacen(
        "\r\n",
        &format!("\r\nDPoP: {proof}\r\n"),
        1,
    );
    for refused in [get("/bound", "at_alice"), bare("/bound"), proven] {
        let answer = ask(&tls, Some(&own), &refused).await;
        assert_eq!(answer.status(), 401, "{answer:?}");
    }
    let metadata = ask(&tls, None, &bare("/.well-known/oauth-protected-resource")).await;
    let metadata: Value = serde_json::from_str(metadata.body()).unwrap();
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(
        metadata["authorization_servers"],
        json!(["https://as.example", "https://corp.example"])
    );
}

#[tokio::test]
async fn a_caller_is_known_by_its_certificate_where_a_route_takes_that() {
    let (tls, _) = start(OPTIONAL, |_| {}).await;
    let job = client(&tls.authority, &["spiffe://x/job"]);
    for _ in 0..2 {
        assert_eq!(ask(&tls, Some(&job), &bare("/mesh/1")).await.status(), 200);
    }
    let asked = tls.fixture.pdp.last();
    assert_eq!(
        (&*asked.subject.kind, &*asked.subject.id),
        ("Client", "mesh:spiffe://x/job")
    );
    assert_eq!(asked.subject.properties["issuer"], "mesh");
    assert_eq!(asked.subject.properties["client_id"], "mesh:spiffe://x/job");
    assert_eq!(tls.fixture.pdp.count(), 1, "the decision is remembered");
    assert!(
        !tls.fixture
            .upstream
            .last()
            .headers
            .contains_key("authorization")
    );
    // Another name, for whom that is configured.
    assert_eq!(ask(&tls, Some(&job), &bare("/hosts")).await.status(), 200);
    let asked = tls.fixture.pdp.last();
    assert_eq!(
        (&*asked.subject.kind, &*asked.subject.id),
        ("User", "host/job.test")
    );
    // Scopes are what configuration gives.
    assert_eq!(
        ask(&tls, Some(&job), &bare("/mesh-only")).await.status(),
        200
    );
    assert_eq!(
        ask(&tls, Some(&job), &bare("/mesh-more")).await.status(),
        403
    );
}

#[tokio::test]
async fn a_certificate_is_no_way_around_a_token_nor_one_where_it_is_not_taken() {
    let (tls, _) = start(OPTIONAL, |_| {}).await;
    let job = client(&tls.authority, &["spiffe://x/job"]);
    let two = client(&tls.authority, &["spiffe://x/job", "spiffe://x/other"]);
    let none = client(&tls.authority, &[]);
    for (identity, request) in [
        (None, bare("/mesh/1")),
        (Some(&two), bare("/mesh/1")),
        (Some(&none), bare("/mesh/1")),
        // Where it is not taken.
        (Some(&job), bare("/records/1")),
        // Who brings a token is known by it, or is nobody.
        (Some(&job), get("/mesh/1", "at_nobody")),
        (Some(&job), get("/mesh-only", "at_alice")),
        (
            Some(&job),
            bare("/mesh/1").replacen("\r\n", "\r\nAuthorization: Basic YQ==\r\n", 1),
        ),
        (Some(&job), bare("/mesh/1?access_token=at_alice")),
    ] {
        let answer = ask(&tls, identity, &request).await;
        assert_eq!(answer.status(), 401, "{request} {answer:?}");
    }
    assert!(tls.fixture.upstream.seen().is_empty());
    assert_eq!(
        ask(&tls, Some(&job), &get("/mesh/1", "at_alice"))
            .await
            .status(),
        200
    );
    assert_eq!(tls.fixture.pdp.last().subject.id, "alice");
    // Of another authority there is no handshake.
    let stranger = client(&Authority::new(), &["spiffe://x/job"]);
    assert_eq!(
        ask(&tls, Some(&stranger), &bare("/mesh/1")).await.status(),
        0
    );
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_names_nobody() {
    let of_tls = format!("{OPTIONAL}, client_certificates: any");
    let (tls, _) = start(&of_tls, |_| {}).await;
    let stranger = client(&Authority::new(), &["spiffe://x/job"]);
    for identity in [&stranger, &self_signed()] {
        assert_eq!(
            ask(&tls, Some(identity), &bare("/mesh/1")).await.status(),
            401
        );
        assert_eq!(
            ask(&tls, Some(identity), &bare("/hosts")).await.status(),
            401
        );
    }
    let job = client(&tls.authority, &["spiffe://x/job"]);
    assert_eq!(ask(&tls, Some(&job), &bare("/mesh/1")).await.status(), 200);
}

#[tokio::test]
async fn pages_of_other_sites_are_not_vouched_for_by_a_browsers_certificate() {
    let (tls, _) = start(OPTIONAL, |_| {}).await;
    let job = client(&tls.authority, &["spiffe://x/job"]);
    let post = |fields: &str| {
        let post = bare("/mesh/1").replacen("GET", "POST", 1);
        post.replacen("\r\n", &format!("\r\n{fields}Content-Length: 0\r\n"), 1)
    };
    for (fields, status) in [
        ("", 200),
        ("Origin: https://gw.test\r\n", 200),
        ("Sec-Fetch-Site: same-origin\r\n", 200),
        ("Origin: https://evil.test\r\n", 403),
        ("Origin: http://gw.test\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\n", 403),
    ] {
        let answer = ask(&tls, Some(&job), &post(fields)).await;
        assert_eq!(answer.status(), status, "{fields} {answer:?}");
    }
}

#[tokio::test]
async fn where_a_certificate_is_required_there_is_no_connection_without() {
    let of_tls = format!("{OPTIONAL}, client_certificates: required");
    let (tls, _) = start(&of_tls, |_| {}).await;
    assert_eq!(ask(&tls, None, &bare("/public/ok")).await.status(), 0);
    let job = client(&tls.authority, &["spiffe://x/job"]);
    assert_eq!(
        ask(&tls, Some(&job), &bare("/public/ok")).await.status(),
        200
    );
}

#[test]
fn what_could_not_be_shown_is_refused_before_anything_starts() {
    let check = |issuers: &str, route: &str, part: &str| {
        let parse = |text: &str| {
            let parsed: Result<RouteConfig, _> =
                service_kit::config::parse(text, &Variables::default());
            parsed.map_err(|issue| issue.to_string()).unwrap()
        };
        let issuers: std::collections::BTreeMap<String, IssuerConfig> =
            service_kit::config::parse(issuers, &Variables::default()).unwrap();
        let mut config = Config::default();
        config.gateway.issuers = issuers;
        config.upstreams =
            service_kit::config::parse("a: { url: 'http://x' }", &Variables::default()).unwrap();
        config.routes = vec![parse(&format!(
            "{{ match: /x, methods: [GET], upstream: a, action: view, resource: S/x, {route} }}"
        ))];
        let issues = Gateway::check(&config, std::path::Path::new("."));
        let issues: Vec<_> = issues.iter().map(ToString::to_string).collect();
        assert!(
            issues.iter().any(|issue| issue.contains(part)),
            "{issues:?} has no {part}"
        );
    };
    let mesh =
        "{ mesh: { certificate: { name: san_uri } }, more: { certificate: { name: san_dns } } }";
    check(
        mesh,
        "issuers: [mesh]",
        "`gateway.issuers.mesh.certificate` needs `gateway.tls.client_ca_file`",
    );
    check(
        mesh,
        "issuers: [mesh, more]",
        "a token could be one of `mesh` or of `more`",
    );
    check(
        "{}",
        "certificate_bound_access_tokens_required: true",
        "needs client certificates",
    );
    check(
        "{}",
        "certificate_bound_access_tokens_required: true, dpop_bound_access_tokens_required: true",
        "a token is bound to one thing",
    );
    check(
        mesh,
        "issuers: [token_service, mesh], certificate_bound_access_tokens_required: true",
        "has neither a token nor a session",
    );
    check(
        "{ mesh: { certificate: { name: san_uri, subject: { namespace: 'a b' } } } }",
        "issuers: [mesh]",
        "`gateway.issuers.mesh.certificate.subject.namespace` must be",
    );
}
