//! Chunked bodies that one reader ends earlier than another.

use super::super::case::{Case, Class, Expect};
use super::super::target::Target;

const BAD: &[&str] = &[
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "0_5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "\t5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t\r\nhello\r\n0\r\n\r\n",
    "5\u{b}\r\nhello\r\n0\r\n\r\n",
    "5\u{0}\r\nhello\r\n0\r\n\r\n",
    "5\u{a0}\r\nhello\r\n0\r\n\r\n",
    "5.0\r\nhello\r\n0\r\n\r\n",
    "5,\r\nhello\r\n0\r\n\r\n",
    "5g\r\nhello\r\n0\r\n\r\n",
    "5h\r\nhello\r\n0\r\n\r\n",
    "\"5\"\r\nhello\r\n0\r\n\r\n",
    "\r\nhello\r\n0\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    ";a=b\r\nhello\r\n0\r\n\r\n",
    "g\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "00000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5;a\u{0}\r\nhello\r\n0\r\n\r\n",
    "5;a\u{b}\r\nhello\r\n0\r\n\r\n",
    "5;a\u{1b}\r\nhello\r\n0\r\n\r\n",
    "5;a\u{7f}\r\nhello\r\n0\r\n\r\n",
    "5;a\u{e9}\r\nhello\r\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5;\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\rhello\r\n0\r\n\r\n",
    "5\n\rhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "5\r\nhell\r\n0\r\n\r\n",
    "6\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n+0\r\n\r\n",
    "5\r\nhello\r\n0x0\r\n\r\n",
    "5\r\nhello\r\n0 \r\n\r\n",
    "5\r\nhello\r\n0\n\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\r\n",
    "5\r\nhello\r\n-0\r\n\r\n",
    "5\r\nhello\r\n0;\r\n\r\n",
    "5\r\nhello\r\n0\r\n \r\n\r\n",
    "5\r\nhello\r\n0\r\nNocolon\r\n\r\n",
    "5\r\nhello\r\n0\r\n: a\r\n\r\n",
    "5\r\nhello\r\n0\r\n a: b\r\n\r\n",
    "5\r\nhello\r\n0\r\na: b\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 60\r\n\r\n",
    "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n0\r\nHost: other.test\r\n\r\n",
    "5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-A: b\r\ncontent-length: 5\r\n\r\n",
];

const GOOD: &[&str] = &[
    "5\r\nhello\r\n0\r\n\r\n",
    "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
    "005\r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b c\"\r\nhello\r\n0;x\r\n\r\n",
    "5\r\nhello\r\n000\r\n\r\n",
];

pub(super) fn cases(write: &Target) -> Vec<Case> {
    let next = write.smuggled();
    let mut cases = Vec::new();
    let mut case = |fields: &str, body: &str, title: String, expect: Expect| {
        let fields = format!("Transfer-Encoding: chunked\r\n{fields}");
        let bytes = write.message(&write.line(), &fields, body);
        cases.push(Case::new(Class::Chunked, write, title, bytes, expect));
    };
    for bad in BAD {
        let title = bad.escape_default().to_string();
        case("", &format!("{bad}{next}"), title, Expect::Refused);
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20_000));
    case(
        "",
        &long,
        "an endless extension".to_owned(),
        Expect::Refused,
    );
    for good in GOOD {
        let title = good.escape_default().to_string();
        let expect = Expect::passes_with(write, "hello");
        case("Connection: close\r\n", good, title, expect);
    }
    cases
}
