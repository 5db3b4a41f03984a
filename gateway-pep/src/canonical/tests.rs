//! The canonical view of requests, accepted and refused.

use http::Request;
use proptest::prelude::*;

use super::*;
use crate::config::EncodedCharacter;

const LIMITS: Limits = Limits {
    target_bytes: 8192,
    body_bytes: 1000,
    fields: 10,
};

const ARRIVAL: Arrival = Arrival {
    client_ip: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    scheme: UrlScheme::Http,
    hop: UrlScheme::Http,
};

fn canonical(target: &str, fields: &[(&str, &str)]) -> Result<CanonicalRequest, Ambiguity> {
    let mut request = Request::builder().method("GET").uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    CanonicalRequest::new(parts, ARRIVAL, LIMITS)
}

#[track_caller]
fn check_path(target: &str, expected: Result<&str, Ambiguity>) {
    let actual = canonical(target, &[("host", "gw.test")]);
    assert_eq!(
        actual
            .as_ref()
            .map(|request| request.target().as_str())
            .map_err(|error| *error),
        expected,
        "{target}"
    );
}

#[test]
fn a_path_has_one_spelling_or_is_refused() {
    check_path("/", Ok("/"));
    check_path("/a/b/", Ok("/a/b/"));
    check_path("/public/a%20b%2Bc%26d", Ok("/public/a%20b%2Bc%26d"));
    check_path("/%61dmin/%7Ex?q=a%20b&x=/y", Ok("/admin/~x?q=a%20b&x=/y"));
    check_path("/%c3%a9", Ok("/%C3%A9"));
    check_path("/a//b", Err(Ambiguity::EmptySegment));
    check_path("//a", Err(Ambiguity::EmptySegment));
    check_path("/a/../b", Err(Ambiguity::DotSegment));
    check_path("/a/.", Err(Ambiguity::DotSegment));
    check_path("/a/%2e%2E/b", Err(Ambiguity::DotSegment));
    check_path("/a/..;x=1/b", Err(Ambiguity::PathCharacter));
    check_path("/a%00b", Err(Ambiguity::EncodedDelimiter));
    check_path("/a%252e", Err(Ambiguity::EncodedDelimiter));
    check_path("/a%zz", Err(Ambiguity::PercentEncoding));
    check_path("/a%2", Err(Ambiguity::PercentEncoding));
    check_path("/%c0%ae", Err(Ambiguity::PathUtf8));
    check_path("/{a}", Err(Ambiguity::PathCharacter));
    check_path("*", Err(Ambiguity::TargetForm));
    check_path("/a?{x}", Ok("/a?{x}"));
    check_path(
        &format!("/{}", "a".repeat(9000)),
        Err(Ambiguity::TargetTooLong),
    );
}

