//! Google's `google-auth`, whose credentials exchange a token for each call (RFC 8693).

use e2e::python::play;
use serde_json::json;

use super::{OUTSIDE, hash, site};

#[test]
fn credentials_of_google_auth_exchange_what_they_may_and_nothing_else() {
    let secret = "secret-of-billing";
    let client = CLIENT.replace("HASH", &hash(secret));
    let site = site(&client, |text| {
        text.replacen("  resources:\n", &format!("  resources:\n{RESOURCE}"), 1)
    });
    let issuer = site.token_service_url("");
    let record = site.gateway_url("/records/1001");
    let summary = play(
        "google_auth_flow.py",
        &[
            ("ISSUER", &issuer),
            ("CLIENT_ID", "cli"),
            ("REDIRECT_URI", "http://127.0.0.1:51789/callback"),
            ("BILLING_ID", "billing"),
            ("BILLING_SECRET", secret),
            ("BILLING_RESOURCE", "https://billing.demo.internal"),
            ("RESOURCE", "https://records.demo.internal"),
            ("RESOURCE_URL", &record),
            ("SERVER_ID", OUTSIDE.0),
            ("SERVER_SECRET", OUTSIDE.1),
            ("USERNAME", "alice"),
            ("PASSWORD", "alice-demo-password"),
        ],
    );
    assert_eq!(summary["exchanged"], json!(true), "{summary}");
}

const CLIENT: &str = "    - id: billing
      secret_hash: HASH
      grant_types: [token_exchange]
      scope: records:read
      exchange:
        audiences: ['https://records.demo.internal']
        subject_clients: [cli]
        subject_resources: ['https://billing.demo.internal']
";

const RESOURCE: &str = "    - id: https://billing.demo.internal
      scope: records:read
";
