//! The token service's attack corpus. Its steps are prose, so each case that is carried has a
//! function here; the statuses that it may answer with are read from the corpus. What is carried
//! elsewhere, or not yet, is listed, and no case is in no list.

mod at_rest;
mod authorization;
mod clients;
mod elsewhere;
mod introspection;
mod token_endpoint;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::Site;
use e2e::http::{Answer, client, post_form, send};
use e2e::process::repository;
use serde_json::{Value, json};
use service_kit::digest;

use clients::Signer;

const GATEWAY: (&str, &str) = ("gateway", "demo-secret-of-gateway");
const BILLING: (&str, &str) = ("billing-gateway", "secret-of-billing");
const MACHINE: (&str, &str) = ("nightly-report", "demo-secret-of-nightly-report");
const WEB: (&str, &str) = ("records-web", "demo-secret-of-records-web");
const RECORDS: &str = "https://records.demo.internal";

/// One site, the corpus, and what was carried.
struct Attacks {
    site: Site,
    /// The key of the client `signer`.
    signer: Signer,
    corpus: Value,
    carried: BTreeSet<String>,
}

impl Attacks {
    fn begin() -> Self {
        let text = std::fs::read_to_string(repository().join("tests/vectors/token-attacks.json"));
        let signer = Signer::new();
        let jwks = signer.jwks();
        Self {
            site: Site::all_in_one_with(|text| with_targets(&text, &jwks)),
            signer,
            corpus: serde_json::from_str(&text.expect("corpus")).expect("JSON"),
            carried: BTreeSet::new(),
        }
    }

    fn expectation(&mut self, id: &str) -> Value {
        let cases = self.corpus["cases"].as_array().expect("cases");
        let case = cases.iter().find(|case| case["id"] == id);
        self.carried.insert(id.to_owned());
        case.unwrap_or_else(|| panic!("no case {id}"))["expectation"].clone()
    }

    /// Holds an answer against the statuses and error codes of a case.
    fn hold(&mut self, id: &str, answer: &Answer) {
        let expectation = self.expectation(id);
        if let Some(statuses) = expectation["status"].as_array() {
            assert!(
                statuses.iter().any(|s| *s == answer.status),
                "{id}: {} {}",
                answer.status,
                answer.body
            );
        }
        if let Some(errors) = expectation["error"].as_array()
            && answer.status >= 400
        {
            let error = answer.json()["error"].clone();
            assert!(errors.contains(&error), "{id}: {error}");
        }
    }

    fn url(&self, path: &str) -> String {
        self.site.token_service_url(path)
    }

    async fn introspect(&self, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> Answer {
        post_form(&self.url("/introspect"), basic, form).await
    }

    /// With an `Accept` header.
    async fn introspect_as(&self, basic: (&str, &str), accept: &str, token: &str) -> Answer {
        let request = client()
            .post(self.url("/introspect"))
            .basic_auth(basic.0, Some(basic.1))
            .header("accept", accept)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        send(request).await
    }

    async fn token(&self, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> Answer {
        post_form(&self.url("/token"), basic, form).await
    }

    async fn is_active(&self, token: &str) -> bool {
        self.introspect(Some(GATEWAY), &[("token", token)])
            .await
            .json()["active"]
            == json!(true)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hostile_request_gets_through_the_token_service() {
    let mut attacks = Attacks::begin();
    introspection::introspection(&mut attacks).await;
    introspection::callers(&mut attacks).await;
    introspection::revocation(&mut attacks).await;
    authorization::authorization(&mut attacks).await;
    authorization::answers(&mut attacks).await;
    authorization::pages(&mut attacks).await;
    authorization::pushed(&mut attacks).await;
    authorization::logout(&mut attacks).await;
    token_endpoint::token_endpoint(&mut attacks).await;
    token_endpoint::devices(&mut attacks).await;
    token_endpoint::refresh(&mut attacks).await;
    token_endpoint::userinfo_and_metadata(&mut attacks).await;
    clients::assertions(&mut attacks).await;
    at_rest::secrets_at_rest(&mut attacks).await;
    elsewhere::assert_whole(&attacks.corpus, &attacks.carried);
}

/// The demo, and what some cases need beyond it: a second resource that knows another scope, who fronts
/// it, a client that signs assertions, and one that must push.
fn with_targets(text: &str, jwks: &Value) -> String {
    let hash = format!("sha256:{}", digest::sha256_base64url(BILLING.1.as_bytes()));
    let after =
        |text: String, line: &str, more: &str| text.replacen(line, &format!("{line}{more}"), 1);
    let text = after(
        text.to_owned(),
        "  clients:\n",
        &format!(
            "    - id: signer
      jwks: {jwks}
      grant_types: [client_credentials]
      scope: records:read
    - id: pusher
      public: true
      require_pushed_authorization_requests: true
      grant_types: [authorization_code]
      redirect_uris: ['http://127.0.0.1/one', 'http://127.0.0.1/two']
      scope: openid
"
        ),
    );
    let resource = "    - id: https://billing.demo.internal\n      scope: records:list\n";
    let server = format!(
        "    - id: {}\n      secret_hash: {hash}\n      resources: ['https://billing.demo.internal']\n",
        BILLING.0
    );
    let text = after(text, "  resources:\n", resource);
    after(text, "  resource_servers:\n", &server)
}

/// The claims of a JWT, unverified.
fn payload(jwt: &str) -> Value {
    part(jwt, 1)
}

fn part(jwt: &str, number: usize) -> Value {
    let part = jwt.split('.').nth(number).expect("a JWT");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}
