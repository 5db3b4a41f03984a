//! Rewritten paths have the segments that were decided on, and no others.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::PathTemplate;
use crate::canonical::{decode_segment, normalize};
use crate::plan::tests::compile;

/// The path that a route with these two templates makes of another.
fn rewritten(matches: &str, path: &str, asked: &str) -> Option<String> {
    let mut router = matchit::Router::new();
    router.insert(matches, ()).unwrap();
    let template = PathTemplate::parse(path, matches).unwrap();
    let found = router.at(asked).ok()?;
    Some(template.target(&found.params, None)?.to_string())
}

#[test]
fn segments_keep_their_encoding_and_change_their_place() {
    for (matches, path, asked, expected) in [
        ("/api/{*rest}", "/{*rest}", "/api/a/b", "/a/b"),
        (
            "/api/{*rest}",
            "/v2/{*rest}",
            "/api/a%20b/c/",
            "/v2/a%20b/c/",
        ),
        (
            "/api/v1/records/{id}",
            "/records/{id}",
            "/api/v1/records/caf%C3%A9",
            "/records/caf%C3%A9",
        ),
        ("/{a}/x/{b}", "/y/{b}/{a}/{b}", "/1/x/2", "/y/2/1/2"),
        ("/old", "/new/", "/old", "/new/"),
        ("/{*rest}", "/{*rest}", "/a+b@c", "/a+b@c"),
    ] {
        assert_eq!(rewritten(matches, path, asked).as_deref(), Some(expected));
    }
}

#[test]
fn templates_that_could_make_another_path_are_refused() {
    for (matches, path, expected) in [
        ("/{id}", "v2/{id}", "begins with `/`"),
        ("/{id}", "/v2/{other}", "has no parameter `{other}`"),
        ("/{id}", "/v2/{*id}", "has no parameter `{*id}`"),
        ("/{*rest}", "/{rest}", "has no parameter `{rest}`"),
        ("/{id}", "/v2/x{id}", "is no whole segment"),
        ("/{id}", "/.{id}", "is no whole segment"),
        ("/{a}/{b}", "/{a}{b}", "has no parameter"),
        ("/v-{id}", "/{id}", "that is a whole segment"),
        ("/a{*rest}", "/{*rest}", "that is a whole segment"),
        ("/{*rest}", "/{*rest}/x", "can only be the end"),
        ("/{id}", "/a//{id}", "empty segment"),
        ("/{id}", "/../{id}", "dot segment"),
        ("/{id}", "/%41/{id}", "not in its normal form"),
        ("/{id}", "/a%2fb/{id}", "percent-encodes"),
        ("/{id}", "/a b/{id}", "percent-encoded"),
        ("/{id}", "/a?{id}", "is no whole segment"),
        ("/{id}", "/a?b/{id}", "percent-encoded"),
        ("/{id}", "/{{id}}", "has no parameter"),
    ] {
        let error = PathTemplate::parse(path, matches).unwrap_err();
        assert!(error.contains(expected), "{path}: {error}");
    }
}

/// What `cedargate check` says of a route.
fn issue(route: &str) -> String {
    let text = format!(
        "gateway: {{ reserved_headers: [x-tenant] }}\nupstreams: {{ a: 'http://x' }}\n\
         routes: [{{ match: '/r/{{id}}', methods: [GET], upstream: a, public: true, {route} }}]\n"
    );
    compile(&text).map(drop).unwrap_err().join("\n")
}

#[test]
fn what_is_reserved_or_frames_a_message_is_no_routes_to_change() {
    for name in [
        "authorization",
        "Host",
        "content-length",
        "Content_Length",
        "transfer-encoding",
        "connection",
        "expect",
        "te",
        "content-encoding",
        "x-forwarded-for",
        "x_forwarded_for",
        "X-User-Id",
        "x-tenant",
        "X_Tenant",
        "x-request-id",
        "traceparent",
        "set-cookie",
        "ratelimit-policy",
        "sec-websocket-accept",
        "www-authenticate",
    ] {
        for way in ["request_headers", "response_headers"] {
            let found = issue(&format!("{way}: {{ set: {{ {name}: a }} }}"));
            assert!(found.contains("is not a route's to change"), "{found}");
            assert!(found.contains("`routes[0]` (`/r/{id}`)"), "{found}");
        }
    }
}

