//! The Model Context Protocol's own SDK, as the client and as the server behind the gateway.

use std::net::SocketAddr;

use e2e::Site;
use e2e::python::{play, start};
use serde_json::json;

use super::site;

#[test]
fn a_client_of_mcp_that_knows_a_url_finds_its_way_in() {
    let site = site("", |text| {
        [
            ("\n  clients:\n", REGISTRATION),
            ("  resources:\n", RESOURCE),
            ("]\n\ngateway:\n", GATEWAY),
            ("upstreams:\n", UPSTREAM),
            ("routes:\n", ROUTES),
        ]
        .into_iter()
        .fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
    });
    let server = site.gateway_url("/mcp");
    let _upstream = upstream(&site, &server);
    let summary = play(
        "mcp_flow.py",
        &[
            ("SERVER", &server),
            ("EDITOR", &site.gateway_url("/mcp/editor")),
            ("ELSEWHERE", &site.gateway_url("/records/1001")),
            ("REDIRECT_URI", "http://127.0.0.1:51789/callback"),
            ("USERNAME", "alice"),
            ("PASSWORD", "alice-demo-password"),
        ],
    );
    assert_eq!(summary["aud"], json!(server), "{summary}");
}

/// The server, which the gateway alone reaches.
fn upstream(site: &Site, audience: &str) -> e2e::process::Process {
    let listen = SocketAddr::from((site.host, 9100));
    let mut process = start(
        "mcp_server.py",
        site.folder.path(),
        &[
            ("LISTEN", &listen.to_string()),
            ("ISSUER", &site.token_service_url("")),
            ("AUDIENCE", audience),
        ],
    );
    process.await_port(listen);
    process
}

/// As for applications that nobody knows: no secret, since a program on somebody's machine keeps none.
const REGISTRATION: &str = "
  registration:
    open:
      bounds: { scope: 'offline_access records:read records:write', clients: 1, auth_methods: [none] }
  clients:
";

const RESOURCE: &str = "  resources:
    - id: http://HOST:8080/mcp
      scope: records:read records:write
";

/// Before it, the end of what the gateway may ask about.
const GATEWAY: &str = ", 'http://HOST:8080/mcp']

gateway:
  authorization_servers: ['http://HOST:8081']
";

const UPSTREAM: &str = "upstreams:
  notes:
    url: http://HOST:9100
    resource: http://HOST:8080/mcp
";

const ROUTES: &str = "routes:
  - match: /mcp
    methods: [GET, POST, DELETE]
    upstream: notes
    scope: records:read
    action: view_echo
    resource: Service/records
  - match: /mcp/editor
    methods: [GET, POST, DELETE]
    upstream: notes
    scope: records:read records:write
    action: view_echo
    resource: Service/records
";
