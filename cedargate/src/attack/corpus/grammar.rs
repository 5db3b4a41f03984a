//! Heads that are almost HTTP, and each control byte in each place.

use super::super::case::{Case, Class, Expect};
use super::super::target::{Target, latin1};

/// Fields that are none.
const BAD_FIELDS: &[&str] = &[
    "Nocolon\r\n",
    ": a\r\n",
    " : a\r\n",
    "X-A : b\r\n",
    "X-A\t: b\r\n",
    "X A: b\r\n",
    "X-A: b\r\n c\r\n",
    "X-A: b\r\n\tc\r\n",
    "X-A:\r\n b\r\n",
    "X-A: b\nX-B: c\r\n",
    "X-A: b\rX-B: c\r\n",
    "X-A: b\r\r\n",
    "\u{e9}: a\r\n",
    "X\u{e9}: a\r\n",
    "X-A: b\n\r\n",
    "=\r\n",
    "X-A\r\n: b\r\n",
    "X-A: b\u{0}c\r\n",
];

/// Request lines that are none; `M` is the method, `~` the path.
const BAD_LINES: &[&str] = &[
    "M ~",
    "M  ~ HTTP/1.1",
    "M ~  HTTP/1.1",
    "M\t~ HTTP/1.1",
    "M ~\tHTTP/1.1",
    " M ~ HTTP/1.1",
    "M ~ HTTP/1.1 ",
    "\r\nM ~ HTTP/1.1",
    "\nM ~ HTTP/1.1",
    "\r\n\r\nM ~ HTTP/1.1",
    "M ~ HTTP/1.2",
    "M ~ HTTP/1.9",
    "M ~ HTTP/2.0",
    "M ~ HTTP/3",
    "M ~ HTTP/0.9",
    "M ~ http/1.1",
    "M ~ Http/1.1",
    "M ~ HTTP/11",
    "M ~ HTTP/1.1x",
    "M ~ HTTP/1.10",
    "M ~ HTTP/01.1",
    "M ~ HTTP/1.",
    "M ~ HTTP/",
    "M ~ HTTP",
    "M ~ HTTP /1.1",
    "M ~ HTTP/1 .1",
    "M ~ HTTP/1,1",
    "M ~ HTTP/1.1\u{0}",
    "M ~ HTTPS/1.1",
    "M ~ XTTP/1.1",
    "M ~ ICAP/1.0",
    "M~ HTTP/1.1",
    "~ HTTP/1.1",
    "HTTP/1.1",
    "M ~HTTP/1.1",
    "M\u{b}~ HTTP/1.1",
    "M ~\u{c}HTTP/1.1",
    "M\u{0} ~ HTTP/1.1",
    "M\u{a0}~ HTTP/1.1",
    "M: ~ HTTP/1.1",
    "M, ~ HTTP/1.1",
    "(M) ~ HTTP/1.1",
    "\"M\" ~ HTTP/1.1",
    "M@ ~ HTTP/1.1",
    "M\u{e9} ~ HTTP/1.1",
    "M/ ~ HTTP/1.1",
    "M ~ x HTTP/1.1",
    "M ~ HTTP/1.1 HTTP/1.1",
    "M ~ HTTP/1.1\rX-A: b",
    "M ~\r\nHTTP/1.1",
    "",
    "\u{0}",
];

#[expect(
    clippy::too_many_lines,
    reason = "a list of cases reads best in one piece"
)]
pub(super) fn cases(read: &Target) -> Vec<Case> {
    let mut cases = controls(read);
    let mut case = |title: String, bytes: Vec<u8>, expect: Expect| {
        cases.push(Case::new(Class::Grammar, read, title, bytes, expect));
    };
    for shape in BAD_LINES {
        let line = shape
            .replacen('M', &read.method, 1)
            .replacen('~', &read.path, 1);
        let bytes = read.message(&line, "Connection: close\r\n", "");
        case(line.escape_default().to_string(), bytes, Expect::Refused);
    }
    for fields in BAD_FIELDS {
        case(
            fields.escape_default().to_string(),
            read.request(fields),
            Expect::Refused,
        );
    }
    for delimiter in "\"(),/;<=>?@[\\]{}".chars() {
        let bytes = read.request(&format!("X{delimiter}A: b\r\n"));
        case(
            format!("`{delimiter}` in a field's name"),
            bytes,
            Expect::Refused,
        );
    }
    let (host, authorization) = (&read.host, read.authorization());
    let line = read.line();
    for (title, text) in [
        (
            "line feeds only",
            format!("{line}\nHost: {host}\n{authorization}\n\n"),
        ),
        (
            "carriage returns only",
            format!("{line}\rHost: {host}\r{authorization}\r\r"),
        ),
        (
            "a line feed after the request line",
            format!("{line}\nHost: {host}\r\n{authorization}\r\n"),
        ),
        (
            "a line feed at the end",
            format!("{line}\r\nHost: {host}\r\n{authorization}\n"),
        ),
        (
            "space before the first field",
            format!("{line}\r\n Host: {host}\r\n{authorization}\r\n"),
        ),
        ("no fields", format!("{line}\r\n\r\n")),
        ("HTTP/0.9", format!("{} {}\r\n", read.method, read.path)),
        (
            "the preface of HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u{0}\u{0}\u{0}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}"
                .to_owned(),
        ),
        (
            "a client hello of TLS",
            "\u{16}\u{3}\u{1}\u{0}\u{5}\u{1}\u{0}\u{0}\u{1}\u{0}\r\n\r\n".to_owned(),
        ),
        (
            "the v1 header of the PROXY protocol",
            format!(
                "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n{line}\r\nHost: {host}\r\n{authorization}\r\n"
            ),
        ),
    ] {
        case(title.to_owned(), latin1(&text), Expect::Refused);
    }
    let many = read.request(&"X-A: b\r\n".repeat(3000));
    case("thousands of fields".to_owned(), many, Expect::Refused);
    let long = read.request(&format!("X-A: {}\r\n", "a".repeat(2 << 20)));
    case("a field of two megabytes".to_owned(), long, Expect::Refused);
    cases
}

/// Tab alone may stand in a value.
fn controls(read: &Target) -> Vec<Case> {
    let mut cases = Vec::new();
    for byte in (0..0x20_u8).chain([0x7f]) {
        let control = char::from(byte);
        let path = &read.path;
        let mut places = vec![
            (
                "the path",
                read.request_to(&format!("{path}{control}x"), ""),
            ),
            (
                "the query",
                read.request_to(&format!("{path}?a{control}x"), ""),
            ),
            (
                "a field's name",
                read.request(&format!("X{control}A: b\r\n")),
            ),
            (
                "front of a field",
                read.request(&format!("{control}X-A: b\r\n")),
            ),
            (
                "the method",
                read.message(
                    &format!("GE{control}T {path} HTTP/1.1"),
                    "Connection: close\r\n",
                    "",
                ),
            ),
            (
                "the version",
                read.message(
                    &format!("{}{control}", read.line()),
                    "Connection: close\r\n",
                    "",
                ),
            ),
        ];
        if byte != b'\t' {
            places.push(("a value", read.request(&format!("X-A: b{control}c\r\n"))));
            places.push((
                "front of a value",
                read.request(&format!("X-A: {control}b\r\n")),
            ));
        }
        for (place, bytes) in places {
            let title = format!("0x{byte:02x} in {place}");
            cases.push(Case::new(
                Class::ControlBytes,
                read,
                title,
                bytes,
                Expect::Refused,
            ));
        }
    }
    cases
}
