//! `openid-client` from npm calls through the gateway with tokens that are bound to its key.

use e2e::Site;
use e2e::browser::plays;

#[test]
fn a_client_that_we_did_not_write_calls_through_the_gateway_by_its_key_alone() {
    let site = Site::all_in_one_with(|text| {
        [
            ("\ngateway:\n", NONCES),
            (WHOAMI, BOUND),
            (
                "token_service:\n",
                "token_service:\n  require_dpop_nonce: true\n",
            ),
        ]
        .into_iter()
        .fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
    });
    plays(
        "bound_at_gateway.mjs",
        &[
            ("ISSUER", site.token_service_url("").as_str()),
            ("CLIENT_ID", "nightly-report"),
            ("CLIENT_SECRET", "demo-secret-of-nightly-report"),
            ("RESOURCE_URL", &site.gateway_url("/records")),
            ("OTHER_URL", &site.gateway_url("/records/1001")),
            ("BOUND_URL", &site.gateway_url("/whoami")),
        ],
        &[
            "proven",
            "again",
            "bound_route",
            "replayed",
            "elsewhere",
            "other_method",
            "as_bearer",
            "unproven",
            "other_key",
            "arrived_late",
            "by_every_algorithm",
        ],
    );
}

const NONCES: &str = "
gateway:
  dpop:
    require_nonce: true
    nonce_secret: a secret of the tests, which is long enough
";

const WHOAMI: &str = "  - match: /whoami
    methods: [GET]
    upstream: records
    action: view_echo
    resource: Service/records
";

/// It answers what the upstream was sent.
const BOUND: &str = "  - match: /whoami
    methods: [GET]
    upstream: records
    action: list_records
    resource: Collection/records
    dpop_bound_access_tokens_required: true
";