/// What is left encoded leads nowhere, but where a route takes it.
#[test]
fn what_is_left_encoded_hides_nothing() {
    use EncodedCharacter::{Backslash, Percent, Semicolon, Slash};
    for (path, normal, encoded) in [
        ("/a%2fb", "/a%2Fb", &[Slash][..]),
        ("/a/b%2Fc%2fd/", "/a/b%2Fc%2Fd/", &[Slash]),
        ("/a%5cb", "/a%5Cb", &[Backslash]),
        ("/100%25", "/100%25", &[Percent]),
        ("/100%25/%25", "/100%25/%25", &[Percent]),
        ("/a%3bb=c", "/a%3Bb=c", &[Semicolon]),
        ("/%61%3b%2fx", "/a%3B%2Fx", &[Semicolon, Slash]),
        ("/a%20b", "/a%20b", &[]),
        ("/...%2f..x", "/...%2F..x", &[Slash]),
    ] {
        let request = canonical(path, &[("host", "gw.test")]).unwrap();
        assert_eq!(request.path(), normal);
        let all = encoded.iter();
        let all = all.fold(Encoded::NONE, |all, one| all.with(Encoded::from(*one)));
        assert_eq!(request.encoded(), all, "{path}");
        let plain = path::normalize(path);
        assert_eq!(plain.is_ok(), encoded.is_empty(), "{path}");
    }
    for (path, ambiguity) in [
        ("/a%2f..", Ambiguity::DotSegment),
        ("/a%2f../b", Ambiguity::DotSegment),
        ("/..%2fa", Ambiguity::DotSegment),
        ("/%2e%2e%2fa", Ambiguity::DotSegment),
        ("/a%2f.%2fb", Ambiguity::DotSegment),
        ("/a%5c..%5cb", Ambiguity::DotSegment),
        ("/a%2f..%3bx", Ambiguity::DotSegment),
        ("/..%3bx", Ambiguity::DotSegment),
        ("/a%2f%2fb", Ambiguity::EmptySegment),
        ("/%2fa", Ambiguity::EmptySegment),
        ("/a%2f", Ambiguity::EmptySegment),
        ("/a%2f/b", Ambiguity::EmptySegment),
        ("/%3bx", Ambiguity::EmptySegment),
        ("/%2f%2fevil.test", Ambiguity::EmptySegment),
        ("/a%252fb", Ambiguity::EncodedDelimiter),
        ("/a%25%32%66b", Ambiguity::EncodedDelimiter),
        ("/a%25u002f", Ambiguity::EncodedDelimiter),
        ("/a%2500", Ambiguity::EncodedDelimiter),
        ("/a%0db", Ambiguity::EncodedDelimiter),
        ("/a%2f%00", Ambiguity::EncodedDelimiter),
        ("/a%2f%c0%ae", Ambiguity::PathUtf8),
    ] {
        check_path(path, Err(ambiguity));
    }
}

#[test]
fn there_is_one_host_and_it_has_one_spelling() {
    for (host, expected) in [
        ("GW.Test", Ok(("gw.test", "gw.test"))),
        ("gw.test.", Ok(("gw.test", "gw.test"))),
        ("gw.test:80", Ok(("gw.test", "gw.test"))),
        ("gw.test:8080", Ok(("gw.test", "gw.test:8080"))),
        ("gw.test.:0080", Ok(("gw.test", "gw.test"))),
        ("gw.test:08080", Ok(("gw.test", "gw.test:8080"))),
        ("127.0.0.1:9", Ok(("127.0.0.1", "127.0.0.1:9"))),
        ("[::1]:9", Ok(("[::1]", "[::1]:9"))),
        ("gw.test:80abc", Err(Ambiguity::Host)),
        ("gw.test:", Err(Ambiguity::Host)),
        ("gw.test:0", Err(Ambiguity::Host)),
        ("gw.test, b.test", Err(Ambiguity::Host)),
        ("user@gw.test", Err(Ambiguity::Host)),
        ("", Err(Ambiguity::Host)),
        ("gw..test", Err(Ambiguity::Host)),
        ("127.1", Err(Ambiguity::Host)),
        ("[::1", Err(Ambiguity::Host)),
        ("gw.test/a", Err(Ambiguity::Host)),
    ] {
        let request = canonical("/", &[("host", host)]);
        let actual = request
            .as_ref()
            .map(|request| (request.authority().host(), request.authority().as_str()))
            .map_err(|error| *error);
        assert_eq!(actual, expected, "{host}");
    }
    assert_eq!(canonical("/", &[]).unwrap_err(), Ambiguity::Host);
    let two = [("host", "a"), ("host", "a")];
    assert_eq!(canonical("/", &two).unwrap_err(), Ambiguity::Host);
}

#[test]
fn an_absolute_target_must_agree_with_the_host() {
    assert!(canonical("http://GW.test/x", &[("host", "gw.test:80")]).is_ok());
    assert_eq!(
        canonical("http://admin.test/x", &[("host", "gw.test")]).unwrap_err(),
        Ambiguity::HostMismatch
    );
    assert_eq!(
        canonical("https://gw.test/x", &[("host", "gw.test")]).unwrap_err(),
        Ambiguity::TargetForm
    );
}

