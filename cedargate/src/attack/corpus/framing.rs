//! Where a body ends, said twice or badly: every way to write `Transfer-Encoding` that somebody takes
//! for it and somebody else does not, alone and beside a length, in both orders.

use super::super::case::{Case, Class, Expect};
use super::super::target::Target;

/// Wrong, whatever stands beside it.
const BAD_ENCODINGS: &[&str] = &[
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "\tTransfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: x chunked",
    "Transfer-Encoding: chunked x",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: , chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: chunked;",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: \u{c}chunked",
    "Transfer-Encoding: \u{0}chunked",
    "Transfer-Encoding: chunked\u{b}",
    "Transfer-Encoding: chunked\u{0}",
    "Transfer-Encoding: \u{a0}chunked",
    "Transfer-Encoding: chunked\u{a0}",
    "Transfer-Encoding: \u{ff}chunked",
    "Transfer-Encoding: \u{85}chunked",
    "Transfer-Encoding: chunked\u{7f}",
    "Transfer-Encoding: chunk\u{e9}d",
    "Transfer-Encoding: chunk ed",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: cow",
    "Transfer-Encoding: ",
    "Transfer-Encoding:",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding:\r\n\tchunked",
    "Transfer-Encoding: chunked\r\n x",
    "Transfer-Encoding:\n chunked",
    "Transfer-Encoding: chunked\nX-A: b",
    "Transfer-Encoding: chunked\rX-A: b",
    "X-A: b\nTransfer-Encoding: chunked",
    "X-A: b\rTransfer-Encoding: chunked",
    "X-A: b\r\rTransfer-Encoding: chunked",
    "\rTransfer-Encoding: chunked",
    "Transfer-Encoding\u{0}: chunked",
    "Transfer-Encoding\u{b}: chunked",
    "Transfer Encoding: chunked",
    "\u{0}Transfer-Encoding: chunked",
    "Transfer-Encoding\u{e9}: chunked",
    "Transfer-Encoding\r\n: chunked",
    "Transfer-\r\nEncoding: chunked",
    "Transfer-Encoding",
    "Transfer-Encoding chunked",
    "Transfer-Encoding; chunked",
    "Transfer-Encoding = chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: ",
    "Transfer-Encoding: cow\r\ntransfer-encoding: chunked",
];

/// Right by themselves, and wrong beside a length.
const GOOD_ENCODINGS: &[&str] = &[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:  chunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked\t",
    "transfer-encoding: chunked",
    "tRANSFER-eNCODING: chunked",
    "Transfer-Encoding: CHUNKED",
    "Transfer-Encoding: cHuNkEd",
];

const BAD_LENGTHS: &[&str] = &[
    "Content-Length:",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: -0",
    "Content-Length: 5 5",
    "Content-Length: 5,5",
    "Content-Length: 5, 5",
    "Content-Length: 5, 6",
    "Content-Length: 0x5",
    "Content-Length: 05",
    "Content-Length: 00",
    "Content-Length: 5.0",
    "Content-Length: 5e0",
    "Content-Length: 5;",
    "Content-Length: 5;a=b",
    "Content-Length: five",
    "Content-Length: \u{b}5",
    "Content-Length: \u{c}5",
    "Content-Length: 5\u{b}",
    "Content-Length: 5\u{0}",
    "Content-Length: \u{0}5",
    "Content-Length: \"5\"",
    "Content-Length: '5'",
    "Content-Length: 5_0",
    "Content-Length: 1 2",
    "Content-Length: \u{b2}",
    "Content-Length: 5\u{a0}",
    "Content-Length: \u{85}5",
    "Content-Length: 0b101",
    "Content-Length: 0o5",
    "Content-Length: 18446744073709551621",
    "Content-Length: 4294967301",
    "Content-Length: 99999999999999999999999",
    "Content-Length : 5",
    "Content-Length\t: 5",
    " Content-Length: 5",
    "Content-Length\u{0}: 5",
    "Content Length: 5",
    "Content-Length:\r\n 5",
    "Content-Length: 5\r\n 0",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: 5",
    "Content-Length: 5\r\nX-A: b\r\ncontent-length: 6",
    "Content-Length: 5\r\nContent-Length:",
    "Content-Length: 5\nX-A: b",
    "Content-Length: 5\rX-A: b",
    "X-A: b\nContent-Length: 5",
    "X-A: b\rContent-Length: 5",
    "Content-Length",
    "Content-Length 5",
    "Content-Length: NaN",
    "Content-Length: 5L",
];

pub(super) fn cases(write: &Target) -> Vec<Case> {
    let hidden = write.smuggled();
    let mut cases = Vec::new();
    let mut case = |version: &str, fields: &str, body: &str, expect: Expect| {
        let line = format!("{} {} {version}", write.method, write.path);
        let bytes = write.message(&line, &format!("{fields}\r\n"), body);
        let title = format!("{version} {}", fields.escape_default());
        cases.push(Case::new(Class::Framing, write, title, bytes, expect));
    };
    let chunked = format!("0\r\n\r\n{hidden}");
    let length = "Content-Length: 5";
    for encoding in BAD_ENCODINGS {
        case("HTTP/1.1", encoding, &chunked, Expect::Refused);
    }
    for encoding in BAD_ENCODINGS.iter().chain(GOOD_ENCODINGS) {
        for fields in [
            format!("{length}\r\n{encoding}"),
            format!("{encoding}\r\n{length}"),
        ] {
            // Space that would fold the line before only where there is one.
            case("HTTP/1.1", &fields, &chunked, Expect::Refused);
        }
    }
    for encoding in GOOD_ENCODINGS {
        case("HTTP/1.0", encoding, &chunked, Expect::Refused);
        let fields = format!("{encoding}\r\nConnection: close");
        let passes = Expect::passes_with(write, "hello");
        case("HTTP/1.1", &fields, "5\r\nhello\r\n0\r\n\r\n", passes);
    }
    for length in BAD_LENGTHS {
        case(
            "HTTP/1.1",
            length,
            &format!("hello{hidden}"),
            Expect::Refused,
        );
    }
    for expectation in ["200-ok", "100-continue, x", "x", ""] {
        let fields = format!("{length}\r\nExpect: {expectation}\r\nConnection: close");
        let expect = if expectation.is_empty() {
            Expect::Sound
        } else {
            Expect::Refused
        };
        case("HTTP/1.1", &fields, "hello", expect);
    }
    cases
}