#[test]
fn changes_that_mean_nothing_or_reach_too_far_are_refused() {
    for (route, expected) in [
        (
            "request_headers: { remove: [authorization] }",
            "not a route's",
        ),
        ("request_headers: { remove: [x-user-id] }", "not a route's"),
        (
            "response_headers: { remove: [content-length] }",
            "not a route's",
        ),
        (
            "response_headers: { set: { x-forwarded-prefix: a } }",
            "not a route's",
        ),
        (
            "request_headers: { remove: [x-a], set: { X-A: a } }",
            "set, and taken away",
        ),
        (
            "request_headers: { set: { 'a b': a } }",
            "no name of a header",
        ),
        (
            "request_headers: { set: { x-a: \"a\\nb\" } }",
            "cannot be sent",
        ),
        ("rewrite: { host: 'a/b' }", "is no host"),
        ("rewrite: { host: 'u@a' }", "is no host"),
        ("rewrite: { host: 'A' }", "is no host"),
        ("rewrite: { host: 'a:0x1' }", "is no host"),
        (
            "rewrite: { path: '/x/{name}' }",
            "`rewrite.path: /x/{name}`",
        ),
    ] {
        let found = issue(route);
        assert!(found.contains(expected), "{route}: {found}");
    }
}

/// A template of few words, and one that uses its parameters in any way.
fn templates() -> impl Strategy<Value = (String, String)> {
    let old = prop::sample::select(vec![
        "/{x}",
        "/{x}/{y}",
        "/a/{x}/b-{z}",
        "/{x}/.{w}/a",
        "/a",
    ]);
    let piece_of_new = prop_oneof![
        8 => Just("{x}"),
        4 => Just("n"),
        2 => Just("{y}"),
        1 => Just("{z}"),
        1 => Just("{w}"),
        1 => Just("..{x}"),
        1 => Just("{x}{y}"),
        1 => Just("")
    ];
    let rest = || prop_oneof![Just(""), Just("/{*rest}"), Just("/c{*rest}")];
    (
        old,
        rest(),
        prop::collection::vec(piece_of_new, 0..4),
        rest(),
    )
        .prop_map(|(old, end, new, new_end)| {
            (
                format!("{old}{end}"),
                format!("/{}{new_end}", new.join("/")),
            )
        })
}

/// A path that fits a template: each parameter is something that strangers like to send.
fn asked(matches: &str, values: &[String]) -> String {
    let mut values = values.iter().cycle();
    let mut path = String::new();
    let mut rest = matches;
    while let Some((before, after)) = rest.split_once('{') {
        path.push_str(before);
        path.push_str(values.next().unwrap());
        rest = after.split_once('}').unwrap().1;
    }
    path + rest
}

fn segments(path: &str) -> Vec<String> {
    let segments = path.strip_prefix('/').unwrap().split('/');
    segments
        .map(|it| decode_segment(it).unwrap().into_owned())
        .collect()
}

/// Whatever is asked for, a rewritten path is canonical, and its segments are those of the template with each
/// parameter's own in their places.
#[test]
fn a_rewritten_path_reads_as_it_was_decided() {
    let value = "(\\.|%2e|[a-d]|[a-d]|/[a-c]|%c3%a9|\\+|%20|:|@|%2f|\\.\\.|;){1,3}";
    let values = prop::collection::vec(value, 1..4);
    let config = Config {
        cases: 3_000,
        failure_persistence: None,
        ..Config::default()
    };
    let rewritten = Cell::new(0);
    let mut runner = TestRunner::new(config);
    let passed = runner.run(&(templates(), values), |((matches, path), values)| {
        let made = reads_as_decided(&matches, &path, &asked(&matches, &values))?;
        rewritten.set(rewritten.get() + u32::from(made));
        Ok(())
    });
    passed.unwrap();
    assert!(
        rewritten.get() > 100,
        "only {} were rewritten",
        rewritten.get()
    );
}

/// False where there is nothing to rewrite: a template or a path is refused.
fn reads_as_decided(matches: &str, path: &str, asked: &str) -> Result<bool, TestCaseError> {
    let mut router = matchit::Router::new();
    let is_usable = router.insert(matches, ()).is_ok();
    let template = PathTemplate::parse(path, matches)
        .ok()
        .filter(|_| is_usable);
    let (Some(template), Ok(normal)) = (template, normalize(asked)) else {
        return Ok(false);
    };
    let canonical = normal.unwrap_or_else(|| asked.to_owned());
    let Ok(found) = router.at(&canonical) else {
        return Ok(false);
    };
    let target = template.target(&found.params, Some("a=/../b")).unwrap();
    prop_assert_eq!(target.query(), Some("a=/../b"));
    prop_assert_eq!(normalize(target.path()), Ok(None), "{}", target);
    let mut expected = Vec::new();
    for segment in path.strip_prefix('/').unwrap().split('/') {
        match segment
            .strip_prefix('{')
            .and_then(|it| it.strip_suffix('}'))
        {
            Some(name) => {
                let value = found.params.get(name.trim_start_matches('*')).unwrap();
                expected.extend(segments(&format!("/{value}")));
            }
            None => expected.push(segment.to_owned()),
        }
    }
    prop_assert_eq!(segments(target.path()), expected);
    Ok(true)
}
