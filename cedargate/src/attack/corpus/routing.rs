//! What leads a request to one route rather than to another, said twice or so that two readers differ; and paths that
//! are rewritten, with parameters that could make others of them.

use gateway_pep::ConditionConfig;

use super::super::case::{Case, Class, Expect};
use super::super::target::{Target, fill_with, said};

/// In the place of a parameter, none of these reaches an upstream, whatever is made of the path.
const REFUSED: &[&str] = &[
    "..",
    ".",
    "%2e%2e",
    ".%2E",
    "%2e",
    "..%2f..",
    "a%2fb",
    "a%2F..%2Fb",
    "a%5cb",
    "a%5C..",
    "../x",
    "x/../..",
    "x/./y",
    "a//b",
    "%252e%252e",
    "%00",
    "a;b",
    "..;",
    "%3b",
    "%",
    "a%zz",
    "%ff",
];

/// These do, as they stand.
const PASSED: &[&str] = &[
    "...", "a.b", "a+b", "%C3%A9", "a%20b", "a@b:c", "%3F", "%23", "~",
];

pub(super) fn cases(all: &[Target]) -> Vec<Case> {
    let told = all.iter().flat_map(of_target);
    told.chain(all.iter().flat_map(of_rewriting)).collect()
}

fn of_rewriting(target: &Target) -> Vec<Case> {
    let Some(rewritten_to) = &target.rewritten_to else {
        return Vec::new();
    };
    let mut cases = Vec::new();
    let mut case = |value: &str, expect: fn(&Target, &str) -> Expect| {
        let path = fill_with(&target.template, value);
        let title = format!("{} {path} becomes {rewritten_to}", target.method);
        let bytes = target.request_to(&format!("{path}{}", target.query), "");
        let forwarded = fill_with(rewritten_to, value);
        let expect = expect(target, &forwarded);
        cases.push(Case::new(Class::Routing, target, title, bytes, expect));
    };
    if !target.template.contains('{') {
        return Vec::new();
    }
    // What a route takes encoded, is tried where paths are.
    let refused = REFUSED.iter();
    let refused = refused.filter(|value| target.encoded.is_empty() || !value.contains('%'));
    for value in refused {
        case(value, |_, _| Expect::Refused);
    }
    for value in PASSED {
        case(value, |target, forwarded| Expect::Passes {
            target: format!("{forwarded}{}", target.query),
            body: Vec::new(),
        });
    }
    cases
}

fn of_target(target: &Target) -> Vec<Case> {
    let asked = by_headers(target).into_iter().chain(by_query(target));
    asked
        .map(|(what, bytes)| {
            let title = format!("{} {}: {what}", target.method, target.template);
            Case::new(Class::Routing, target, title, bytes, Expect::Refused)
        })
        .collect()
}

/// What it is, and how it is sent.
type Asked = (String, Vec<u8>);

fn by_headers(target: &Target) -> Vec<Asked> {
    let mut asked = Vec::new();
    for (name, wanted) in &target.when.headers {
        let value = said(wanted).unwrap_or("cg1");
        let twin = name.replace('-', "_");
        if twin != *name {
            let bytes = target.request(&format!("{twin}: {value}\r\n"));
            asked.push((format!("`{twin}` for `{name}`"), bytes));
        }
        let twice = format!("{name}: {value}\r\n{name}: cg2\r\n");
        asked.push((format!("`{name}` twice"), target.request(&twice)));
        if matches!(wanted, ConditionConfig::Exact(_)) {
            let plain = target.without_fields();
            for said in [
                format!("{value}, cg2"),
                format!("cg2,{value}"),
                value.to_ascii_uppercase(),
                String::new(),
            ] {
                // In another case, a value without letters is itself.
                if said != value {
                    let fields = format!("{name}: {said}\r\n");
                    asked.push((format!("`{fields}`"), plain.request(&fields)));
                }
            }
        }
    }
    asked
}

fn by_query(target: &Target) -> Vec<Asked> {
    let mut asked = Vec::new();
    for (name, wanted) in &target.when.query {
        let value = said(wanted).unwrap_or("cg1");
        let upper = name.to_ascii_uppercase();
        for more in [
            format!("{name}={value}&{name}=cg2"),
            format!("{name}[]={value}"),
            format!("{name}.a={value}"),
            format!("%20{name}={value}"),
            format!("a=1;{name}={value}"),
            if upper == *name {
                format!("{name}=%ff&{name}")
            } else {
                format!("{upper}={value}")
            },
        ] {
            let bytes = target.request_to(&target.target_with(&more), "");
            asked.push((format!("`{more}` in the query"), bytes));
        }
    }
    asked
}
