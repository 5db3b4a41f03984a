//! `openid-client` from npm and headless Chromium complete the whole flow.

use e2e::Site;
use e2e::browser::flow;

#[test]
fn an_oidc_client_that_we_did_not_write_completes_the_flow_in_a_browser() {
    let site = Site::all_in_one();
    let redirect = format!("http://{}:9999/callback", site.host);
    let output = flow(&[
        ("ISSUER", &site.token_service_url("")),
        ("CLIENT_ID", "records-web"),
        ("CLIENT_SECRET", "demo-secret-of-records-web"),
        ("REDIRECT_URI", &redirect),
        ("USERNAME", "alice"),
        ("PASSWORD", "alice-demo-password"),
        ("DEVICE_ID", "cli"),
        ("SCOPE", "openid profile email offline_access records:read"),
        ("CHROMIUM", "/usr/bin/chromium"),
    ]);
    let line = output.lines().last().unwrap_or_default();
    let summary: serde_json::Value = serde_json::from_str(line).expect(&output);
    for step in [
        "discovery",
        "login",
        "token",
        "device",
        "userinfo",
        "refresh",
        "revoke",
    ] {
        assert_eq!(summary[step], serde_json::json!(true), "{step}: {summary}");
    }
    assert_eq!(summary["sub"], "alice");
}
