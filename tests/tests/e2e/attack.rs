//! `cedargate attack`: nothing gets through our gateway, and what gets through a bad one is found.

use std::net::SocketAddr;
use std::time::Duration;

use cedargate::attack::{ABSENT, Report, Target, Upstream, attack, attack_at};
use cedargate::config::{FileConfig, Loaded};
use service_kit::{Tasks, Variables};
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Every kind of route that there is.
const ROUTES: &str = "
gateway:
  reserved_headers: [X-Tenant, X-House-]
  public_origins: ['https://gw.test', 'https://admin.gw.test']
  dpop: { require_nonce: true, nonce_secret_file: nowhere/nonces }
  issuers:
    corp: { jwt: { issuer: 'https://corp.test', jwks_file: nowhere/keys, types: [JWT], require: { a: [b] } } }
    asked: { introspection: { introspection_url: 'https://192.0.2.5/', client_id: x, client_secret_file: nowhere/secret } }
  sessions: { secret_file: nowhere/sessions }
  logins:
    web: { issuer: 'https://192.0.2.6', client_id: x, client_secret_file: nowhere/login, ca_file: nowhere/ca, callback_path: /oauth2/callback }
upstreams: { a: 'http://192.0.2.1:9', b: { url: 'http://192.0.2.2:9', preserve_host: true } }
pdp: { policies: nowhere }
connect: { token_service: { introspection_url: 'http://192.0.2.3/', client_secret: x } }
store: { redis: { url: 'redis://192.0.2.4' } }
routes:
  - { match: '/records/{id}', methods: [GET, PUT, POST], upstream: a, action: view, resource: 'Record/{id}' }
  - { match: '/scoped', methods: [GET], upstream: b, action: view, resource: Service/x, scope: read write }
  - { match: '/public/{*rest}', methods: ['*'], upstream: b, public: true }
  - { match: '/only', methods: [GET, HEAD], host: admin.gw.test, upstream: a, action: administer, resource: Service/x }
  - { match: '/todos/{todoId}', methods: ['*'], upstream: a, mapping: authzen_route }
  - { match: '/bound', methods: [GET], upstream: a, action: view, resource: Service/x, dpop_bound_access_tokens_required: true }
  - { match: '/pay', methods: [GET], upstream: a, action: view, resource: Service/x, acr_values: [phr, phrh], max_age_secs: 60 }
  - { match: '/jwt/{id}', methods: [GET, PUT], upstream: a, action: view, resource: 'Record/{id}', issuers: [corp] }
  - { match: '/jwt-pay', methods: [GET], upstream: a, action: view, resource: Service/x, scope: pay, acr_values: [phr], issuers: [asked, corp] }
  - { match: '/app/{id}', methods: [GET, POST], upstream: b, action: view, resource: 'Record/{id}', login: web }
  - { match: '/projects/{id}', methods: [GET], upstream: a, action: view, resource: 'Project/{id}', encoded_characters: [slash, percent] }
  - { match: '/told', methods: [GET], upstream: a, action: view, resource: Service/x, when: { headers: { X-Cg-Version: { exact: v2 } } } }
  - { match: '/told', methods: [GET], host: '*.gw.test', upstream: a, action: view, resource: Service/x, when: { query: { beta: present } } }
  - { match: '/told', methods: [GET], upstream: a, action: administer, resource: Service/x }
  - { match: '/old/{id}/{*rest}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', rewrite: { path: '/new/{id}/x/{*rest}', host: inner.test }, request_headers: { set: { X-A: b } } }
  - { match: '/asked', methods: [GET], upstream: a, action: view, resource: Service/x, issuers: [asked] }
";

fn loaded(text: &str) -> Loaded {
    let config = service_kit::config::parse::<FileConfig>(text, &Variables::default());
    Loaded {
        file: "attacked.yaml".into(),
        base: "nowhere".into(),
        variables: Variables::default(),
        config: config.map_err(|issue| issue.to_string()).expect("parses"),
        text: service_kit::Secret::new(text),
    }
}

fn assert_clean(report: &Report) {
    println!("{report}");
    assert!(report.is_clean(), "{} failures", report.failures.len());
    for row in &report.classes {
        assert!(row.cases >= 10, "only {} cases of {}", row.cases, row.class);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_gets_through_the_demos_gateway() {
    let folder = tempfile::tempdir().expect("folder");
    let demo = cedargate::demo::prepare(folder.path()).expect("demo");
    assert_clean(&attack(&demo).await.expect("report"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_gets_through_a_gateway_with_every_kind_of_route() {
    assert_clean(&attack(&loaded(ROUTES)).await.expect("report"));
}

#[tokio::test]
async fn a_gateway_that_only_passes_bytes_on_fails_in_every_class_of_attack() {
    let tasks = Tasks::new();
    let upstream = Upstream::start(&tasks).await.expect("upstream");
    let gateway = bad_gateway(Some(upstream.address())).await;
    let targets = Target::all(&loaded(ROUTES).config.routes);
    let report = attack_at(gateway, &upstream, &targets)
        .await
        .expect("report");
    assert!(!report.is_clean());
    for row in &report.classes {
        assert!(row.failed > 0, "nothing was found of {}", row.class);
    }
    let text = report.to_string();
    assert!(
        text.contains("  to do ") && text.contains("  upstream "),
        "{text}"
    );
}

#[tokio::test]
async fn a_gateway_that_refuses_everything_is_not_taken_for_a_good_one() {
    let tasks = Tasks::new();
    let upstream = Upstream::start(&tasks).await.expect("upstream");
    let targets = Target::all(&loaded(ROUTES).config.routes);
    let gateway = bad_gateway(None).await;
    let report = attack_at(gateway, &upstream, &targets)
        .await
        .expect("report");
    assert!(!report.is_clean());
    assert_eq!(report.class("control").expect("controls").passed, 0);
}

#[test]
fn what_is_said_to_be_absent_has_no_key_in_the_configuration() {
    let schema = serde_json::to_value(schemars::schema_for!(FileConfig)).expect("schema");
    let mut keys = Vec::new();
    for part in [
        "GatewayConfig",
        "RouteConfig",
        "LimitsConfig",
        "CacheConfig",
    ] {
        let properties = schema["$defs"][part]["properties"].as_object();
        keys.extend(properties.expect("properties").keys().cloned());
    }
    for absent in ABSENT {
        for word in absent.keys {
            let there = keys.iter().find(|key| key.contains(word));
            assert_eq!(there, None, "{}: its attacks are missing", absent.what);
        }
    }
}

/// Passes bytes on to an upstream as they are, or answers 400 to whatever comes.
async fn bad_gateway(upstream: Option<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Some(upstream) = upstream else {
                    let _ = client.write_all(b"HTTP/1.1 400 No\r\n\r\n").await;
                    return;
                };
                let mut server = TcpStream::connect(upstream).await.expect("connects");
                // Where neither side would say more.
                let passing = copy_bidirectional(&mut client, &mut server);
                let _ = tokio::time::timeout(Duration::from_millis(15), passing).await;
            });
        }
    });
    address
}
