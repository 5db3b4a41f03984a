//! What is done to a body, and to what says how long it is.

use super::super::draft::{Field, Framing, HIDDEN, Place, Request, chunked, target};
use super::super::random::Random;
use super::around;

const LENGTHS: &[&str] = &[
    "+N",
    "-N",
    "0N",
    "N ",
    " N",
    "N,N",
    "N, N",
    "N;",
    "N.0",
    "0xN",
    "N\t",
    "\x0bN",
    "N\x0b",
    "N N",
    "N_0",
    "\"N\"",
    "Ne0",
    "",
    "18446744073709551616",
    "4294967296",
    "99999999999999999999",
    "0",
    "1",
    "N\r\n ",
];

const CODINGS: &[&str] = &[
    "xchunked",
    "chunkedx",
    "chunked, identity",
    "identity, chunked",
    "identity",
    "gzip, chunked",
    "chunked, gzip",
    "chunked,chunked",
    "chunked,",
    ",chunked",
    "\"chunked\"",
    "chunked;q=1",
    "chunked ",
    "\tchunked",
    "CHUNKED",
    "chunk ed",
    "chunk",
    "",
    "\r\n chunked",
    "chunked\r\n ",
    "x\r\n\tchunked",
    "cow",
    "deflate",
];

pub(super) fn length(random: &mut Random, request: &mut Request) {
    let length = request.body.len().to_string();
    let mut variant = || random.pick(LENGTHS).replace('N', &length);
    let value = variant();
    match variant().len() % 4 {
        0 => request.push("Content-Length", &value),
        1 => request
            .fields
            .insert(0, Field::new("content-length", &value)),
        _ => {
            if let Some(field) = request.framing() {
                field.value = value.into_bytes();
            }
        }
    }
    if random.one_in(4)
        && let Some(field) = request.framing()
    {
        around(random, field);
    }
}

pub(super) fn coding(random: &mut Random, request: &mut Request) {
    let value = random.pick(CODINGS);
    match random.below(5) {
        0 => request.push("Transfer-Encoding", value),
        1 => request
            .fields
            .insert(0, Field::new("transfer-encoding", value)),
        2 => {
            if let Some(field) = request.framing() {
                field.value = value.as_bytes().to_vec();
            }
        }
        _ => {
            if let Some(field) = request.framing() {
                around(random, field);
            }
        }
    }
    if random.one_in(3) {
        request.version = "HTTP/1.0".to_owned();
    }
}

pub(super) fn both(random: &mut Random, request: &mut Request) {
    request.without_framing();
    let inner = random.below(20);
    let body = vec![b'x'; inner];
    let (length, is_chunked) = (random.pick(&[0, inner, inner + 5, 3]), !random.one_in(4));
    request.body = if is_chunked {
        chunked(random, &body)
    } else {
        body
    };
    let mut two = [
        Field::new("Content-Length", &length.to_string()),
        Field::new("Transfer-Encoding", "chunked"),
    ];
    if random.one_in(2) {
        let at = random.below(2);
        around(random, &mut two[at]);
    }
    if random.one_in(2) {
        two.reverse();
    }
    let [first, second] = two;
    request
        .fields
        .insert(random.below(request.fields.len()), first);
    request.fields.push(second);
    request.method = random.pick(&["POST", "GET", "PUT"]).to_owned();
}

pub(super) fn chunks(random: &mut Random) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..random.below(4) {
        let length = 1 + random.below(12);
        let size = random.pick(&[
            "H",
            "0H",
            "+H",
            "0xH",
            "H ",
            " H",
            "H\t",
            "H;",
            "H;a",
            "H;a=b",
            "H;a=\"b\"",
            "H;a=\"\r\n\"",
            "H\n",
            "H\r",
            "-H",
            "H_",
            "H,",
            "000000000000000000H",
            "8000000000000000H",
            "H;\x01",
            "H;\n",
            "",
            "H",
            "H",
            "H",
        ]);
        body.extend(size.replace('H', &format!("{length:x}")).bytes());
        body.extend_from_slice(end(random));
        let actual =
            (length + random.pick(&[0, 0, 0, 0, 1, 2])).saturating_sub(random.pick(&[0, 0, 0, 1]));
        body.extend(vec![b'y'; actual]);
        body.extend_from_slice(end(random));
    }
    body.extend_from_slice(random.pick(&[
        &b"0"[..],
        b"0",
        b"0",
        b"00",
        b"0;a",
        b"+0",
        b"-0",
        b"0x0",
        b"0 ",
        b"",
    ]));
    body.extend_from_slice(end(random));
    for _ in 0..random.below(3) {
        body.extend_from_slice(random.pick(&[
            &b"X-T: 1"[..],
            b"Content-Length: 5",
            b"Transfer-Encoding: chunked",
            b"Host: b",
            b"nocolon",
            b" folded: 1",
            b"a b: c",
            b": x",
            b"X: \x00",
            b"Authorization: Bearer x",
            b"Content_Length: 9",
        ]));
        body.extend_from_slice(end(random));
    }
    body.extend_from_slice(end(random));
    body
}

fn end(random: &mut Random) -> &'static [u8] {
    if !random.one_in(12) {
        return b"\r\n";
    }
    random.pick(&[
        &b"\n"[..],
        b"\r",
        b"\r\r\n",
        b"\n\r",
        b"",
        b"\r\n\r\n",
        b" \r\n",
        b"\0\r\n",
        b"XX",
    ])
}

/// A body that looks like a request, and lengths that end it too early or too late.
pub(super) fn pipeline(random: &mut Random, place: &Place<'_>, request: &mut Request) {
    let hidden = Request::with(random, place, (HIDDEN, "GET", Framing::None)).bytes();
    request.without_framing();
    request.method = random
        .pick(&["GET", "POST", "HEAD", "DELETE", "OPTIONS", "PUT"])
        .to_owned();
    match random.below(6) {
        0 => {
            request.push("Content-Length", &hidden.len().to_string());
            request.body = hidden;
        }
        1 => {
            let length = random.below(hidden.len() + 10);
            request.push("Content-Length", &length.to_string());
            request.body = hidden;
        }
        2 => {
            request.push("Transfer-Encoding", "chunked");
            request.body = chunked(random, &hidden);
        }
        3 => {
            request.push("Transfer-Encoding", "chunked");
            request.body = [b"0\r\n\r\n", &*hidden].concat();
        }
        4 => {
            request.version = "HTTP/1.0".to_owned();
            request.push("Connection", random.pick(&["keep-alive", "close"]));
            request.body = hidden;
        }
        _ => {
            request.push("Expect", "100-continue");
            request.push("Content-Length", &hidden.len().to_string());
            request.body = hidden;
        }
    }
    if random.one_in(5) {
        request.target = target(place, 0);
    }
}
