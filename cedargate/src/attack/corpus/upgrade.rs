//! Connections that pretend to become something else. The upstream of an attack never agrees to it.

use super::super::case::{Case, Class, Expect, MARKER, SMUGGLED};
use super::super::target::{Target, latin1};

const WEBSOCKET: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[expect(
    clippy::too_many_lines,
    reason = "a list of cases reads best in one piece"
)]
pub(super) fn cases(read: &Target) -> Vec<Case> {
    let mut cases = Vec::new();
    let smuggled = format!("GET {SMUGGLED} HTTP/1.1\r\nHost: {}\r\n\r\n", read.host);
    for (title, fields) in [
        (
            "h2c",
            format!(
                "Upgrade: h2c\r\nHTTP2-Settings: {MARKER}\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            ),
        ),
        (
            "h2c, the settings not named",
            format!("Upgrade: h2c\r\nHTTP2-Settings: {MARKER}\r\nConnection: Upgrade\r\n"),
        ),
        (
            "TLS",
            "Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n".to_owned(),
        ),
        (
            "two protocols",
            "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n".to_owned(),
        ),
        (
            "WebSocket that Connection does not name",
            WEBSOCKET.to_owned(),
        ),
    ] {
        let case = Case::new(
            Class::Upgrade,
            read,
            title,
            read.request(&fields),
            Expect::passes(read),
        );
        cases.push(case.hiding_marker());
    }
    for (title, fields) in [
        ("h2c", "Upgrade: h2c\r\nConnection: Upgrade\r\n".to_owned()),
        ("WebSocket", format!("{WEBSOCKET}Connection: Upgrade\r\n")),
    ] {
        let title = format!("a request behind the wish for {title}");
        let bytes = read.message(&read.line(), &fields, &smuggled);
        cases.push(Case::new(Class::Upgrade, read, title, bytes, Expect::Sound));
    }
    for (title, fields) in [
        ("WebSocket with a body", "Content-Length: 3\r\n"),
        (
            "WebSocket with a chunked body",
            "Transfer-Encoding: chunked\r\n",
        ),
    ] {
        let fields = format!("{WEBSOCKET}Connection: Upgrade\r\n{fields}");
        let bytes = read.message(&read.line(), &fields, &smuggled);
        cases.push(Case::new(
            Class::Upgrade,
            read,
            title,
            bytes,
            Expect::Refused,
        ));
    }
    if read.token.is_some() {
        let bytes = latin1(&format!(
            "{}\r\nHost: {}\r\n{WEBSOCKET}Connection: Upgrade\r\n\r\n{smuggled}",
            read.line(),
            read.host
        ));
        let title = "WebSocket without a token";
        cases.push(Case::new(
            Class::Upgrade,
            read,
            title,
            bytes,
            Expect::Refused,
        ));
    }
    cases
}
