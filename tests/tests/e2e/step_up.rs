//! A route that wants a login of a kind, and no older than so: who has such a login passes, who has none
//! is told which (RFC 9470), and where to get it (RFC 9728).

use e2e::Site;
use e2e::http::{get, post_form};
use e2e::tokens;

const ROUTE: &str = "  - match: /whoami\n    methods: [GET]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_passes_the_login_that_it_wants() {
    let site = Site::all_in_one_with(|text| {
        assert!(text.contains(ROUTE));
        let wanted = format!("{ROUTE}    acr_values: [urn:example:pwd]\n    max_age_secs: 3600\n");
        text.replacen(ROUTE, &wanted, 1)
            .replacen(
                "token_service:\n",
                "token_service:\n  login: { acr: \"urn:example:pwd\" }\n",
                1,
            )
            .replacen(
                "gateway:\n",
                "gateway:\n  authorization_servers: [\"https://login.example\"]\n",
                1,
            )
    });
    let url = site.gateway_url("/whoami");
    let alice = tokens::access_token(&site, "alice").await;
    let passed = get(&url, Some(&alice)).await;
    assert_eq!(passed.status, 200, "{}", passed.body);
    // A machine has not logged in at all.
    let credential = Some(("nightly-report", "demo-secret-of-nightly-report"));
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "records:list"),
    ];
    let machine = post_form(&site.token_service_url("/token"), credential, &form).await;
    let machine = tokens::text(&machine.json(), "access_token");
    let refused = get(&url, Some(&machine)).await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("www-authenticate"),
        "Bearer realm=\"cedargate\", error=\"insufficient_user_authentication\", \
         error_description=\"another or a newer login is needed\", acr_values=\"urn:example:pwd\", \
         max_age=\"3600\", \
         resource_metadata=\"https://records.demo.internal/.well-known/oauth-protected-resource\""
    );
    let metadata = site.gateway_url("/.well-known/oauth-protected-resource");
    let found = get(&metadata, None).await.json();
    assert_eq!(found["resource"], "https://records.demo.internal");
    assert_eq!(found["authorization_servers"][0], "https://login.example");
}
