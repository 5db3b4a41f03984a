//! `openid-client` from npm registers itself, is let in by a person, and ends itself: at the gateway, too.

use e2e::Site;
use e2e::browser::plays;

/// Beside the clients of the demo.
const REGISTRATION: &str = "
  registration:
    initial_access_tokens:
      - name: field-work
        secret_hash: 'HASH'
        bounds: { scope: 'openid offline_access records:read', clients: 1 }
  clients:
";

#[test]
fn a_client_that_nobody_has_configured_registers_itself_and_completes_the_flow() {
    let site = Site::all_in_one_with(|text| {
        let hash = token_service::secret_hash("demo-initial-token");
        text.replacen("\n  clients:\n", &REGISTRATION.replace("HASH", &hash), 1)
    });
    let variables = [
        ("ISSUER", site.token_service_url("")),
        ("INITIAL_TOKEN", "demo-initial-token".into()),
        ("CALLBACK_HOST", site.host.to_string()),
        ("USERNAME", "alice".into()),
        ("PASSWORD", "alice-demo-password".into()),
        ("RESOURCE_URL", site.gateway_url("/records/1001")),
        ("CHROMIUM", "/usr/bin/chromium".into()),
    ];
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let steps = [
        "refused",
        "register",
        "login",
        "userinfo",
        "gateway",
        "refresh",
        "manage",
        "gateway_refused",
        "ended",
    ];
    plays("register.mjs", &variables, &steps);
}
