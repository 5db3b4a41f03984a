//! Configuration: every problem at once, none of them repeating a secret.

use std::path::Path;
use std::sync::Arc;

use service_kit::{Health, ManualClock, Metrics, Tasks, UnixTime, Variables};
use store::MemoryStore;

use super::harness::{Browser, TestDecisions, World, authorize_uri, config};
use crate::{TokenService, TokenServiceConfig, TokenServiceError, TokenServiceParts};

fn problems(text: &str) -> Vec<String> {
    let config: TokenServiceConfig =
        service_kit::config::parse(text, &Variables::default()).unwrap();
    TokenService::check(&config, Path::new("/nowhere"))
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn nothing_starts_without_a_secret_of_ones_own() {
    let problems = problems("{}");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("`token_service.secret` is missing"),
        "{problems:?}"
    );
}

#[test]
fn a_good_configuration_has_no_problem() {
    assert!(TokenService::check(&config(|text| text), Path::new(".")).is_empty());
}

#[test]
fn every_problem_is_reported_with_its_place() {
    let all = problems(
        r"
issuer: https://as.example/
secret: short
ttl: { code_secs: 600, jwt_secs: 0, device_code_secs: 59, device_poll_secs: 61 }
keys: { publish_ahead_secs: 10 }
clients:
  - { id: a, grant_types: [authorization_code], redirect_uris: ['http://evil.example/cb', 'https://x/#y'] }
  - { id: a, secret_hash: my-plain-secret, grant_types: [refresh_token] }
  - { id: p, public: true, grant_types: [client_credentials] }
  - { id: k, public: true, jwks: { keys: [] }, grant_types: [client_credentials] }
  - { id: both, secret_hash: 'sha256:abc', jwks: { keys: [] }, grant_types: [client_credentials] }
  - { id: 'b c', public: true, grant_types: [], scope: 'a\b' }
users:
  - { username: Ann, password_hash: hunter2 }
  - { username: ann, sub: a, password_hash: hunter2 }
resources:
  - { id: orders, scope: x, claims: [sub] }
resource_servers:
  - { id: gw, secret_hash: 'sha256:abc', resources: [nope] }
",
    );
    let text = all.join("\n");
    for expected in [
        "`token_service.issuer`: must be written without the slash",
        "`token_service.secret`: must be at least 32 bytes",
        "`token_service.ttl.code_secs`: must be from 1 to 60",
        "`token_service.ttl.jwt_secs`",
        "`token_service.ttl.device_code_secs`: must be from 60 to 1800",
        "`token_service.ttl.device_poll_secs`: must be from 1 to 60",
        "`token_service.keys.publish_ahead_secs`",
        "`token_service.clients[0].secret_hash`: is missing; or give `jwks`, `tls_client_auth` or `self_signed_tls_client_auth`, or say `public: true`",
        "`token_service.clients[0].redirect_uris[0]`: `http://evil.example/cb` must be `https`",
        "`token_service.clients[0].redirect_uris[1]`",
        "`token_service.clients[1].secret_hash`: must be `sha256:` and a hash",
        "`token_service.clients[1].grant_types`: `refresh_token` needs `authorization_code` or `device_code`",
        "`token_service.clients[1].id`: `a` is there twice",
        "`token_service.clients[2].grant_types`: `client_credentials` needs",
        "`token_service.clients[3].jwks`: there is no key",
        "`token_service.clients[4].jwks`: cannot be given beside `secret_hash`",
        "`token_service.clients[5].id`",
        "`token_service.clients[5].scope`",
        "`token_service.clients[5].grant_types`: must name at least one",
        "`token_service.users[0].password_hash`: is not a PHC string",
        "`token_service.users[1].sub`: `a` is the id of a client",
        "`token_service.users[1].username`: `ann` is there twice",
        "`token_service.resources[0].id`: must be an absolute URI",
        "`token_service.resources[0].claims`: `sub`",
        "`token_service.resource_servers[0].secret_hash`: must hold the 43 characters",
        "`token_service.resource_servers[0].resources`: `nope`",
    ] {
        assert!(text.contains(expected), "{expected}\nin\n{text}");
    }
    for secret in ["my-plain-secret", "hunter2", "short"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn the_schema_can_be_published_and_unknown_keys_are_refused() {
    let schema = serde_json::to_string(&schemars::schema_for!(TokenServiceConfig)).unwrap();
    assert!(schema.contains("resource_servers"));
    let unknown = "clients: [{ id: a, grant_types: [], scpoe: x }]";
    let issue = service_kit::config::parse::<TokenServiceConfig>(unknown, &Variables::default())
        .unwrap_err();
    assert!(
        issue.to_string().contains("did you mean `scope`?"),
        "{issue}"
    );
}

#[tokio::test]
async fn keys_of_another_secret_are_not_silently_replaced() {
    let store = Arc::new(MemoryStore::new());
    let open = async |config: TokenServiceConfig| {
        let parts = TokenServiceParts {
            store: store.clone(),
            decisions: Arc::new(TestDecisions::default()),
            event_log: "events".into(),
            clock: ManualClock::at(UnixTime::from_secs(1_800_000_000)),
            metrics: Metrics::new(),
            health: Health::new(),
            tasks: Tasks::new(),
        };
        TokenService::open(&config, Path::new("."), parts).await
    };
    open(config(|text| text)).await.unwrap();
    open(config(|text| text)).await.unwrap();
    let other = config(|text| text.replace("0123456789abcdef0", "fedcba98765432100"));
    let error = open(other).await.unwrap_err();
    assert!(
        matches!(error, TokenServiceError::SealedWithAnotherSecret),
        "{error}"
    );
}

#[test]
fn made_secrets_and_hashes_fit_the_configuration() {
    let (secret, hash) = crate::new_client_secret().unwrap();
    assert_eq!(secret.len(), 43);
    assert_eq!(hash, crate::secret_hash(&secret));
    let phc = crate::hash_password("pass").unwrap();
    let text = format!(
        "secret: {}\nclients: [{{ id: a, secret_hash: '{hash}', grant_types: [client_credentials] }}]\n\
         users: [{{ username: u, password_hash: '{phc}' }}]",
        "x".repeat(32)
    );
    assert_eq!(problems(&text), Vec::<String>::new());
}

#[tokio::test]
async fn people_are_asked_in_words_and_a_scope_that_nobody_has_is_no_scope() {
    let with = |scope: &str| {
        let meaning = format!("scope_meanings: {{ '{scope}': see your <orders> }}\n");
        config(|text| format!("{meaning}{text}"))
    };
    let world = World::with(with("orders:read")).await;
    let mut browser = Browser::default();
    let page = browser.get(&world, &authorize_uri(&[])).await;
    let page = browser.log_in(&world, &page, "alice").await;
    let location = page.location().to_owned();
    let page = browser.get(&world, &location).await;
    let asked = "see your &lt;orders&gt; <code>orders:read</code>";
    assert!(page.body.contains(asked), "{}", page.body);
    let issues = TokenService::check(&with("order:read"), Path::new("."));
    assert!(
        issues
            .iter()
            .any(|issue| issue.to_string().contains("`order:read`")),
        "{issues:?}"
    );
}
