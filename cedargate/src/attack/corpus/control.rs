//! Ordinary requests, which must pass: a gateway that refuses everything has proved nothing.

use super::super::case::{Case, Class, Expect};
use super::super::target::Target;

#[expect(
    clippy::too_many_lines,
    reason = "a list of cases reads best in one piece"
)]
pub(super) fn cases(all: &[Target], read: &Target, write: &Target) -> Vec<Case> {
    let mut cases = Vec::new();
    for target in all {
        let name = format!("{} {} passes", target.method, target.template);
        let case = Case::new(
            Class::Control,
            target,
            name,
            target.request(""),
            Expect::passes(target),
        );
        cases.push(case);
    }
    let mut passes = |target: &Target, title: &str, bytes: Vec<u8>, expect: Expect| {
        cases.push(Case::new(Class::Control, target, title, bytes, expect));
    };
    let with_query = read.target_with("a=%2e%2e%2f&b=/x&c");
    passes(
        read,
        "a query is passed on as it is",
        read.request_to(&with_query, ""),
        Expect::Passes {
            target: with_query.replacen(&read.path, &read.forwarded(), 1),
            body: Vec::new(),
        },
    );
    passes(
        read,
        "an absolute target of the same host",
        read.request_to(&format!("http://{}{}", read.host, read.target()), ""),
        Expect::passes(read),
    );
    for (title, fields) in [
        (
            "a field with a tab and bytes above ASCII",
            "X-A: a\tb\u{e9}\r\n",
        ),
        ("a field without a value", "X-A:\r\n"),
        ("a field twice", "X-A: a\r\nX-A: b\r\n"),
        ("cookies", "Cookie: a=b; c=d\r\n"),
    ] {
        passes(read, title, read.request(fields), Expect::passes(read));
    }
    for (title, fields, body) in [
        ("a body with a length", "Content-Length: 5\r\n", "hello"),
        (
            "a chunked body",
            "Transfer-Encoding: chunked\r\n",
            "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ),
    ] {
        let fields = format!("{fields}Connection: close\r\n");
        passes(
            write,
            title,
            write.message(&write.line(), &fields, body),
            Expect::passes_with(write, "hello"),
        );
    }
    let mut two = read.message(&read.line(), "", "");
    two.extend(read.request(""));
    cases.push(
        Case::new(
            Class::Control,
            read,
            "two requests on one connection",
            two,
            Expect::passes(read),
        )
        .of_requests(2),
    );
    cases
}
