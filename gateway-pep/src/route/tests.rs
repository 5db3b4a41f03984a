//! Which of several routes a request is for, and which routes cannot be together.

mod profile;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::{Asked, Lookup};
use crate::plan::Plan;
use crate::plan::tests::compile;

/// Routes by what they say beside upstream and `public`.
fn routes(each: &[&str]) -> Result<Plan, Vec<String>> {
    let routes = each.iter().map(|route| {
        let methods = if route.contains("methods") {
            ""
        } else {
            "methods: [GET], "
        };
        format!("- {{ {methods}upstream: a, public: true, {route} }}\n")
    });
    let routes: String = routes.collect();
    compile(&format!(
        "upstreams: {{ a: 'http://x' }}\nroutes:\n{routes}"
    ))
}

/// `HOST METHOD TARGET`, and fields with a `: ` each; the number of the route, or why there is none.
fn find(plan: &Plan, line: &str, fields: &[&str]) -> String {
    let [host, method, target] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    let mut headers = HeaderMap::new();
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        headers.append(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::try_from(value).unwrap(),
        );
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let asked = Asked {
        host,
        method: &Method::from_bytes(method.as_bytes()).unwrap(),
        path,
        query,
        headers: &headers,
    };
    match plan.router.find(asked) {
        Lookup::Route { route } => route.to_string(),
        Lookup::MethodNotAllowed { .. } => "method".into(),
        Lookup::Unread(_) => "unread".into(),
        Lookup::NotFound => "none".into(),
    }
}

#[test]
fn the_most_specific_conditions_that_hold_decide() {
    let plan = routes(&[
        "match: /x",
        "match: /x, when: { headers: { X-V: present } }",
        "match: /x, when: { headers: { x-v: { exact: '2' } } }",
        "match: /x, when: { headers: { x-v: { exact: '2' } }, query: { beta: present } }",
        "match: /only, when: { query: { id: { exact: 'café' } } }",
        "match: /not, when: { headers: { x-v: absent } }",
    ])
    .unwrap();
    for (target, fields, expected) in [
        ("/x", &[][..], "0"),
        ("/x?beta", &[], "0"),
        ("/x", &["x-v: 1"], "1"),
        ("/x", &["x-v: 2"], "2"),
        ("/x?beta", &["X-V: 2"], "3"),
        ("/x?beta", &["X-V: 1"], "1"),
        ("/only?id=caf%C3%A9", &[], "4"),
        ("/only?id=cafe", &[], "none"),
        ("/only", &[], "none"),
        ("/not", &[], "5"),
        ("/not", &["x-v: 1"], "none"),
        ("/not?x-v=1", &[], "5"),
    ] {
        let found = find(&plan, &format!("h GET {target}"), fields);
        assert_eq!(found, expected, "{target} {fields:?}");
    }
    assert_eq!(find(&plan, "h POST /only?id=caf%C3%A9", &[]), "method");
    let told: Vec<_> = plan.routes.iter().map(|route| route.vary.clone()).collect();
    assert!(told[..4].iter().all(|vary| vary.as_ref().unwrap() == "x-v"));
    assert_eq!(told[4], None, "a query is part of the URL");
}

#[test]
fn what_an_upstream_could_read_in_another_way_is_no_mismatch() {
    let plan = routes(&[
        "match: /x",
        "match: /x, when: { headers: { x-tier: { exact: gold } } }",
        "match: /q",
        "match: /q, when: { query: { tier: { exact: gold } } }",
        "match: /free",
    ])
    .unwrap();
    for fields in [
        &["x-tier: gold", "x-tier: gold"][..],
        &["x-tier: free", "x-tier: gold"],
        &["x-tier: free, gold"],
        &["x-tier: Gold"],
        &["x-tier: GOLD"],
        &["x_tier: gold"],
        &["x-tier: gold", "X_Tier: free"],
        &["x-tier: "],
        &["x-tier: g\u{f6}ld"],
    ] {
        assert_eq!(find(&plan, "h GET /x", fields), "unread", "{fields:?}");
        assert_eq!(find(&plan, "h GET /free", fields), "4", "{fields:?}");
    }
    for query in [
        "tier=gold&tier=gold",
        "tier=free&tier=gold",
        "Tier=gold",
        "tier=GOLD",
        "tier[]=gold",
        "tier.a=gold",
        "a=1;tier=gold",
        "%74ier=gold&tier=free",
        "tier=go+ld",
        "tier=%ff",
    ] {
        let line = format!("h GET /q?{query}");
        assert_eq!(find(&plan, &line, &[]), "unread", "{query}");
    }
    // In one way only, whatever it is written like.
    assert_eq!(find(&plan, "h GET /q?%74ier=g%6fld", &[]), "3");
    assert_eq!(find(&plan, "h GET /q?tier=silver&x=1", &[]), "2");
}

