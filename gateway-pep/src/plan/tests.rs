//! Routes and upstreams, accepted and refused.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::{HeaderMap, Method};
use service_kit::Variables;

use super::*;
use crate::config::{RouteConfig, UpstreamConfig};
use crate::route::{Asked, Lookup};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    gateway: crate::GatewayConfig,
    #[serde(default)]
    upstreams: BTreeMap<String, UpstreamConfig>,
    #[serde(default)]
    routes: Vec<RouteConfig>,
}

pub(crate) fn compile(text: &str) -> Result<Plan, Vec<String>> {
    let file: File = service_kit::config::parse(text, &Variables::default()).unwrap();
    let config = Config {
        gateway: file.gateway,
        upstreams: file.upstreams,
        routes: file.routes,
    };
    Plan::compile(&config, Path::new("."), None)
        .map_err(|issues| issues.into_iter().map(|issue| issue.message).collect())
}

/// Of a request without header fields and a query.
fn look_up<'p>(plan: &'p Plan, host: &'p str, method: &'p Method, path: &'p str) -> Lookup<'p> {
    static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    plan.router.find(Asked {
        host,
        method,
        path,
        query: None,
        headers: &NONE,
    })
}

#[test]
fn an_upstream_is_protected_in_under_ten_lines() {
    let plan = compile(
        "upstreams:\n  records: http://127.0.0.1:9000\nroutes:\n  - match: /records/{id}\n    \
         methods: [GET]\n    upstream: records\n    action: view_record\n    resource: Record/{id}\n",
    )
    .unwrap();
    let Lookup::Route { route } = look_up(&plan, "any", &Method::HEAD, "/records/a%20b") else {
        panic!("no route");
    };
    let params = plan.router.params("any", "/records/a%20b").unwrap();
    let Protection::Token {
        question: QuestionPlan::Resource { resource, .. },
        ..
    } = &plan.routes[route].protection
    else {
        panic!("not protected");
    };
    assert_eq!(resource.kind(), "Record");
    assert_eq!(resource.id(&params).as_deref(), Some("a b"));
    assert_eq!(plan.upstreams[0].resource.as_str(), "http://127.0.0.1:9000");
}

#[test]
fn every_mistake_is_reported_at_once() {
    let issues = compile(
        "gateway: { limits: { head_bytes: 1 }, cache: { secret: short } }\n\
         upstreams: { a: 'ftp://x', b: 'http://x/path' }\n\
         routes:\n\
         - { match: /a, methods: [get], upstream: c, public: true }\n\
         - { match: /b, methods: [GET], upstream: a }\n\
         - { match: /c, methods: [GET], upstream: a, action: x, resource: 'Record/{id}' }\n\
         - { match: /d, methods: [GET], upstream: a, public: true, scope: s }\n\
         - { match: '/e/{x}', methods: [GET], upstream: a, public: true }\n\
         - { match: '/e/{y}', methods: [PUT], upstream: a, public: true }\n\
         - { match: '/e/{x}', methods: [GET], upstream: a, public: true }\n\
         - { match: '/f//g', methods: [GET], upstream: a, public: true }\n\
         - { match: /g, methods: [], upstream: a, public: true }\n",
    )
    .unwrap_err();
    for expected in [
        "must begin with `http://` or `https://`",
        "must be a host and a port only",
        "there is no upstream `c`",
        "`action` and `resource` are both needed",
        "`/c` has no parameter `id`",
        "`public` lets everyone pass",
        "conflicts with",
        "`GET` is routed twice",
        "cannot match",
        "`methods` is empty",
        "`gateway.limits.head_bytes`",
        "shorter than 32",
    ] {
        let found = issues
            .iter()
            .filter(|issue| issue.contains(expected))
            .count();
        assert_eq!(found, 1, "{expected}: {issues:#?}");
    }
}

#[test]
fn hosts_come_first_and_methods_are_told() {
    let plan = compile(
        "upstreams: { a: 'http://x' }\n\
         routes:\n\
         - { match: '/x', methods: [GET, POST], upstream: a, public: true }\n\
         - { match: '/x', methods: ['*'], host: h.test, upstream: a, public: true }\n",
    )
    .unwrap();
    let find = |host, method: Method| match look_up(&plan, host, &method, "/x") {
        Lookup::Route { route } => route.to_string(),
        Lookup::MethodNotAllowed { allow } => allow.to_str().unwrap().to_owned(),
        Lookup::Unread(_) | Lookup::NotFound => "none".into(),
    };
    assert_eq!(find("h.test", Method::PUT), "1");
    assert_eq!(find("other", Method::GET), "0");
    assert_eq!(find("other", Method::OPTIONS), "GET, HEAD, POST");
    assert!(matches!(
        look_up(&plan, "other", &Method::GET, "/x/"),
        Lookup::NotFound
    ));
    assert!(matches!(
        look_up(&plan, "other", &Method::GET, "/X"),
        Lookup::NotFound
    ));
}

const ROUTE: &str =
    "{ match: /a, methods: [GET], upstream: a, action: x, resource: R/x, scope: read }";