#[test]
fn a_body_has_one_length() {
    for (fields, expected) in [
        (&[("content-length", "5")][..], None),
        (&[("transfer-encoding", "Chunked")], None),
        (
            &[("content-length", "5"), ("content-length", "5")],
            Some(Ambiguity::Framing),
        ),
        (
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            Some(Ambiguity::Framing),
        ),
        (
            &[("transfer-encoding", "gzip, chunked")],
            Some(Ambiguity::Framing),
        ),
        (
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            Some(Ambiguity::Framing),
        ),
        (&[("content-length", "+5")], Some(Ambiguity::Framing)),
        (&[("content-length", "1001")], Some(Ambiguity::BodyTooLarge)),
        (
            &[("content-length", "99999999999999999999999")],
            Some(Ambiguity::BodyTooLarge),
        ),
        (&[("expect", "200-ok")], Some(Ambiguity::Expectation)),
        (
            &[
                ("upgrade", "websocket"),
                ("connection", "upgrade"),
                ("content-length", "1"),
            ],
            Some(Ambiguity::UpgradeWithBody),
        ),
    ] {
        let fields: Vec<_> = [("host", "a")]
            .into_iter()
            .chain(fields.iter().copied())
            .collect();
        assert_eq!(canonical("/", &fields).err(), expected, "{fields:?}");
    }
}

#[test]
fn only_a_websocket_upgrade_is_an_upgrade() {
    let upgrade = |fields: &[(&str, &str)]| {
        let fields: Vec<_> = [("host", "a")]
            .into_iter()
            .chain(fields.iter().copied())
            .collect();
        canonical("/", &fields).unwrap().upgrade()
    };
    assert_eq!(
        upgrade(&[
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade")
        ]),
        Upgrade::WebSocket
    );
    assert_eq!(
        upgrade(&[("upgrade", "h2c"), ("connection", "upgrade")]),
        Upgrade::No
    );
    assert_eq!(upgrade(&[("upgrade", "websocket")]), Upgrade::No);
}

proptest! {
    /// An upstream that decodes it, once or as often as it can, and takes `\` for `/`, is where everybody else is.
    #[test]
    fn what_stays_encoded_climbs_nowhere(path in "(/([a-b.]{0,3}|%2[fF]|%5c|%3b|%25|2f|2e|%2e|%252e|u002f){0,5}){1,3}") {
        if let Ok((normal, encoded)) = path::normalize_keeping(&path) {
            let normal = normal.unwrap_or(path);
            prop_assert_eq!(path::normalize_keeping(&normal), Ok((None, encoded)));
            let once = decode_segment(&normal).unwrap().into_owned();
            let twice = decode_segment(&once).unwrap().into_owned();
            prop_assert_eq!(&twice, &once);
            let mut parts = once.strip_prefix('/').unwrap().split(['/', '\\']).peekable();
            while let Some(part) = parts.next() {
                let part = part.split(';').next().unwrap();
                prop_assert!(part != "." && part != "..", "{}", normal);
                prop_assert!(!part.is_empty() || parts.peek().is_none(), "{}", normal);
            }
        }
    }

    #[test]
    fn normalising_is_a_fixed_point(path in "/[a-zA-Z0-9%./;~ -]{0,24}|/(%[0-9a-fA-F]{2}|[a-z/.]){0,12}") {
        if let Ok(normal) = path::normalize(&path) {
            let normal = normal.unwrap_or(path);
            prop_assert_eq!(path::normalize(&normal), Ok(None));
            prop_assert!(!normal.contains("//") && !normal.contains("/../"));
            prop_assert!(decode_segment(&normal).is_some());
        }
    }
}
