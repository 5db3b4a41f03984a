//! People with a browser log in at the gateway itself, in headless Chromium: at our own token service by the
//! example of docs/LOGIN.md, in both topologies, and at `oidc-provider` from npm.

use e2e::Site;
use e2e::browser::plays;
use e2e::process::repository;
use e2e::site::host;

const STEPS: [&str; 9] = [
    "login",
    "cookies",
    "scripts",
    "other_sites",
    "renewal",
    "logout",
    "tabs",
    "logout_there",
    "denied",
];

/// The configuration that docs/LOGIN.md shows, which is also a file.
fn example() -> String {
    let text = std::fs::read_to_string(repository().join("docs/LOGIN.md")).expect("LOGIN.md");
    let (_, after) = text
        .split_once("<!-- example -->\n```yaml\n")
        .expect("an example");
    let (example, _) = after.split_once("```").expect("its end");
    let file = std::fs::read_to_string(repository().join("config/login.yaml"));
    assert_eq!(example, file.expect("login.yaml"));
    example.to_owned()
}

/// A section, from its name to the next one.
fn section<'t>(text: &'t str, name: &str) -> &'t str {
    let start = text.find(&format!("\n{name}:")).expect(name) + 1;
    let rest = &text[start..];
    let end = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    &rest[..end]
}

/// Tokens end while the browser goes on.
fn short_lived(text: &str) -> String {
    let ttl =
        "  ttl: { access_token_secs: 3, jwt_secs: 2, introspection_cache_secs: 1 }\n  users:\n";
    text.replacen("  users:\n", ttl, 1)
}

fn signs_in(site: &Site, more: &[(&str, String)]) {
    let mut variables = vec![
        ("GATEWAY", site.gateway_url("")),
        ("LOGIN", "records".to_owned()),
        ("PAGE", "/whoami".to_owned()),
        ("ISSUER", site.token_service_url("")),
        ("USERNAME", "alice".to_owned()),
        ("PASSWORD", "alice-demo-password".to_owned()),
        ("TOKEN_SECS", "3".to_owned()),
        ("CHROMIUM", "/usr/bin/chromium".to_owned()),
    ];
    variables.retain(|(name, _)| !more.iter().any(|(own, _)| own == name));
    variables.extend(more.iter().cloned());
    let is_https = more.iter().any(|(name, _)| *name == "GATEWAY");
    let variables: Vec<_> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    // The token service would have to believe the gateway's certificate.
    let is_step = |step: &&&str| !(is_https && **step == "logout_there");
    let steps: Vec<_> = STEPS.iter().filter(is_step).copied().collect();
    let summary = plays("login.mjs", &variables, &steps);
    // A page of the same host by http is of the same site as the gateway by http, and of no other.
    assert_eq!(summary["cookie_sent_by_0"], !is_https);
    assert_eq!(summary["cookie_sent_by_1"], false);
    let session = summary["session"].as_str().expect("a session");
    let gateway = site.gateway.as_ref().unwrap_or(&site.pdp);
    let log = gateway.output();
    assert!(!log.contains(session), "no log has the session's id");
}

#[test]
fn the_example_of_the_documentation_lets_people_in_and_out() {
    let site = Site::all_in_one_with(|text| {
        let example = example().replace("127.0.0.1:", &format!("{}:", host(&text)));
        let (head, _) = text.split_once("\nstore:").expect("a store");
        short_lived(&format!("{head}\n{example}"))
    });
    signs_in(&site, &[]);
}

/// By TLS and HTTP/2, with cookies that are this host's alone.
#[test]
fn over_tls_no_other_host_can_have_or_set_the_cookie() {
    let files = tempfile::tempdir().expect("folder");
    let site = Site::all_in_one_with(|text| {
        let here = host(&text);
        let at = |name: &str| files.path().join(name);
        let params = rcgen::CertificateParams::new([here.clone()]).expect("parameters");
        let key = rcgen::KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        std::fs::write(at("own.pem"), certificate.pem()).expect("file");
        std::fs::write(at("own.key"), key.serialize_pem()).expect("file");
        let tls = format!(
            "  tls: {{ certificates: [{{ certificate_file: {:?}, key_file: {:?} }}] }}\n  sessions:\n",
            at("own.pem"),
            at("own.key")
        );
        let example = example()
            .replace("    insecure_cookies: true", "    cached: 100")
            .replace("http://127.0.0.1:8080", "https://127.0.0.1:8080")
            // The token service tells nobody whose certificate it does not believe.
            .replacen("      backchannel_logout_uri: https", "      # https", 1)
            .replacen("  sessions:\n", &tls, 1)
            .replace("127.0.0.1:", &format!("{here}:"));
        let (head, _) = text.split_once("\nstore:").expect("a store");
        short_lived(&format!("{head}\n{example}"))
    });
    let gateway = format!("https://{}:8080", site.host);
    signs_in(&site, &[("GATEWAY", gateway)]);
}

#[test]
fn sessions_are_in_redis_where_roles_are_processes_of_their_own() {
    let example = example();
    let client = section(&example, "token_service");
    let (_, client) = client.split_once("  clients:\n").expect("clients");
    let (client, _) = client.split_once("  resources:\n").expect("their end");
    let site = Site::split_changed(&[
        ("token-service.yaml", &|text| {
            let client = client.replace("127.0.0.1:", &format!("{}:", host(&text)));
            short_lived(&text.replacen("  clients:\n", &format!("  clients:\n{client}"), 1))
        }),
        ("gateway.yaml", &|text| login(&text, &example)),
    ]);
    signs_in(&site, &[]);
}

/// A gateway's configuration with the login of the example.
fn login(text: &str, example: &str) -> String {
    let here = host(text);
    let (_, logins) = section(example, "gateway")
        .split_once("  sessions:\n")
        .expect("sessions");
    let logins = format!("  sessions:\n{logins}").replace("127.0.0.1:", &format!("{here}:"));
    let route = "  - match: /whoami\n    methods: [GET]\n";
    assert!(text.contains(route));
    text.replacen(
        "gateway:\n  listen",
        &format!("gateway:\n{logins}  listen"),
        1,
    )
    .replacen(
        route,
        "  - match: /whoami\n    methods: [GET, POST]\n    login: records\n",
        1,
    )
}

#[test]
fn people_of_a_provider_that_others_wrote_log_in_at_the_gateway() {
    let example = example();
    let site = Site::all_in_one_with(|text| {
        let here = host(&text);
        let text = login(&text, &example)
            .replace(
                &format!("      issuer: http://{here}:8081\n"),
                &format!("      issuer: http://{here}:9998\n"),
            )
            .replace(
                "      scopes: [offline_access, records:read, records:write]\n",
                "",
            )
            .replacen(
                "    login: records\n",
                "    login: records\n    issuers: [partner]\n",
                1,
            );
        let partner = PARTNER.replace("HOST", &here);
        text.replacen("  logins:\n", &format!("{partner}  logins:\n"), 1)
    });
    let provider = format!("http://{}:9998", site.host);
    signs_in(
        &site,
        &[("PROVIDER_URL", provider.clone()), ("ISSUER", provider)],
    );
    let file = site.folder.path().join("data/access.jsonl");
    let log = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(log.contains("\"login\":\"records\""), "{log}");
    assert!(log.contains("\"subject\":\"partner:sue\""), "{log}");
    for secret in ["code=", "state=", "__Host", "logout_token"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

const PARTNER: &str = "  issuers:
    partner:
      introspection:
        introspection_url: http://HOST:9998/token/introspection
        client_id: gateway
        client_secret: secret-of-gateway
        requires_audience: false
        ttl_secs: 1
";
