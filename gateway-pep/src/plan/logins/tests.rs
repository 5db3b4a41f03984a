//! Logins, accepted and refused.

use crate::login::Reserved;
use crate::plan::tests::compile;

const LOGIN: &str = "issuer: 'https://id.example', client_id: gw, client_secret: s";
const SECRET: &str = "secret: 'a secret of the tests, long enough to be'";
const ROUTE: &str = "match: /a, methods: [GET], upstream: a, action: x, resource: R/x";

fn config(gateway: &str, routes: &str) -> String {
    format!("gateway: {{ {gateway} }}\nupstreams: {{ a: 'http://x' }}\nroutes: [{routes}]\n")
}

#[test]
fn a_login_reserves_its_paths_and_what_is_beside_them() {
    let gateway = format!(
        "public_origins: ['https://app.example'], sessions: {{ {SECRET} }}, \
         logins: {{ web: {{ {LOGIN}, callback_path: /oauth2/callback }} }}"
    );
    let route = format!(
        "{{ {ROUTE}, login: web }}, {{ match: '/{{*rest}}', methods: ['*'], upstream: a, public: true }}"
    );
    let plan = compile(&config(&gateway, &route)).unwrap();
    let logins = plan.logins.unwrap();
    assert_eq!(logins.all[0].cookie, "__Host-cedargate-web");
    for (path, expected) in [
        ("/oauth2/callback", "callback"),
        ("/.cedargate/web/logout", "logout"),
        ("/.cedargate/web/logged-out", "logged-out"),
        ("/.cedargate/web/login", "login"),
        ("/.cedargate/web/backchannel-logout", "backchannel-logout"),
        ("/.cedargate", ""),
        ("/.cedargate/", ""),
        ("/.cedargate/web", ""),
        ("/.cedargate/web/callback", ""),
        ("/.cedargate/other/logout", ""),
    ] {
        match logins.reserved(path) {
            Reserved::Endpoint(endpoint) => assert_eq!(endpoint.kind.word(), expected, "{path}"),
            Reserved::Nothing => assert_eq!(expected, "", "{path}"),
            Reserved::No => panic!("{path}"),
        }
    }
    for path in [
        "/",
        "/.cedargates",
        "/a/.cedargate/web",
        "/oauth2/callback/x",
    ] {
        assert_eq!(logins.reserved(path), Reserved::No, "{path}");
    }
}

const HTTPS: &str = "public_origins: ['https://app.example']";

fn with(more: &str) -> String {
    format!("{HTTPS}, sessions: {{ {SECRET} }}, logins: {{ web: {{ {LOGIN}{more} }} }}")
}

fn on(login: &str) -> String {
    format!("{{ {ROUTE}, login: {login} }}")
}

#[track_caller]
fn check(gateway: &str, routes: &str, expected: &str) {
    let issues = compile(&config(gateway, routes)).unwrap_err();
    let found = issues.iter().any(|issue| issue.contains(expected));
    assert!(found, "{expected}: {issues:?}");
}

#[test]
fn without_origins_and_a_secret_nobody_logs_in() {
    let login = format!("logins: {{ web: {{ {LOGIN} }} }}");
    for (gateway, expected) in [
        (
            format!("sessions: {{ {SECRET} }}, {login}"),
            "`gateway.logins` needs `gateway.public_origins`",
        ),
        (
            format!("{HTTPS}, {login}"),
            "`gateway.sessions.secret` is missing",
        ),
        (
            format!("{HTTPS}, sessions: {{ secret: short }}, {login}"),
            "`gateway.sessions.secret` is shorter than 32",
        ),
        (
            format!("public_origins: ['http://127.0.0.1:8080'], sessions: {{ {SECRET} }}, {login}"),
            "no cookie is safe at `http://127.0.0.1:8080`",
        ),
        (
            format!("{HTTPS}, sessions: {{ {SECRET}, insecure_cookies: true }}, {login}"),
            "`https://app.example` is not on loopback",
        ),
    ] {
        check(&gateway, &on("web"), expected);
    }
}

#[test]
fn no_route_can_have_what_is_a_logins() {
    check(&with(""), &on("other"), "there is no login `other`");
    for (more, expected) in [
        (
            "action: x, resource: R/x, login: web, dpop_bound_access_tokens_required: true",
            "a session has no key",
        ),
        ("public: true, login: web", "`public` lets everyone pass"),
    ] {
        let route = format!("{{ match: /b, methods: [GET], upstream: a, {more} }}");
        check(&with(""), &route, expected);
    }
    for path in [
        "/.cedargate",
        "/.cedargate/{*rest}",
        "/.cedargate/web/callback",
    ] {
        let route = format!("{{ match: '{path}', methods: [GET], upstream: a, public: true }}");
        check(&with(""), &route, "the path is reserved");
    }
}

#[test]
fn every_mistake_in_a_login_is_told() {
    for (more, expected) in [
        (
            ", callback_path: '//evil/x'",
            "callback_path` must be a path",
        ),
        (", callback_path: '/a?b'", "callback_path` must be a path"),
        (
            ", callback_path: '/.cedargate/web/logout'",
            "is there twice",
        ),
        (", cookie: 'a b'", "cookie` must be letters"),
        (", cookie: '__Host-x'", "must not begin with `__`"),
        (", idle_secs: 1", "idle_secs` must be at least 60"),
        (", lifetime_secs: 60", "must be at least `idle_secs`"),
        (
            ", authorization_parameters: { state: x }",
            "it is the gateway's own",
        ),
        (", post_logout_redirect_uri: /bye", "must be a whole URL"),
    ] {
        check(&with(more), &on("web"), expected);
    }
    let good = format!("{HTTPS}, sessions: {{ {SECRET} }}");
    for (login, expected) in [
        (
            "issuer: 'http://id.example', client_id: gw, client_secret: s",
            "cannot be trusted",
        ),
        (
            "issuer: 'nothing', client_id: gw, client_secret: s",
            "is no URL",
        ),
        (
            "issuer: 'https://id.example', client_id: gw",
            "client_secret` is missing",
        ),
        (
            "issuer: 'https://id.example', client_id: '', client_secret: s",
            "client_id` is empty",
        ),
    ] {
        let gateway = format!("{good}, logins: {{ web: {{ {login} }} }}");
        check(&gateway, &on("web"), expected);
    }
    let twice = format!("web: {{ {LOGIN}, cookie: s }}, other: {{ {LOGIN}, cookie: S }}");
    let gateway = format!("{good}, logins: {{ {twice} }}");
    check(&gateway, &on("web"), "have the same cookie");
    let gateway = format!("{good}, logins: {{ Web: {{ {LOGIN} }} }}");
    check(&gateway, &on("Web"), "the name must be 1 to 32 lower-case");
}
