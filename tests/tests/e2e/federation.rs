//! People log in at another provider, `oidc-provider` from npm, in headless Chromium without JavaScript.

use e2e::Site;
use e2e::browser::plays;
use e2e::site::host;
use serde_json::Value;

#[test]
fn people_of_another_provider_come_in_by_its_word_and_go_when_it_says_so() {
    let site = Site::all_in_one_with(|text| {
        let host = host(&text);
        let provider = PROVIDER.replace("HOST", &host);
        text.replacen("  clients:\n", &format!("{provider}  clients:\n"), 1)
    });
    let at = |port: u16, path: &str| format!("http://{}:{port}{path}", site.host);
    let variables = [
        ("ISSUER", site.token_service_url("")),
        ("CLIENT_ID", "records-web".into()),
        ("CLIENT_SECRET", "demo-secret-of-records-web".into()),
        ("REDIRECT_URI", at(9999, "/callback")),
        ("AFTER_LOGOUT", at(9999, "/signed-out")),
        ("PROVIDER_URL", at(9998, "")),
        ("PROVIDER_ID", "corp".into()),
        ("RESOURCE_URL", site.gateway_url("/records/1002")),
        ("CHROMIUM", "/usr/bin/chromium".into()),
    ];
    let variables: Vec<_> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let steps = [
        "page",
        "login",
        "claims",
        "gateway",
        "logout",
        "dead",
        "again",
        "logout_there",
        "dead_again",
        "denied",
    ];
    let summary = plays("federation.mjs", &variables, &steps);
    // Masked: what the provider calls a group is the role that the policy asks for.
    let record: Value = serde_json::from_str(summary["body"].as_str().unwrap()).unwrap();
    assert_eq!(record["ssn"], "***", "{record}");
    // What happened is in the log, and no secret of it.
    let log = site.pdp.output();
    assert!(log.contains("upstream_logout"), "{log}");
    assert!(!log.contains("cedargate-at-the-provider"));
}

const PROVIDER: &str = "  identity_providers:
    - id: corp
      name: Corp
      issuer: http://HOST:9998
      client_id: cedargate
      client_secret: cedargate-at-the-provider
      claims: { attributes: { roles: groups } }
      require: { email_verified: [true] }
      logout: true
";
