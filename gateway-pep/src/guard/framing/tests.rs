//! Framing of request bodies, accepted and refused.

use proptest::prelude::*;

use super::*;

/// Reads in pieces of every size; the verdict may not depend on how the bytes arrive.
#[track_caller]
fn check(stream: &str, expected: Result<u64, &str>) {
    for size in [1, 2, 3, 7, stream.len()] {
        let mut framing = Framing::new(4096);
        let mut actual = Ok(0);
        for piece in stream.as_bytes().chunks(size) {
            match framing.read(piece) {
                Verdict::Fine => actual = Ok(framing.messages()),
                Verdict::BadHead => actual = Err("head"),
                Verdict::BadBody { .. } => actual = Err("body"),
            }
            if actual.is_err() {
                break;
            }
        }
        assert_eq!(actual, expected, "{stream:?} in pieces of {size}");
    }
}

#[test]
fn ordinary_messages_are_counted() {
    check(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        Ok(2),
    );
    check(
        "POST / HTTP/1.1\r\nContent-Length:  5 \r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
        Ok(2),
    );
    check(
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\nx\r\n0\r\nX-T: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        Ok(2),
    );
}

#[test]
fn a_head_that_could_be_read_in_two_ways_is_bad() {
    for head in [
        "GET /a#b HTTP/1.1\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET  /a HTTP/1.1\r\n\r\n",
        "GET\t/a HTTP/1.1\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 05\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: \u{b}5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked;a=b\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        check(head, Err("head"));
    }
}

#[test]
fn a_body_that_could_be_read_in_two_ways_is_bad() {
    for body in [
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "0_5\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;\0x\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nnocolon\r\n\r\n",
        "0\r\na b: c\r\n\r\n",
        "0\r\n: c\r\n\r\n",
        "0\r\na : c\r\n\r\n",
        "0\r\na: \0\r\n\r\n",
    ] {
        check(
            &format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}"),
            Err("body"),
        );
    }
    let long = format!("5;{}\r\nhello\r\n", "x".repeat(1000));
    check(
        &format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{long}"),
        Err("body"),
    );
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_how_bytes_arrive(
        stream in "(GET|POST) /[a#]{0,2} HTTP/1.[01]\r\n((Content-Length: [0-9]|Transfer-Encoding: chunked|A: b)\r\n?){0,3}\r\n[0-3;\r\n a]{0,12}",
        cut in 1_usize..40,
    ) {
        let mut whole = Framing::new(4096);
        let one = whole.read(stream.as_bytes());
        let mut parts = Framing::new(4096);
        let mut two = Verdict::Fine;
        for piece in stream.as_bytes().chunks(cut) {
            two = parts.read(piece);
            if two != Verdict::Fine {
                break;
            }
        }
        let kind = |verdict| match verdict {
            Verdict::Fine => 0,
            Verdict::BadHead => 1,
            Verdict::BadBody { .. } => 2,
        };
        prop_assert_eq!(kind(one), kind(two));
        prop_assert_eq!(whole.messages(), parts.messages());
    }
}
