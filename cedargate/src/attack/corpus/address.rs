//! Forms of the request target, and hosts, that two readers could take for different places.

use super::super::case::{Case, Class, Expect};
use super::super::target::{Target, latin1};

/// `~` is the host.
const BAD_HOSTS: &[&str] = &[
    "",
    " ",
    "~, other.test",
    "~,~",
    "~ other.test",
    "~\tother.test",
    "~:",
    "~:0",
    "~:65536",
    "~:99999",
    "~:80abc",
    "~:+80",
    "~:-1",
    "~:0x50",
    "~:80:80",
    "~: 80",
    "user@~",
    "user:password@~",
    "@~",
    "~@other.test",
    "~/",
    "~/x",
    "~?x",
    "~#x",
    "~\\x",
    "http://~",
    "//~",
    "~..",
    "..~",
    "a..~",
    ".~",
    "*",
    "*.~",
    "~%2e",
    "~%00",
    "%67~",
    "~\u{e9}",
    "~\u{0}",
    "~\u{b}",
    "~\r",
    "~;x",
    "~'",
    "~\"",
    "(~)",
    "<~>",
    "~!",
    "[::1",
    "::1",
    "[::1]x",
    "[~]",
    "[::1]:",
    "[::g]",
    "127.1",
    "0x7f.1",
    "2130706433",
    "127.0.0.256",
    "0177.0.0.1x.1",
    "{~}",
    "~|x",
    "~^x",
    "~$x",
    "~&x",
    "~=x",
    "~+x",
];

pub(super) fn cases(read: &Target) -> Vec<Case> {
    let mut cases = targets(read);
    let (host, authorization) = (&read.host, read.authorization());
    let with_hosts = |fields: &str| {
        latin1(&format!(
            "{}\r\n{fields}{authorization}Connection: close\r\n\r\n",
            read.line()
        ))
    };
    let mut case = |title: String, fields: &str, expect: Expect| {
        cases.push(Case::new(
            Class::Host,
            read,
            title,
            with_hosts(fields),
            expect,
        ));
    };
    for shape in BAD_HOSTS {
        let value = shape.replace('~', host);
        let title = format!("Host: {}", value.escape_default());
        case(title, &format!("Host: {value}\r\n"), Expect::Refused);
    }
    case("no host".into(), "", Expect::Refused);
    for (title, other) in [
        ("the same host twice", host.as_str()),
        ("two hosts", "other.test"),
    ] {
        let fields = format!("Host: {host}\r\nHost: {other}\r\n");
        case(title.into(), &fields, Expect::Refused);
        let fields = format!("Host: {other}\r\nX-A: b\r\nhost: {host}\r\n");
        case(format!("{title}, apart"), &fields, Expect::Refused);
    }
    for (title, fields) in [
        ("space before the colon", format!("Host : {host}\r\n")),
        ("a folded host", format!("Host:\r\n {host}\r\n")),
        (
            "a host that goes on",
            format!("Host: {host}\r\n .other.test\r\n"),
        ),
        (
            "a bare line feed within",
            format!("Host: {host}\nHost: other.test\r\n"),
        ),
        (
            "a name that is too long",
            format!("Host: {}.test\r\n", "a".repeat(260)),
        ),
    ] {
        case(title.into(), &fields, Expect::Refused);
    }
    for (title, value) in [
        ("capitals", host.to_ascii_uppercase()),
        ("a dot at the end", format!("{host}.")),
        ("the scheme's own port", format!("{host}:80")),
    ] {
        let fields = format!("Host: {value}\r\n");
        case(title.into(), &fields, Expect::passes(read));
    }
    cases
}

fn targets(read: &Target) -> Vec<Case> {
    let (path, host) = (&read.path, &read.host);
    let mut cases = Vec::new();
    for target in [
        format!("http://other.test{path}"),
        format!("http://{host}:81{path}"),
        format!("https://{host}{path}"),
        format!("ftp://{host}{path}"),
        format!("http://user@{host}{path}"),
        format!("http://{host}:bad{path}"),
        format!("http://{host}, other.test{path}"),
        format!("http:/{path}"),
        format!("http:{path}"),
        format!("http://{path}"),
        format!("//{host}{path}"),
        format!("{host}{path}"),
        format!("{host}:80"),
        "*".into(),
        "**".into(),
        "?a".into(),
        "x".into(),
        "..".into(),
        format!(".{path}"),
        format!("file://{path}"),
        format!("javascript:{path}"),
    ] {
        let bytes = read.request_to(&target, "");
        cases.push(Case::new(
            Class::Target,
            read,
            target,
            bytes,
            Expect::Refused,
        ));
    }
    for line in [
        "OPTIONS * HTTP/1.1".to_owned(),
        format!("CONNECT {host}:80 HTTP/1.1"),
        format!("CONNECT {path} HTTP/1.1"),
        format!("TRACE {path} HTTP/1.1"),
        format!("TRACK {path}/.. HTTP/1.1"),
        format!("{}  HTTP/1.1", read.method),
    ] {
        let bytes = read.message(&line, "Connection: close\r\n", "");
        cases.push(Case::new(Class::Target, read, line, bytes, Expect::Refused));
    }
    cases
}