#[test]
fn the_metadata_of_a_resource_is_between_its_host_and_its_path() {
    let plan = compile(&format!(
        "gateway: {{ authorization_servers: ['https://as.example/tenant'] }}\n\
         upstreams:\n\
         \x20 a: {{ url: 'http://x:1', resource: 'https://one.example/mcp/' }}\n\
         \x20 b: {{ url: 'http://x:2', resource: 'https://two.example:8443/mcp' }}\n\
         \x20 c: http://inside:3\n\
         routes: [{ROUTE}]\n"
    ))
    .unwrap();
    let path = "/.well-known/oauth-protected-resource/mcp";
    let discovery = &plan.discovery;
    assert_eq!(
        discovery.url(0),
        Some(&*format!("https://one.example{path}"))
    );
    assert_eq!(
        discovery.url(1),
        Some(&*format!("https://two.example:8443{path}"))
    );
    assert_eq!(discovery.url(2), None, "an inner URL is not announced");
    let named = |host: &str| {
        let document = discovery.document(host, path)?;
        let document: serde_json::Value = serde_json::from_slice(document).unwrap();
        Some(document["resource"].as_str().unwrap().to_owned())
    };
    // Byte for byte as configured: clients compare it (section 3.3).
    assert_eq!(
        named("one.example").as_deref(),
        Some("https://one.example/mcp/")
    );
    assert_eq!(
        named("two.example").as_deref(),
        Some("https://two.example:8443/mcp")
    );
    assert_eq!(named("other.example"), None, "which one is not known");
}

#[test]
fn what_cannot_be_announced_or_asked_for_is_refused() {
    let issues = compile(&format!(
        "gateway: {{ authorization_servers: ['as.example', 'https://as.example?x'] }}\n\
         upstreams: {{ a: {{ url: 'http://x:1', resource: 'urn:records' }} }}\n\
         routes:\n\
         - {ROUTE}\n\
         - {{ match: /b, methods: [GET], upstream: a, action: x, resource: R/x, acr_values: ['a b'] }}\n\
         - {{ match: /c, methods: [GET], upstream: a, public: true, max_age_secs: 1 }}\n"
    ))
    .unwrap_err();
    for expected in [
        "`as.example` is no issuer",
        "`https://as.example?x` is no issuer",
        "`resource: urn:records` cannot be announced",
        "`acr_values`: `a b` must be a word",
        "`public` lets everyone pass",
    ] {
        assert!(
            issues.iter().any(|issue| issue.contains(expected)),
            "{expected}: {issues:?}"
        );
    }
}

#[test]
fn nobody_speaks_for_others_unless_a_network_says_who() {
    let issues = |listener: &str| {
        let text =
            format!("gateway: {{ forward_auth: [{{ listen: '127.0.0.1:1', {listener} }}] }}");
        compile(&text).map(|_| ()).unwrap_err().join("\n")
    };
    for (listener, part) in [
        (
            "dialect: nginx, proxies: [0.0.0.0/0]",
            "`0.0.0.0/0` in `proxies` would trust everybody",
        ),
        (
            "dialect: nginx, proxies: ['::/0']",
            "`::/0` in `proxies` would trust everybody",
        ),
        ("dialect: nginx, proxies: []", "`proxies` is empty"),
        ("dialect: nginx, proxies: [proxy.example]", "is no network"),
        (
            "dialect: forwarded, path_prefix: /x",
            "belongs to `dialect: envoy`",
        ),
        ("dialect: envoy, path_prefix: x/", "no prefix of a path"),
        (
            "dialect: envoy_grpc, scheme: https",
            "`scheme` belongs to the dialects over HTTP",
        ),
    ] {
        let found = issues(listener);
        assert!(found.contains("`gateway.forward_auth[0]`"), "{found}");
        assert!(found.contains(part), "{found}");
    }
    let plan =
        compile("gateway: { forward_auth: [{ listen: '127.0.0.1:1', dialect: nginx }] }").unwrap();
    let trusts = |ip: &str| plan.forward_auth[0].trusts(ip.parse().unwrap());
    assert!(trusts("127.0.0.1") && trusts("::1"));
    assert!(!trusts("192.0.2.1") && !trusts("::2"));
}

#[test]
fn what_a_question_is_made_of_is_checked() {
    let route = |more: &str| {
        compile(&format!(
            "upstreams: {{ a: 'http://x' }}\n\
             routes: [ {{ match: '/r/{{id}}', methods: [GET], upstream: a, action: view, {more} }} ]\n",
        ))
        .map(drop)
    };
    for good in [
        "resource: 'R/{id}-{query:a}-{header:x-a}-{claim:sub}-{body:/a/b}-{path:id}'",
        "resource: 'R/{body:/items/*/id}', context: { a: 'query:a' }",
        "resource: 'R/{body:/*}', subject_properties: { a: 'header:x-a' }",
    ] {
        assert_eq!(route(good), Ok(()), "{good}");
    }
    for (wrong, expected) in [
        ("resource: 'R/{query:a}{query:b}'", "a text between"),
        ("resource: 'R/{query:a*}-{body:/*}'", "more than one list"),
        ("resource: 'R/{body:/a/*/b/*}'", "more than one `*`"),
        ("resource: 'R/{body:a}'", "begin with `/`"),
        ("resource: 'R/{path:x}'", "no parameter `x`"),
        ("resource: 'R/{cookie:x}'", "must be `path:"),
        (
            "resource: 'R/{header:authorization}'",
            "not the client's to say",
        ),
        (
            "resource: 'R/{header:x-user-id}'",
            "not the client's to say",
        ),
        (
            "resource: R/1, context: { path: 'query:p' }",
            "said by the gateway itself",
        ),
        (
            "resource: R/1, subject_properties: { scope: 'query:p' }",
            "said by the gateway itself",
        ),
        (
            "resource: R/1, context: { a: 'query:p*' }",
            "only `resource` takes those",
        ),
    ] {
        let issues = route(wrong).unwrap_err();
        assert!(issues[0].contains(expected), "{wrong}: {issues:?}");
    }
}
