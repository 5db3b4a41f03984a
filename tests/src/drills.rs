//! What is done again and again: tests do it a few times, `bench/` as often as it is told.

pub mod h1;
pub mod kills;
mod random;
pub mod revocations;
pub mod soak;

use crate::Site;
use crate::http::{post_form, try_send};
use crate::tokens::text;

const MACHINE: (&str, &str) = ("nightly-report", "demo-secret-of-nightly-report");
const GATEWAY: (&str, &str) = ("gateway", "demo-secret-of-gateway");

/// A token of the demo's machine client; none where there is no answer.
async fn issue(http: &reqwest::Client, token_service: &str) -> Option<String> {
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "records:list"),
    ];
    let url = format!("{token_service}/token");
    let answer = try_send(form_of(http, &url, MACHINE, &form)).await?;
    (answer.status == 200).then(|| text(&answer.json(), "access_token"))
}

/// Whether a revocation is acknowledged.
async fn revoke(http: &reqwest::Client, token_service: &str, token: &str) -> bool {
    let form = [("token", token)];
    let url = format!("{token_service}/revoke");
    let request = form_of(http, &url, MACHINE, &form);
    try_send(request)
        .await
        .is_some_and(|answer| answer.status == 200)
}

async fn is_active(site: &Site, token: &str) -> bool {
    let url = site.token_service_url("/introspect");
    let answer = post_form(&url, Some(GATEWAY), &[("token", token)]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["active"] == serde_json::json!(true)
}

fn form_of(
    http: &reqwest::Client,
    url: &str,
    (user, password): (&str, &str),
    form: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    http.post(url)
        .basic_auth(user, Some(password))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}