#[test]
fn hosts_go_from_the_name_over_its_domain_to_every_host() {
    let plan = routes(&[
        "match: /x",
        "match: /x, host: '*.t.test'",
        "match: /x, host: a.t.test",
        "match: /own, host: a.t.test",
        "match: '/any/{*rest}'",
        "match: '/any/{id}', host: '*.t.test', methods: [PUT]",
    ])
    .unwrap();
    for (line, expected) in [
        ("a.t.test GET /x", "2"),
        ("b.t.test GET /x", "1"),
        ("t.test GET /x", "0"),
        ("a.b.t.test GET /x", "0"),
        ("[::1] GET /x", "0"),
        ("1.2.3.4 GET /x", "0"),
        ("b.t.test GET /own", "none"),
        ("a.t.test GET /own", "3"),
        // The path is found there, so nothing else is looked at.
        ("b.t.test GET /any/1", "method"),
        ("b.t.test GET /any/1/2", "4"),
    ] {
        assert_eq!(find(&plan, line, &[]), expected, "{line}");
    }
    for host in [
        "'*.'",
        "'*'",
        "'*.1.2.3.4'",
        "'*.A.test'",
        "'a.*.test'",
        "'*.a..b'",
    ] {
        let issues = routes(&[&format!("match: /x, host: {host}")])
            .map(drop)
            .unwrap_err();
        assert!(issues[0].contains("`host: "), "{issues:?}");
    }
}

#[test]
fn methods_count_like_conditions() {
    let plan = routes(&[
        "match: /x, methods: ['*']",
        "match: /x, methods: [GET]",
        "match: /x, methods: [GET, POST], when: { headers: { x-v: present } }",
        "match: /y, methods: ['*'], when: { headers: { x-v: present } }, priority: 1",
        "match: /y, methods: [GET]",
        "match: /z, methods: [HEAD]",
        "match: /z, methods: [GET]",
    ])
    .unwrap();
    for (line, with, without) in [
        ("h GET /x", "2", "1"),
        ("h HEAD /x", "2", "1"),
        ("h POST /x", "2", "0"),
        ("h PUT /x", "0", "0"),
        ("h GET /y", "3", "4"),
        ("h PUT /y", "3", "none"),
        ("h HEAD /z", "5", "5"),
        ("h GET /z", "6", "6"),
    ] {
        assert_eq!(find(&plan, line, &["x-v: 1"]), with, "{line}");
        assert_eq!(find(&plan, line, &[]), without, "{line}");
    }
}

#[test]
fn two_routes_that_nobody_can_tell_apart_are_both_named() {
    let header = |name: &str, wanted: &str| {
        format!("match: /x, when: {{ headers: {{ {name}: {wanted} }} }}")
    };
    let query = |name: &str| format!("match: /x, when: {{ query: {{ {name}: present }} }}");
    for (one, other, expected) in [
        (
            "match: /x".into(),
            "match: /x".into(),
            "`GET` is routed twice",
        ),
        (
            "match: /x".into(),
            "match: /x, methods: [PUT, GET], priority: 1".into(),
            "`GET` is routed twice",
        ),
        (
            header("x-a", "present"),
            header("x-b", "present"),
            "neither is more specific",
        ),
        (
            header("x-a", "{ exact: a }"),
            query("a"),
            "neither is more specific",
        ),
        (
            "match: /x, methods: ['*'], when: { query: { a: present } }".into(),
            "match: /x".into(),
            "neither is more specific",
        ),
        (
            header("x-a", "{ exact: a }"),
            format!("{}, priority: 1", header("x-a", "present")),
            "the first can never be reached",
        ),
        (
            format!("{}, priority: -1", header("x-a", "absent")),
            "match: /x".into(),
            "the first can never be reached",
        ),
        (
            header("x-a", "{ exact: a }"),
            header("x-a", "{ exact: A }"),
            "in their case alone",
        ),
        (
            query("a"),
            format!("{}, priority: 1", query("A")),
            "some upstreams take query `a` for query `A`",
        ),
    ] {
        let issues = routes(&["match: /other", &one, &other]).map(drop);
        let issues = issues.expect_err(&format!("{one} {other}"));
        assert_eq!(issues.len(), 1, "{issues:?}");
        for part in [expected, "`routes[1]` (`/x`)", "`routes[2]` (`/x`)"] {
            assert!(issues[0].contains(part), "{part}: {issues:?}");
        }
    }
}

#[test]
fn routes_that_can_be_told_apart_may_be_together() {
    for (one, other) in [
        ("headers: { x-a: present }", "headers: { x-a: absent }"),
        (
            "headers: { x-a: { exact: a } }",
            "headers: { x-a: { exact: b } }",
        ),
        (
            "headers: { x-a: { exact: a }, x-b: present }",
            "headers: { x-a: { exact: b }, x-c: present }",
        ),
        (
            "headers: { x-a: present }",
            "headers: { x-a: present, x-b: present }",
        ),
    ] {
        let route = |when: &str| format!("match: /x, when: {{ {when} }}");
        routes(&[&route(one), &route(other)]).unwrap();
    }
}

