//! `openid-client` from npm and headless Chromium complete the whole flow.

use e2e::Site;
use e2e::browser::plays;

#[test]
fn an_oidc_client_that_we_did_not_write_completes_the_flow_in_a_browser() {
    completes(&Site::all_in_one(), &[]);
}

/// Pushes its request, and every token is bound to its key, by proofs with nonces.
#[test]
fn the_same_client_pushes_its_request_and_binds_its_tokens_to_a_key() {
    let site = Site::all_in_one_with(|text| {
        let (before, after) = text.split_once("  clients:\n").expect("clients");
        format!("{before}  require_dpop_nonce: true\n  clients:\n{after}").replacen(
            "    - id: records-web\n",
            BOUND,
            1,
        )
    });
    completes(&site, &[("DPOP", "yes"), ("PAR", "yes")]);
}

const BOUND: &str = "    - id: records-web
      dpop_bound_access_tokens: true
      require_pushed_authorization_requests: true
";

fn completes(site: &Site, more: &[(&str, &str)]) {
    let redirect = format!("http://{}:9999/callback", site.host);
    let after_logout = format!("http://{}:9999/signed-out", site.host);
    let issuer = site.token_service_url("");
    let variables = [
        ("ISSUER", issuer.as_str()),
        ("CLIENT_ID", "records-web"),
        ("CLIENT_SECRET", "demo-secret-of-records-web"),
        ("REDIRECT_URI", redirect.as_str()),
        ("USERNAME", "alice"),
        ("PASSWORD", "alice-demo-password"),
        ("DEVICE_ID", "cli"),
        ("SCOPE", "openid profile email offline_access records:read"),
        ("SERVER_ID", "gateway"),
        ("SERVER_SECRET", "demo-secret-of-gateway"),
        ("AFTER_LOGOUT", after_logout.as_str()),
        ("CHROMIUM", "/usr/bin/chromium"),
    ];
    let variables: Vec<_> = variables.into_iter().chain(more.iter().copied()).collect();
    let steps = [
        "discovery",
        "login",
        "token",
        "device",
        "userinfo",
        "introspection",
        "refresh",
        "revoke",
        "logout",
    ];
    let summary = plays("flow.mjs", &variables, &steps);
    assert_eq!(summary["sub"], "alice");
    let pages = summary["looked_at"].as_array().expect("pages");
    assert_eq!(pages.len(), 9, "{pages:?}");
}
