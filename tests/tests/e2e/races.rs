//! Fifty at once, over real sockets, on each of the stores: what is good once is good once.

mod device;

use std::collections::BTreeSet;

use e2e::Site;
use e2e::holder::Holder;
use e2e::http::{Answer, get, post_form};
use e2e::site::Topology;
use e2e::tokens::{self, text};
use futures_util::future::join_all;
use serde_json::json;

const AT_ONCE: usize = 50;
const MACHINE: (&str, &str) = ("nightly-report", "demo-secret-of-nightly-report");
const WEB: (&str, &str) = ("records-web", "demo-secret-of-records-web");
const GATEWAY: (&str, &str) = ("gateway", "demo-secret-of-gateway");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_are_one_on_redb() {
    race(&Site::start(Topology::AllInOne)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_are_one_on_redis() {
    race(&Site::start(Topology::Split)).await;
}

async fn race(site: &Site) {
    code(site).await;
    refresh_token(site).await;
    proof(site).await;
    proof_at_the_gateway(site).await;
    pushed_request(site).await;
    device_code(site).await;
}

/// One redemption wins; since others tried, what it has bought dies.
async fn code(site: &Site) {
    let mut client = tokens::client(site).await;
    let password = service_kit::Secret::new("alice-demo-password");
    let granted = client
        .authorize(&tokens::cli(), "alice", &password, tokens::SCOPE)
        .await
        .expect("authorized");
    let cli = tokens::cli();
    let all = join_all((0..AT_ONCE).map(|_| client.redeem(&cli, &granted))).await;
    let won: Vec<_> = all.into_iter().filter_map(Result::ok).collect();
    assert_eq!(won.len(), 1, "redemptions of one code");
    assert!(!is_active(site, &text(&won[0], "access_token")).await);
}

/// Whoever asks twice gets the same: there is one successor, and it is good.
async fn refresh_token(site: &Site) {
    let first = tokens::log_in(site, "bob").await;
    let refresh = text(&first, "refresh_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", refresh.as_str()),
    ];
    let url = site.token_service_url("/token");
    let all = join_all((0..AT_ONCE).map(|_| post_form(&url, None, &form))).await;
    let successors: BTreeSet<_> = all
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 200, "{}", answer.body);
            text(&answer.json(), "refresh_token")
        })
        .collect();
    assert_eq!(successors.len(), 1, "successors of one refresh token");
    assert!(is_active(site, &text(&all[0].json(), "access_token")).await);
}

async fn proof(site: &Site) {
    let url = site.token_service_url("/token");
    let proof = Holder::new().proof("POST", &url, None);
    let ask = || async {
        let request = e2e::http::client()
            .post(&url)
            .basic_auth(MACHINE.0, Some(MACHINE.1))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", &proof)
            .body("grant_type=client_credentials");
        e2e::http::send(request).await
    };
    let all = join_all((0..AT_ONCE).map(|_| ask())).await;
    let (won, lost): (Vec<&Answer>, Vec<&Answer>) =
        all.iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1, "uses of one proof");
    assert_eq!(won[0].json()["token_type"], "DPoP");
    for answer in lost {
        assert_eq!(answer.json()["error"], "invalid_dpop_proof");
    }
}

async fn proof_at_the_gateway(site: &Site) {
    let holder = Holder::new();
    let token = holder.bound_token(site, MACHINE).await;
    let url = site.gateway_url("/records");
    let proof = holder.proof("GET", &url, Some(&token));
    let all = join_all((0..AT_ONCE).map(|_| Holder::send(&url, &token, &proof))).await;
    let (won, lost): (Vec<&Answer>, Vec<&Answer>) =
        all.iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1, "uses of one proof at the gateway");
    for answer in lost {
        assert_eq!(answer.status, 401, "{}", answer.body);
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains("invalid_dpop_proof"), "{challenge}");
    }
}

async fn pushed_request(site: &Site) {
    let form = [
        ("response_type", "code"),
        ("redirect_uri", "http://127.0.0.1:9999/callback"),
        ("scope", "openid"),
        (
            "code_challenge",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
        ("code_challenge_method", "S256"),
    ];
    let form = form.map(|(name, value)| (name, value.replace("127.0.0.1", &site.host.to_string())));
    let form: Vec<_> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let pushed = post_form(&site.token_service_url("/par"), Some(WEB), &form).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", WEB.0)
        .append_pair("request_uri", &text(&pushed.json(), "request_uri"))
        .finish();
    let url = site.token_service_url(&format!("/authorize?{query}"));
    let all = join_all((0..AT_ONCE).map(|_| get(&url, None))).await;
    let shown = all.iter().filter(|answer| answer.status == 200).count();
    let refused = all.iter().filter(|answer| answer.status == 400).count();
    assert_eq!(
        (shown, refused),
        (1, AT_ONCE - 1),
        "uses of one pushed request"
    );
}

/// One poll wins, and what it has bought is good: nobody but the device has the code.
async fn device_code(site: &Site) {
    let device = device::approved(site).await;
    let url = site.token_service_url("/token");
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "cli"),
        ("device_code", device.as_str()),
    ];
    let all = join_all((0..AT_ONCE).map(|_| post_form(&url, None, &form))).await;
    let (won, lost): (Vec<&Answer>, Vec<&Answer>) =
        all.iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1, "redemptions of one device code");
    for answer in lost {
        assert_eq!(answer.json()["error"], "invalid_grant", "{}", answer.body);
    }
    let tokens = won[0].json();
    assert!(is_active(site, &text(&tokens, "access_token")).await);
    let refresh = text(&tokens, "refresh_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(post_form(&url, None, &form).await.status, 200);
}

async fn is_active(site: &Site, token: &str) -> bool {
    let url = site.token_service_url("/introspect");
    let answer = post_form(&url, Some(GATEWAY), &[("token", token)]).await;
    answer.json()["active"] == json!(true)
}
