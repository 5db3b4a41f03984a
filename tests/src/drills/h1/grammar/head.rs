//! What is done to the lines of a head.

use super::super::draft::{Field, HOST, Request};
use super::super::random::Random;
use super::around;

pub(super) fn line_ends(random: &mut Random, request: &mut Request) {
    for _ in 0..=random.below(2) {
        let at = random.below(request.lines());
        *request.end(at) = random
            .pick(&[
                &b"\n"[..],
                b"\r",
                b"\r\r\n",
                b"\n\r",
                b"\r\n ",
                b"\r\n\t",
                b"\r\n\r\n",
                b"\x0b\r\n",
                b"\x0c\r\n",
                b"\0\r\n",
                b" \r\n",
                b"\x85",
                b"\r\n\n",
                b"\n\n",
                b"",
                b"\r\nX-Folded: a\r\n b\r\n",
                b"\r\n : \r\n",
            ])
            .to_vec();
    }
}

pub(super) fn request_line(random: &mut Random, request: &mut Request) {
    let path = request.target.clone();
    match random.below(6) {
        0 => {
            let at = random.below(2);
            request.spaces[at] = random
                .pick(&[
                    &b"  "[..],
                    b"\t",
                    b"",
                    b"\x0b",
                    b"\x0c",
                    b"\r",
                    b"\xa0",
                    b" \t",
                    b"\0",
                    b"+",
                ])
                .to_vec();
        }
        1 => {
            request.version = random
                .pick(&[
                    "HTTP/1.0",
                    "HTTP/1.2",
                    "HTTP/2.0",
                    "HTTP/0.9",
                    "http/1.1",
                    "HTTP/1.1 ",
                    "HTTP/01.1",
                    "HTTP/1,1",
                    "",
                    "HTTP/1.1\t",
                    "HTTP 1.1",
                    "HTTP/1.10",
                    "HTTP/11",
                    "HTTPS/1.1",
                    "x HTTP/1.1",
                ])
                .to_owned();
        }
        2 => {
            request.method = random
                .pick(&[
                    "get",
                    "GET\0",
                    "G ET",
                    "",
                    "CONNECT",
                    "TRACE",
                    "PRI",
                    "X-METHOD",
                    "GET:",
                    "\x0bGET",
                    "GÉT",
                    "GET\t",
                    "\"GET\"",
                    "A".repeat(70).as_str(),
                ])
                .to_owned();
        }
        3 => {
            let form = random.pick(&[
                "http://gw.test",
                "http://other.test",
                "https://gw.test",
                "//gw.test",
                "http://gw.test@x",
                "http:",
                "gw.test:80",
                "*",
                "HTTP://GW.TEST",
                "http://gw.test:80",
                "\\",
                "",
            ]);
            request.target = format!("{form}{path}");
        }
        _ => {
            let more = random.pick(&[
                "#x",
                "?a#b",
                "/..",
                "/.",
                "/../x",
                "/%2e%2e/x",
                "%2f..",
                "/%2E",
                "//",
                "/;a",
                ";b",
                "%00",
                "%0d%0a",
                "%",
                "%zz",
                "%5c",
                "\\",
                "?a b",
                "?\u{e9}",
                "\u{e9}",
                "%c3%a9",
                "%e9",
                "?%00",
                "?a=%0a",
                "/a%20b",
                "%7e",
                "~",
                "?",
                "&",
                "%25",
                "%u002e",
                "|",
                "\"",
                "<",
                "^",
            ]);
            request.target = format!("{path}{more}");
        }
    }
}

pub(super) fn host(random: &mut Random, request: &mut Request) {
    let value = random.pick(&[
        "gw.test:80",
        "GW.test",
        "gw.test.",
        "gw.test:",
        "gw.test:0",
        "gw.test:99999",
        "gw.test, b",
        "gw.test@b",
        "b@gw.test",
        "",
        " ",
        "gw.test/x",
        "gw test",
        "127.1",
        "0x7f.1",
        "[::1]",
        "[::1]:80",
        "[::1",
        "gw.test:80:80",
        "a..b",
        "gw.test\t",
        "b",
        "gw_test",
        "\u{e9}",
        "gw.test#",
        "gw.test:+80",
    ]);
    let at = request
        .fields
        .iter()
        .position(|field| field.name == b"Host");
    match (random.below(5), at) {
        (0, _) => request.push("Host", value),
        (1, Some(at)) => drop(request.fields.remove(at)),
        (2, Some(at)) => around(random, &mut request.fields[at]),
        (_, Some(at)) => request.fields[at].value = value.as_bytes().to_vec(),
        (_, None) => {}
    }
    if random.one_in(4) {
        request.target = format!(
            "http://{}{}",
            random.pick(&[HOST, "b", "gw.test:80", "gw.test:81"]),
            request.target
        );
    }
}

pub(super) fn fields(random: &mut Random, request: &mut Request) {
    for _ in 0..=random.below(3) {
        let (name, value) = random.pick(&[
            ("Connection", "close, X-Note, Host"),
            ("Connection", "Content-Length"),
            ("Connection", "Transfer-Encoding"),
            ("Connection", "upgrade"),
            ("Connection", "keep-alive"),
            ("Upgrade", "h2c"),
            ("Upgrade", "websocket"),
            ("HTTP2-Settings", "AAMAAABk"),
            ("Expect", "100-continue"),
            ("Expect", "200-ok"),
            ("TE", "trailers"),
            ("Trailer", "Content-Length"),
            ("Content_Length", "7"),
            ("Transfer_Encoding", "chunked"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-Original-URL", "/x"),
            ("X-Forwarded-Host", "b"),
            ("Content-Encoding", "chunked"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("X-Empty", ""),
            ("Range", "bytes=0-1"),
            ("Content-Length\0", "7"),
            ("Content-Lengt\u{e9}", "7"),
            ("", "x"),
            ("X y", "z"),
            ("(x)", "y"),
            (
                "X-Long",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            ),
        ]);
        let mut field = Field::new(name, value);
        if random.one_in(3) && !field.name.is_empty() && !field.value.is_empty() {
            around(random, &mut field);
        }
        let at = random.below(request.fields.len() + 1);
        request.fields.insert(at, field);
    }
}
