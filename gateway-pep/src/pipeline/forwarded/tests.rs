//! For whom proxies speak, by what they say.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

use super::*;
use crate::config::GatewayConfig;

fn proxies(headers: ProxyHeaders) -> Proxies {
    let config = GatewayConfig {
        proxies: vec!["10.0.0.0/8".into(), "fd00::/8".into()],
        proxy_headers: headers,
        ..GatewayConfig::default()
    };
    let mut issues = Vec::new();
    let proxies = Proxies::compile(&config, &mut issues);
    assert!(issues.is_empty(), "{issues:?}");
    proxies
}

/// Whose request it is, when a peer says this.
fn whose(
    headers: ProxyHeaders,
    peer: &str,
    fields: &[(&'static str, &str)],
) -> Result<(String, UrlScheme), Ambiguity> {
    let mut said = HeaderMap::new();
    for (name, value) in fields {
        said.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    let peer = Arrival::direct(peer.parse::<IpAddr>().unwrap(), UrlScheme::Http);
    let spoken = read(&proxies(headers), peer, &said)?;
    let arrival = spoken.map_or(peer, |spoken| spoken.arrival);
    assert_eq!(arrival.hop, UrlScheme::Http);
    Ok((arrival.client_ip.to_string(), arrival.scheme))
}

/// Address and scheme; None: nobody can tell.
type Meant = Option<(&'static str, UrlScheme)>;

fn meant(expected: Meant) -> Result<(String, UrlScheme), Ambiguity> {
    let (client, scheme) = expected.ok_or(Ambiguity::Forwarded)?;
    Ok((client.to_owned(), scheme))
}

const XFF: &str = "x-forwarded-for";

/// Peer, what it says, and whose the request is.
#[expect(clippy::type_complexity, reason = "a table")]
const SAID_BY_PEERS: &[(&str, &[(&str, &str)], Meant)] = &[
    // Whoever is no proxy says nothing.
    (
        "192.0.2.1",
        &[(XFF, "198.51.100.7"), ("x-forwarded-proto", "https")],
        Some(("192.0.2.1", UrlScheme::Http)),
    ),
    (
        "192.0.2.1",
        &[(XFF, "nonsense")],
        Some(("192.0.2.1", UrlScheme::Http)),
    ),
    // A proxy that says nothing speaks for itself.
    ("10.0.0.1", &[], Some(("10.0.0.1", UrlScheme::Http))),
    (
        "10.0.0.1",
        &[(XFF, "198.51.100.7")],
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    (
        "10.0.0.1",
        &[(XFF, "6.6.6.6, 198.51.100.7")],
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    (
        "10.0.0.1",
        &[(XFF, "10.6.6.6 ,198.51.100.7 , 10.0.0.2")],
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    (
        "10.0.0.1",
        &[(XFF, "198.51.100.7"), (XFF, "10.0.0.2")],
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    (
        "10.0.0.1",
        &[(XFF, "10.6.6.6"), (XFF, "198.51.100.7")],
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    // All are proxies: the first of them.
    (
        "10.0.0.1",
        &[(XFF, "10.0.0.3, 10.0.0.2")],
        Some(("10.0.0.3", UrlScheme::Http)),
    ),
    (
        "10.0.0.1",
        &[(XFF, "nonsense, 198.51.100.7")],
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    (
        "10.0.0.1",
        &[(XFF, "198.51.100.7:4711")],
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    (
        "fd00::1",
        &[(XFF, "[2001:db8::7]:4711")],
        Some(("2001:db8::7", UrlScheme::Http)),
    ),
    (
        "fd00::1",
        &[(XFF, "[2001:db8::7]")],
        Some(("2001:db8::7", UrlScheme::Http)),
    ),
    (
        "fd00::1",
        &[(XFF, "2001:db8::7, fd00::2")],
        Some(("2001:db8::7", UrlScheme::Http)),
    ),
    (
        "10.0.0.1",
        &[(XFF, "::ffff:10.0.0.3")],
        Some(("10.0.0.3", UrlScheme::Http)),
    ),
    ("10.0.0.1", &[(XFF, "198.51.100.7, nonsense")], None),
    ("10.0.0.1", &[(XFF, "nonsense, 10.0.0.2")], None),
    ("10.0.0.1", &[(XFF, "198.51.100.7,")], None),
    ("10.0.0.1", &[(XFF, "")], None),
    ("10.0.0.1", &[(XFF, "unknown")], None),
    ("10.0.0.1", &[(XFF, "198.51.100.07")], None),
    ("10.0.0.1", &[(XFF, "198.51.100.7\u{a0}")], None),
    (
        "10.0.0.1",
        &[("x-forwarded-proto", "https")],
        Some(("10.0.0.1", UrlScheme::Https)),
    ),
    (
        "10.0.0.1",
        &[("x-forwarded-proto", "WSS")],
        Some(("10.0.0.1", UrlScheme::Https)),
    ),
    ("10.0.0.1", &[("x-forwarded-proto", "https, http")], None),
    (
        "10.0.0.1",
        &[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-proto", "https"),
        ],
        None,
    ),
    ("10.0.0.1", &[("x-forwarded-proto", "ftp")], None),
    // Another language than the one that was agreed on.
    (
        "10.0.0.1",
        &[("forwarded", "for=198.51.100.7;proto=https")],
        Some(("10.0.0.1", UrlScheme::Http)),
    ),
];

const ELEMENTS: &[(&str, Meant)] = &[
    ("for=198.51.100.7", Some(("198.51.100.7", UrlScheme::Http))),
    (
        "For=198.51.100.7;Proto=HTTPS;by=10.0.0.9;host=a.test",
        Some(("198.51.100.7", UrlScheme::Https)),
    ),
    (
        "for=\"198.51.100.7:4711\"",
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    (
        "for=\"[2001:db8::7]:4711\";proto=https",
        Some(("2001:db8::7", UrlScheme::Https)),
    ),
    (
        "for=6.6.6.6;proto=https, for=198.51.100.7",
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    (
        "for=198.51.100.7;proto=https,for=10.0.0.2;proto=http",
        Some(("198.51.100.7", UrlScheme::Https)),
    ),
    (
        "for=_hidden, for=198.51.100.7",
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    (
        "for=10.0.0.3;proto=https ,\tfor=10.0.0.2",
        Some(("10.0.0.3", UrlScheme::Https)),
    ),
    (
        "for=\"198.51.100\\.7\"",
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    // What a client has written in quotes is no element.
    (
        "for=\"10.6.6.6, for=6.6.6.6\", for=198.51.100.7",
        Some(("198.51.100.7", UrlScheme::Http)),
    ),
    ("for=_hidden", None),
    ("for=unknown", None),
    ("proto=https", None),
    ("for=198.51.100.7;for=6.6.6.6", None),
    ("for=198.51.100.7;proto=http;proto=https", None),
    ("for=198.51.100.7;proto=ftp", None),
    ("for=198.51.100.7,", None),
    (",for=198.51.100.7", None),
    ("for=198.51.100.7;", None),
    ("for = 198.51.100.7", None),
    ("for=\"198.51.100.7", None),
    ("for=\"198.51.100.7\"x", None),
    ("for=[2001:db8::7]", None),
    ("for", None),
    ("", None),
];

#[test]
fn the_client_is_the_last_that_is_no_proxy() {
    for (peer, fields, expected) in SAID_BY_PEERS {
        let actual = whose(ProxyHeaders::XForwarded, peer, fields);
        assert_eq!(actual, meant(*expected), "{peer} {fields:?}");
    }
}

#[test]
fn the_elements_of_forwarded_are_read_whole() {
    for (value, expected) in ELEMENTS {
        let actual = whose(ProxyHeaders::Forwarded, "10.0.0.1", &[("forwarded", value)]);
        assert_eq!(actual, meant(*expected), "{value}");
        let actual = whose(
            ProxyHeaders::Forwarded,
            "192.0.2.1",
            &[("forwarded", value)],
        );
        assert_eq!(
            actual,
            meant(Some(("192.0.2.1", UrlScheme::Http))),
            "of a stranger: {value}"
        );
    }
    let two = [
        ("forwarded", "for=198.51.100.7;proto=https"),
        ("forwarded", "for=10.0.0.2"),
    ];
    let actual = whose(ProxyHeaders::Forwarded, "10.0.0.1", &two);
    assert_eq!(actual, meant(Some(("198.51.100.7", UrlScheme::Https))));
    let other = [("x-forwarded-for", "198.51.100.7")];
    let actual = whose(ProxyHeaders::Forwarded, "10.0.0.1", &other);
    assert_eq!(actual, meant(Some(("10.0.0.1", UrlScheme::Http))));
}

#[test]
fn networks_are_of_some_and_not_of_everybody() {
    for (written, is_good) in [
        ("10.0.0.0/8", true),
        ("::1/128", true),
        ("0.0.0.0/0", false),
        ("::/0", false),
        ("10.0.0.0", false),
        ("proxy.test", false),
        ("::ffff:10.0.0.0/104", false),
    ] {
        let config = GatewayConfig {
            proxies: vec![written.into()],
            ..GatewayConfig::default()
        };
        let mut issues = Vec::new();
        Proxies::compile(&config, &mut issues);
        assert_eq!(issues.is_empty(), is_good, "{written} {issues:?}");
    }
}
