//! Issuers, accepted and refused before anything starts.

use crate::plan::tests::compile;

const KEYS: &str = "jwks: { keys: [{ kty: EC, crv: P-256, kid: k1, \
    x: f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU, \
    y: x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0 }] }";

/// Of a file with these issuers, one upstream that is a resource, and these routes.
fn complaints(issuers: &str, gateway: &str, routes: &str) -> Vec<String> {
    let text = format!(
        "gateway: {{ issuers: {{ {issuers} }} {gateway} }}\n\
         upstreams: {{ a: {{ url: 'http://x', resource: 'https://a' }}, b: 'http://y' }}\n\
         routes: [{routes}]\n"
    );
    compile(&text).err().unwrap_or_default()
}

fn jwt(name: &str, more: &str) -> String {
    format!("{name}: {{ jwt: {{ issuer: 'https://{name}.example', {KEYS}{more} }} }}")
}

fn two_of_one_issuer() -> String {
    let again = jwt("again", "").replace("again.example", "corp.example");
    format!("{}, {again}", jwt("corp", ""))
}

fn asked(name: &str, more: &str) -> String {
    let url = "introspection_url: 'https://i.example'";
    format!("{name}: {{ introspection: {{ {url}, client_id: c, client_secret: s{more} }} }}")
}

fn route(upstream: &str, more: &str) -> String {
    format!("{{ match: /x, methods: [GET], upstream: {upstream}, action: a, resource: R/x{more} }}")
}

#[track_caller]
fn assert_one(found: &[String], expected: &str) {
    let [only] = found else {
        panic!("{expected}: {found:?}");
    };
    assert!(only.contains(expected), "{only} has no {expected}");
}

#[test]
fn issuers_of_every_kind_are_taken() {
    let issuers = [
        jwt(
            "corp",
            ", audiences: ['https://api'], types: [JWT], algorithms: [ES256, PS256]",
        ),
        asked(
            "partner",
            ", issuer: 'https://partner.example', auth_method: client_secret_post",
        ),
        "found: { jwt: { issuer: 'https://found.example/realm' } }".to_owned(),
        "near: { jwt: { issuer: 'http://127.0.0.1:8', jwks_uri: 'http://localhost:8/k' } }"
            .to_owned(),
    ]
    .join(", ");
    let of_all = route("a", ", issuers: [corp, partner, found, near]");
    assert_eq!(complaints(&issuers, "", &of_all), [""; 0]);
}

#[test]
fn what_could_not_be_verified_is_refused() {
    for (more, expected) in [
        (", algorithms: [none]", "`none`: whoever can verify"),
        (
            ", algorithms: [ES256, HS256]",
            "`HS256`: whoever can verify",
        ),
        (", algorithms: [RS384]", "`RS384`: it is not known here"),
        (
            ", algorithms: []",
            "`gateway.issuers.corp.jwt.algorithms` is empty",
        ),
        (", types: [id+jwt]", "cannot have `id+jwt`"),
        (", types: []", "jwt.types` is empty"),
        (", leeway_secs: 121", "jwt.leeway_secs` must be at most 120"),
        (", max_lifetime_secs: 0", "max_lifetime_secs` must not be 0"),
        (", jwks_rest_secs: 0", "jwks_rest_secs` must not be 0"),
        (
            ", jwks_keep_secs: 300",
            "must be more than `jwks_refresh_secs`",
        ),
        (", audiences: ['']", "jwt.audiences` has an empty one"),
        (
            ", jwks_uri: 'https://x'",
            "more than once where the keys are",
        ),
        (
            ", ca_file: x.pem",
            "means nothing where no keys are fetched",
        ),
        (", require: { a: [] }", "no value that is good for `a`"),
        (
            ", subject: { attributes: { issuer: x } }",
            "cannot have `issuer`",
        ),
        (
            ", subject: { attributes: { scope: x } }",
            "cannot have `scope`",
        ),
        (", subject: { namespace: \"a b\" }", "visible ASCII"),
    ] {
        assert_one(&complaints(&jwt("corp", more), "", ""), expected);
    }
}

