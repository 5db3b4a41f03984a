//! Tokens for tests, got as a user gets them: through the login page or client credentials.

use cedargate::oauth_client::{Credential, OauthClient};
use serde_json::Value;
use service_kit::Secret;

use crate::Site;

/// Every scope of the demo.
pub const SCOPE: &str = "openid profile offline_access records:read records:write records:list";

/// Logs a demo user in at the `cli` client; the whole token answer.
pub async fn log_in(site: &Site, user: &str) -> Value {
    let mut client = client(site).await;
    let password = Secret::new(format!("{user}-demo-password"));
    client
        .log_in(&cli(), user, &password, SCOPE)
        .await
        .expect("logged in")
}

/// An access token of a demo user.
pub async fn access_token(site: &Site, user: &str) -> String {
    text(&log_in(site, user).await, "access_token")
}

/// Revokes one of the `cli` client's tokens.
pub async fn revoke(site: &Site, token: &str) {
    client(site)
        .await
        .revoke(&cli(), token)
        .await
        .expect("revoked");
}

/// The RFC 9068 JWT that the demo's upstream gets for a token.
pub async fn phantom(site: &Site, token: &str) -> String {
    let request = crate::http::client()
        .post(site.token_service_url("/introspect"))
        .basic_auth("gateway", Some("demo-secret-of-gateway"))
        .header("accept", "application/jwt")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}"));
    let answer = crate::http::send(request).await;
    assert_eq!(answer.status, 200);
    answer.body
}

/// A member of an answer that must be text.
pub fn text(answer: &Value, member: &str) -> String {
    answer[member]
        .as_str()
        .unwrap_or_else(|| panic!("no `{member}` in {answer}"))
        .to_owned()
}

pub async fn client(site: &Site) -> OauthClient {
    let issuer = site.token_service_url("").parse().expect("url");
    OauthClient::discover(&issuer).await.expect("metadata")
}

/// The demo's public client.
pub fn cli() -> Credential {
    Credential {
        client_id: "cli".into(),
        client_secret: None,
    }
}
