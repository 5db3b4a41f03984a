//! Debian's `libapache2-mod-oauth2` as a resource server: it introspects opaque tokens, and behind the
//! gateway it verifies JWTs by the published keys.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::apache::Apache;
use e2e::browser::plays;
use e2e::http::{Answer, get};
use e2e::site::eventually;
use e2e::{Site, tokens};
use serde_json::Value;
use service_kit::Secret;

use super::{OUTSIDE, site};

#[tokio::test]
async fn apache_lets_through_whom_introspection_names_and_refuses_the_others() {
    let site = site("", |text| text);
    let apache = serve(&site);
    let page = apache.url("/introspected/page");
    let grant = log_in(&site).await;
    let token = tokens::text(&grant, "access_token");

    let answer = get(&page, Some(&token)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "introspected"));
    assert_eq!(answer.header("x-sub"), "alice");

    assert_eq!(get(&page, None).await.status, 401);
    for wrong in [
        "cg_at_nonsense",
        &tokens::text(&grant, "refresh_token"),
        &tokens::text(&grant, "id_token"),
    ] {
        let answer = get(&page, Some(wrong)).await;
        assert_eq!(answer.status, 401, "{wrong}: {}", answer.body);
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
    // What it may not is for Apache to say, by the scope that introspection tells.
    let machine = machine(&site).await;
    assert_eq!(get(&page, Some(&machine)).await.status, 401);

    tokens::revoke(&site, &token).await;
    let refused = || async { get(&page, Some(&token)).await.status == 401 };
    eventually("its cache forgets", Duration::from_secs(10), refused).await;
    assert_eq!(complaints(&apache), Vec::<String>::new());
}

#[tokio::test]
async fn apache_behind_the_gateway_verifies_the_jwt_by_the_published_keys() {
    let site = site("", |text| {
        let (before, after) = text.split_once("\nupstreams:").expect("upstreams");
        let before = before.replacen("      claims_by_policy: true\n", SIGNED_BY_RSA, 1);
        format!(
            "{before}\nupstreams:{}",
            after.replacen(":9000", ":9720", 1)
        )
    });
    let apache = serve(&site);
    let grant = log_in(&site).await;
    let token = tokens::text(&grant, "access_token");

    let answer = get(&site.gateway_url("/records/1001"), Some(&token)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("x-sub"), "alice");
    assert_eq!(answer.body, "behind the gateway");

    // At the service itself, nothing else will do: not the opaque token, nor a JWT for another audience.
    let direct = apache.url("/records/1001");
    for wrong in [&token, &tokens::text(&grant, "id_token")] {
        let answer: Answer = get(&direct, Some(wrong)).await;
        assert_eq!(answer.status, 401, "{}", answer.body);
    }
}

#[test]
fn apache_takes_a_bound_token_with_a_proof_of_the_key_that_introspection_names() {
    let site = site("", |text| text);
    let apache = serve(&site);
    plays(
        "bound.mjs",
        &[
            ("ISSUER", site.token_service_url("").as_str()),
            ("CLIENT_ID", "nightly-report"),
            ("CLIENT_SECRET", "demo-secret-of-nightly-report"),
            ("RESOURCE_URL", &apache.url("/proven/page")),
        ],
        &["proven", "unproven", "other_key"],
    );
}

/// With one scope that the records know: the module compares the whole of the claim.
async fn log_in(site: &Site) -> Value {
    let mut client = tokens::client(site).await;
    let password = Secret::new("alice-demo-password");
    let scope = "openid offline_access records:read";
    client
        .log_in(&tokens::cli(), "alice", &password, scope)
        .await
        .expect("logged in")
}

/// A token without the scope of the page.
async fn machine(site: &Site) -> String {
    let form = [("grant_type", "client_credentials")];
    let basic = ("nightly-report", "demo-secret-of-nightly-report");
    let answer = e2e::http::post_form(&site.token_service_url("/token"), Some(basic), &form).await;
    tokens::text(&answer.json(), "access_token")
}

fn serve(site: &Site) -> Apache {
    let configuration = CONFIGURATION
        .replace("ISSUER", &site.token_service_url(""))
        .replace("CALLER", OUTSIDE.0)
        .replace("SECRET", OUTSIDE.1);
    Apache::start(
        SocketAddr::from((site.host, 9720)),
        &configuration,
        &[
            ("introspected/page", "introspected"),
            ("records/1001", "behind the gateway"),
            ("proven/page", "proven"),
        ],
    )
}

/// What the module has to say about our answers, but for what it says of every token that is not active.
fn complaints(apache: &Apache) -> Vec<String> {
    let log = apache.log();
    let lines = log.lines().filter(|line| line.contains("oauth2:"));
    lines
        .filter(|line| !line.contains("\"active\" boolean object with value \"false\""))
        .map(str::to_owned)
        .collect()
}

const SIGNED_BY_RSA: &str = "      claims_by_policy: true\n      jwt_alg: RS256\n";

/// The cache keeps an answer for a second: Apache's to choose.
const CONFIGURATION: &str = r#"
LoadModule oauth2_module MODULES/mod_oauth2.so
Header set X-Sub "expr=%{REMOTE_USER}"
<Location /introspected>
  AuthType oauth2
  OAuth2TargetPass remote_user_claim=sub
  OAuth2TokenVerify introspect ISSUER/introspect introspect.auth=client_secret_basic&client_id=CALLER&client_secret=SECRET&expiry=1
  Require oauth2_claim scope:records:read
</Location>
<Location /proven>
  AuthType oauth2
  OAuth2AcceptTokenIn header type=DPoP
  OAuth2TokenVerify introspect ISSUER/introspect introspect.auth=client_secret_basic&client_id=CALLER&client_secret=SECRET&type=dpop
  Require oauth2_claim scope:records:list
</Location>
<Location /records>
  AuthType oauth2
  OAuth2TargetPass remote_user_claim=sub
  OAuth2TokenVerify metadata ISSUER/.well-known/oauth-authorization-server verify.exp=required&verify.iat=required
  <RequireAll>
    Require oauth2_claim iss:ISSUER
    Require oauth2_claim aud:https://records.demo.internal
    Require oauth2_claim scope:records:read
  </RequireAll>
</Location>
"#;