#[test]
fn conditions_that_cannot_be_met_are_refused() {
    for (when, expected) in [
        (
            "headers: { authorization: present }",
            "not the client's to say",
        ),
        (
            "headers: { x-forwarded-for: present }",
            "not the client's to say",
        ),
        ("headers: { cookie: present }", "not the client's to say"),
        ("headers: { te: present }", "reaches no upstream"),
        ("headers: { expect: present }", "reaches no upstream"),
        ("headers: { x_a: present }", "read `_` and `-`"),
        ("headers: { 'a b': present }", "no name of a header"),
        ("headers: { X-A: present, x-a: present }", "there twice"),
        ("headers: { x-a: { exact: '' } }", "no request can have"),
        ("headers: { x-a: { exact: 'a,b' } }", "no request can have"),
        ("headers: { x-a: { exact: ' a' } }", "no request can have"),
        ("headers: { x-a: { exact: 'é' } }", "no request can have"),
        ("query: { 'a[]': present }", "more than one way"),
        ("query: { a.b: present }", "more than one way"),
        ("query: { '': present }", "more than one way"),
        ("query: { a: { exact: '' } }", "no request can have"),
    ] {
        let issues = routes(&[&format!("match: /x, when: {{ {when} }}")]).map(drop);
        let issues = issues.expect_err(when);
        assert!(issues[0].contains(expected), "{when}: {issues:?}");
    }
    let more: Vec<String> = (0..40)
        .map(|n| format!("match: /x, when: {{ headers: {{ x-{n}: present }} }}, priority: {n}"))
        .collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let issues = routes(&more).map(drop).unwrap_err();
    assert!(
        issues[0].contains("more than 32 different combinations"),
        "{issues:?}"
    );
}

/// Conditions on up to three fields, as numbers: 0 none, 1 absent, 2 present, 3 and 4 values.
fn conditions() -> impl Strategy<Value = (Vec<[u8; 3]>, [u8; 3])> {
    let one = || [0..5u8, 0..5u8, 0..5u8];
    (prop::collection::vec(one(), 1..5), [0..4u8, 0..4u8, 0..4u8])
}

fn when(route: [u8; 3]) -> String {
    let each = route.iter().enumerate().filter_map(|(field, wanted)| {
        let wanted = match wanted {
            0 => return None,
            1 => "absent".to_owned(),
            2 => "present".to_owned(),
            value => format!("{{ exact: v{value} }}"),
        };
        Some(format!("x-{field}: {wanted}"))
    });
    let each: Vec<String> = each.collect();
    format!("match: /x, when: {{ headers: {{ {} }} }}", each.join(", "))
}

/// 1: not there; 2: another value; 3: `v3`.
fn holds(wanted: u8, said: u8) -> bool {
    match wanted {
        0 => true,
        1 => said <= 1,
        2 => said > 1,
        value => said == value,
    }
}

fn is_stricter(one: [u8; 3], other: [u8; 3]) -> bool {
    let all = |(one, other): (&u8, &u8)| one == other || *other == 0 || (*other == 2 && *one > 2);
    one != other && one.iter().zip(&other).all(all)
}

/// The route that a request is for by the definition, and how many it fits.
fn best(each: &[[u8; 3]], said: [u8; 3]) -> (Option<usize>, usize) {
    let meets = |route: &[u8; 3]| {
        route
            .iter()
            .zip(&said)
            .all(|(wanted, said)| holds(*wanted, *said))
    };
    let fits = each.iter().enumerate().filter(|(_, route)| meets(route));
    let fits: Vec<(usize, [u8; 3])> = fits.map(|(index, route)| (index, *route)).collect();
    let beats = |(index, route): &&(usize, [u8; 3])| {
        let mut others = fits.iter().filter(|(other, _)| other != index);
        others.all(|(_, other)| is_stricter(*route, *other))
    };
    (fits.iter().find(beats).map(|(index, _)| *index), fits.len())
}

proptest! {
    /// Against the definition, one route after the other: a configuration that is taken leaves no doubt, and the
    /// route is that one.
    #[test]
    fn the_table_finds_what_the_definition_says((each, said) in conditions()) {
        let written: Vec<String> = each.iter().map(|route| when(*route)).collect();
        let written: Vec<&str> = written.iter().map(String::as_str).collect();
        if let Ok(plan) = routes(&written) {
            let there = said.iter().enumerate().filter(|(_, said)| **said > 1);
            let fields: Vec<String> = there.map(|(field, said)| format!("x-{field}: v{said}")).collect();
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let found = find(&plan, "h GET /x", &fields);
            let (expected, fits) = best(&each, said);
            prop_assert_eq!(expected.is_none(), fits == 0, "taken, and in doubt");
            prop_assert_eq!(found, expected.map_or("none".to_owned(), |route| route.to_string()));
        } else {
            // Of two of them, some request is in doubt: all requests are few enough to try.
            let pairs = (0..each.len()).flat_map(|one| (one + 1..each.len()).map(move |other| (one, other)));
            let mut in_doubt = pairs.flat_map(|(one, other)| {
                let pair = [each[one], each[other]];
                (0..125u8).map(move |n| best(&pair, [n % 5, n / 5 % 5, n / 25]))
            });
            prop_assert!(in_doubt.any(|found| matches!(found, (None, 1..))), "refused, and in no doubt");
        }
    }
}
