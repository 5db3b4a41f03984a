//! What is sent: ordinary requests, and one thing or several done to them, by class. The classes are those
//! in which gateways and the servers behind them have disagreed.

use super::draft::{Draft, Field, Framing, HIDDEN, HOST, Place, Request, chunked, target};
use super::random::Random;

/// What is done to the requests; the rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Control,
    Length,
    Coding,
    Both,
    Chunks,
    LineEnds,
    RequestLine,
    Host,
    Fields,
    Pipeline,
    Bytes,
    Cut,
}

impl Class {
    pub const ALL: [Self; 12] = [
        Self::Control,
        Self::Length,
        Self::Coding,
        Self::Both,
        Self::Chunks,
        Self::LineEnds,
        Self::RequestLine,
        Self::Host,
        Self::Fields,
        Self::Pipeline,
        Self::Bytes,
        Self::Cut,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Length => "length",
            Self::Coding => "coding",
            Self::Both => "length and coding",
            Self::Chunks => "chunks",
            Self::LineEnds => "line ends",
            Self::RequestLine => "request line",
            Self::Host => "host",
            Self::Fields => "fields",
            Self::Pipeline => "pipeline",
            Self::Bytes => "bytes",
            Self::Cut => "cut off",
        }
    }
}

/// Bytes that some reader takes for space, for a line end, for nothing, or for part of a name.
const ODD: &[u8] =
    b"\0\x01\x08\t\n\x0b\x0c\r\x1a\x1b\x1f !\"#'(,-.;:=@[\\]_`{|}\x7f\x80\x85\xa0\xad\xff";

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

/// A draft of a class.
pub fn draft(class: Class, random: &mut Random, place: &Place<'_>) -> Draft {
    let mut draft = Draft::default();
    let several = matches!(class, Class::Pipeline) || random.one_in(3);
    for number in 0..=usize::from(several) {
        let request = match class {
            Class::Length => framed(random, place, number, Framing::Length),
            Class::Coding | Class::Chunks => framed(random, place, number, Framing::Chunked),
            _ => Request::ordinary(random, place, number),
        };
        draft.requests.push(request);
    }
    let at = random.below(draft.requests.len());
    let request = &mut draft.requests[at];
    match class {
        Class::Control | Class::Bytes | Class::Cut => {}
        Class::Length => length(random, request),
        Class::Coding => coding(random, request),
        Class::Both => both(random, request),
        Class::Chunks => request.body = chunks(random),
        Class::LineEnds => line_ends(random, request),
        Class::RequestLine => request_line(random, request),
        Class::Host => host(random, request),
        Class::Fields => fields(random, request),
        Class::Pipeline => pipeline(random, place, request),
    }
    let may_hide = !matches!(class, Class::Control | Class::Cut);
    if may_hide && random.one_in(2) {
        let hidden = Request::with(random, place, (HIDDEN, "GET", Framing::None));
        draft.last().body.extend(hidden.bytes());
    } else if random.one_in(2) {
        let last = draft.last();
        last.push("Connection", "close");
    }
    draft
}

/// What is done to the bytes of the whole, at last.
pub fn finish(class: Class, random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    match class {
        Class::Bytes => {
            for _ in 0..=random.below(3) {
                change(random, &mut bytes);
            }
        }
        Class::Cut => bytes.truncate(random.below(bytes.len()).max(1)),
        _ => {}
    }
    bytes
}

fn framed(random: &mut Random, place: &Place<'_>, number: usize, framing: Framing) -> Request {
    Request::with(random, place, (number, "POST", framing))
}

fn length(random: &mut Random, request: &mut Request) {
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

fn coding(random: &mut Random, request: &mut Request) {
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

/// Puts something odd before, into or after the name, the colon or the value.
fn around(random: &mut Random, field: &mut Field) {
    let odd = random.pick(ODD);
    match random.below(9) {
        0 => field.name.insert(0, odd),
        1 => field.name.push(odd),
        2 => field.colon.push(odd),
        3 => field.value.push(odd),
        4 => {
            let at = random.below(field.name.len());
            field.name.insert(at, odd);
        }
        5 => {
            let at = random.below(field.value.len());
            field.value.insert(at, odd);
        }
        6 => {
            field.colon = random
                .pick(&[
                    &b":"[..],
                    b"",
                    b" : ",
                    b"\t:",
                    b":\r\n ",
                    b":\n",
                    b": \r\n\t",
                    b"=",
                    b"::",
                ])
                .to_vec()
        }
        7 => field.name = field.name.to_ascii_uppercase(),
        _ => {
            let at = random.below(field.name.len());
            field.name[at] = odd;
        }
    }
}

fn both(random: &mut Random, request: &mut Request) {
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

fn chunks(random: &mut Random) -> Vec<u8> {
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

fn line_ends(random: &mut Random, request: &mut Request) {
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

fn request_line(random: &mut Random, request: &mut Request) {
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

fn host(random: &mut Random, request: &mut Request) {
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

fn fields(random: &mut Random, request: &mut Request) {
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

/// A body that looks like a request, and lengths that end it too early or too late.
fn pipeline(random: &mut Random, place: &Place<'_>, request: &mut Request) {
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

/// One byte, or a few: another, one more, one less, twice. What tells requests apart is left alone.
fn change(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len());
    let near = &bytes[at.saturating_sub(10)..(at + 10).min(bytes.len())];
    if !super::draft::ids(near).is_empty() || bytes.is_empty() {
        return;
    }
    let odd = if random.one_in(2) {
        random.pick(ODD)
    } else {
        random.below(256) as u8
    };
    match random.below(6) {
        0 => bytes[at] = odd,
        1 => bytes.insert(at, odd),
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, bytes[at]),
        4 => bytes[at] ^= 1 << random.below(8),
        _ => {
            let word = random.pick(&[
                &b"\r\n"[..],
                b"\r\n\r\n",
                b"0\r\n\r\n",
                b"Content-Length: 3\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"\n",
                b" ",
                b": ",
            ]);
            bytes.splice(at..at, word.iter().copied());
        }
    }
}