#[test]
fn issuers_and_their_keys_are_where_nobody_can_change_them_on_the_way() {
    for (issuer, expected) in [
        (
            "issuer: 'http://corp.example'",
            "jwt.issuer` cannot be trusted",
        ),
        ("issuer: 'https://corp.example?x'", "must have no query"),
        ("issuer: 'https://a@corp.example'", "cannot be trusted"),
        ("issuer: corp", "is no URL"),
        (
            "issuer: 'https://c', jwks_uri: 'http://c/k'",
            "jwt.jwks_uri` cannot be trusted",
        ),
        (
            "issuer: 'https://c', jwks_file: none.json",
            "none.json` cannot be read",
        ),
        (
            "issuer: 'https://c', jwks: { keys: [] }",
            "jwt.jwks` is no key set",
        ),
        (
            "issuer: 'https://c', jwks: { keys: [{ kty: oct, k: AA }] }",
            "is no key set",
        ),
    ] {
        let issuer = format!("corp: {{ jwt: {{ {issuer} }} }}");
        assert_one(&complaints(&issuer, "", ""), expected);
    }
    for (more, expected) in [
        (", client_secret_file: x", "are both given"),
        (", ttl_secs: 0", "introspection.ttl_secs` must not be 0"),
        (
            ", issuer: 'http://x.example'",
            "introspection.issuer` cannot be trusted",
        ),
    ] {
        assert_one(&complaints(&asked("corp", more), "", ""), expected);
    }
}

#[test]
fn an_issuer_has_a_name_of_its_own() {
    for name in ["token_service", "Corp", "a.b", &"a".repeat(33)] {
        assert_one(&complaints(&jwt(name, ""), "", ""), "the name must be");
    }
}

#[test]
fn a_route_names_issuers_that_are_there_and_none_that_are_taken_for_each_other() {
    let two = format!("{}, {}", jwt("corp", ""), asked("partner", ""));
    let same = two_of_one_issuer();
    for (issuers, gateway, route, expected) in [
        (
            &two,
            "",
            route("a", ", issuers: [nobody]"),
            "no issuer `nobody`",
        ),
        (&two, "", route("a", ", issuers: []"), "`issuers` is empty"),
        (
            &two,
            ", default_issuers: []",
            route("a", ""),
            "`gateway.default_issuers` is empty",
        ),
        (
            &two,
            ", default_issuers: [x]",
            route("a", ""),
            "there is no issuer `x`",
        ),
        (
            &two,
            "",
            route("b", ", issuers: [corp]"),
            "for which audience",
        ),
        (
            &two,
            "",
            route("b", ", issuers: [partner]"),
            "for which audience",
        ),
        (
            &two,
            "",
            route("a", ", issuers: [token_service, partner]"),
            "one of `token_service` or of `partner`",
        ),
        (
            &same,
            "",
            route("a", ", issuers: [corp, again]"),
            "one of `corp` or of `again`",
        ),
    ] {
        assert_one(&complaints(issuers, gateway, &route), expected);
    }
    let public = "{ match: /x, methods: [GET], upstream: a, public: true, issuers: [corp] }";
    assert_one(&complaints(&two, "", public), "`public` lets everyone pass");
}

#[test]
fn two_entries_of_one_issuer_are_for_routes_of_their_own() {
    let same = two_of_one_issuer();
    let apart = [
        route("a", ", issuers: [corp]"),
        route("a", ", issuers: [again]").replace("/x,", "/y,"),
    ];
    assert_eq!(complaints(&same, "", &apart.join(", ")), [""; 0]);
}

#[test]
fn subjects_of_two_issuers_are_told_apart_or_nothing_starts() {
    let spaces = |one: &str, other: &str| {
        let space = |space: &str| format!(", subject: {{ namespace: '{space}' }}");
        format!(
            "{}, {}",
            jwt("corp", &space(one)),
            jwt("other", &space(other))
        )
    };
    let routes = route("a", ", issuers: [corp, other]");
    for (one, other) in [("a:", "a:"), ("a:", "a:b:"), ("a:b:", "a:"), ("", "")] {
        let found = complaints(&spaces(one, other), "", &routes);
        assert_one(&found, "`corp` and `other` could not be told apart");
    }
    // The token service has none, where its tokens are taken at all.
    assert_eq!(complaints(&spaces("", "b:"), "", &routes), [""; 0]);
    let mixed = route("a", ", issuers: [corp, token_service]");
    let found = complaints(&spaces("", "b:"), "", &mixed);
    assert_one(&found, "`corp` and `token_service` could not be told apart");
}
