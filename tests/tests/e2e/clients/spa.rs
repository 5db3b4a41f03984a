//! `oidc-client-ts` in a single-page application, in Chromium.

use e2e::browser::plays;

use super::site;

#[test]
fn a_page_without_a_server_logs_in_renews_and_logs_out_by_script_alone() {
    let site = site(CLIENT, |text| {
        text.replacen(
            "  clients:\n",
            "  require_dpop_nonce: true\n  clients:\n",
            1,
        )
    });
    let page = format!("http://{}:9700", site.host);
    let issuer = site.token_service_url("");
    let summary = plays(
        "spa.mjs",
        &[
            ("SITE", page.as_str()),
            ("ISSUER", issuer.as_str()),
            ("USERNAME", "alice"),
            ("PASSWORD", "alice-demo-password"),
        ],
        &[
            "login",
            "signature",
            "renewal",
            "frame",
            "bound",
            "not_framed",
            "cors",
            "forged",
            "revoke",
            "logout",
            "frame_refused",
        ],
    );
    assert_eq!(summary["sub"], "alice");
}

const CLIENT: &str = "    - id: spa
      public: true
      grant_types: [authorization_code, refresh_token]
      redirect_uris: ['http://HOST:9700/callback', 'http://HOST:9700/silent']
      post_logout_redirect_uris: ['http://HOST:9700/signed-out']
      scope: openid profile email offline_access records:read
";
