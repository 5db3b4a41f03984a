//! Tokens of an issuer that others wrote, and JWTs of our own token service, at one gateway: each on the
//! routes that name its issuer.

use std::time::Duration;

use e2e::Site;
use e2e::browser::plays;
use e2e::site::{eventually, host};
use e2e::tokens;

const RESOURCE: &str = "https://records.demo.internal";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_several_issuers_count_where_they_are_accepted_and_nowhere_else() {
    let site = Site::all_in_one_with(|text| {
        let host = host(&text);
        let (before, after) = text.split_once("gateway:\n  listen").expect("a gateway");
        let (gateway, routes) = after.split_once("routes:\n").expect("routes");
        let issuers = ISSUERS.replace("HOST", &host);
        let origins =
            "public_origins: [\"http://HOST:8080\", \"http://asked.test\", \"http://own.test\"]";
        let (head, tail) = gateway.split_once("public_origins:").expect("origins");
        let (_, tail) = tail.split_once('\n').expect("a line");
        let gateway = format!("{head}{}\n{issuers}{tail}", origins.replace("HOST", &host));
        // The last route is of the same path.
        let (routes, rest) = routes.split_once("  - match: /whoami").expect("the echo");
        let (_, rest) = rest.split_once("\n\n").expect("the end of the routes");
        format!("{before}gateway:\n  listen{gateway}routes:\n{routes}{ROUTES}\n{rest}")
    });
    let alice = tokens::access_token(&site, "alice").await;
    let own = tokens::phantom(&site, &alice).await;
    let at = |port: u16| format!("http://{}:{port}", site.host);
    let variables = [
        ("ISSUER", at(9998)),
        ("AUDIENCE", RESOURCE.to_owned()),
        ("JWT_URL", site.gateway_url("/whoami")),
        ("ASKED_HOST", "asked.test".to_owned()),
        ("OWN_HOST", "own.test".to_owned()),
        ("OWN_TOKEN", own.clone()),
    ];
    let steps = [
        "jwt",
        "opaque",
        "nowhere_else",
        "own",
        "bound",
        "revoked",
        "new_key",
        "away",
    ];
    tokio::task::block_in_place(|| {
        let variables: Vec<_> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        plays("issuers.mjs", &variables, &steps);
    });
    // The token service's own opaque tokens go where they always went.
    let answer = e2e::http::get(&site.gateway_url("/records/1001"), Some(&alice)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let file = site.folder.path().join("data/access.jsonl");
    let log = || std::fs::read_to_string(&file).unwrap_or_default();
    for issuer in ["partner", "asked", "own", "token_service"] {
        let said = format!("\"issuer\":\"{issuer}\"");
        let is_said = || std::future::ready(log().contains(&said));
        eventually(&said, Duration::from_secs(5), is_said).await;
    }
    let log = log();
    assert!(log.contains("\"subject\":\"partner:robot-jwt\""));
    assert!(!log.contains(&own) && !log.contains(&alice));
}

const ISSUERS: &str = "  issuers:
    partner:
      jwt:
        issuer: http://HOST:9998
        jwks_rest_secs: 1
    asked:
      introspection:
        introspection_url: http://HOST:9998/token/introspection
        client_id: gateway
        client_secret: secret-of-gateway
        ttl_secs: 1
    own:
      jwt:
        issuer: http://HOST:8081
";

const ROUTES: &str = "  - match: /whoami
    methods: [GET]
    host: asked.test
    upstream: records
    action: view_echo
    resource: Service/records
    issuers: [asked]
  - match: /whoami
    methods: [GET]
    host: own.test
    upstream: records
    action: view_echo
    resource: Service/records
    issuers: [own]
  - match: /whoami
    methods: [GET]
    upstream: records
    action: view_echo
    resource: Service/records
    issuers: [partner]
";
