//! What a line says of a request's target, headers and address: as much as the configuration lets it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderValue;

use crate::config::LoggedAddress;
use crate::plan::{LinePlan, Masked};

/// What stands for something that is not said.
const MASK: &str = "***";

/// A path, without the parts that are not said.
pub(super) fn path<'a>(path: &'a str, masked: &[Masked]) -> Cow<'a, str> {
    if masked.is_empty() {
        return Cow::Borrowed(path);
    }
    let mut said = String::with_capacity(path.len());
    for (at, segment) in path.split('/').skip(1).enumerate() {
        said.push('/');
        if masked.contains(&Masked::From(at)) {
            said.push_str(MASK);
            break;
        }
        let is_masked = masked.contains(&Masked::Segment(at));
        said.push_str(if is_masked { MASK } else { segment });
    }
    Cow::Owned(said)
}

/// A query, with the values of the parameters that may be said. None: nothing is said of queries.
pub(super) fn query(query: Option<&str>, plan: &LinePlan) -> Option<String> {
    let (query, shown) = (query?, plan.query.as_ref()?);
    let pairs = query.split('&').map(|pair| {
        let Some((name, value)) = pair.split_once('=') else {
            // Without a name, all of it is a value.
            return Cow::Borrowed(if pair.is_empty() { "" } else { MASK });
        };
        let is_shown = percent_encoding::percent_decode_str(name)
            .decode_utf8()
            .is_ok_and(|name| shown.iter().any(|it| *it == *name));
        if is_shown {
            return Cow::Borrowed(pair);
        }
        // SECURITY: a token without a name may end with `=`, and would be taken for one.
        let is_name = name.len() <= LONGEST_NAME && value.bytes().any(|byte| byte != b'=');
        Cow::Owned(if is_name {
            format!("{name}={MASK}")
        } else {
            MASK.to_owned()
        })
    });
    Some(pairs.collect::<Vec<_>>().join("&"))
}

/// A `Referer` without what may hold a credential: its query, its fragment, its user.
pub(super) fn referer(value: &HeaderValue) -> Cow<'_, [u8]> {
    let value = value.as_bytes();
    let end = value.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let value = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
    let Some(start) = value.windows(3).position(|it| it == b"://") else {
        return Cow::Borrowed(value);
    };
    let (scheme, rest) = value.split_at(start + 3);
    let authority = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
    match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) => Cow::Owned([scheme, rest.get(at + 1..).unwrap_or_default()].concat()),
        None => Cow::Borrowed(value),
    }
}

/// None: nothing is said of addresses.
pub(super) fn address(
    (address, text): (IpAddr, &str),
    kept: LoggedAddress,
) -> Option<Cow<'_, str>> {
    match kept {
        LoggedAddress::Whole => Some(Cow::Borrowed(text)),
        LoggedAddress::Network => Some(Cow::Owned(network(address).to_string())),
        LoggedAddress::Nothing => None,
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

const LONGEST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path_are_not_said() {
        for (of, masked, said) in [
            ("/a/b/c", &[][..], "/a/b/c"),
            (
                "/reset/s3cret/done",
                &[Masked::Segment(1)],
                "/reset/***/done",
            ),
            ("/files/a/b/c", &[Masked::From(1)], "/files/***"),
            ("/", &[Masked::Segment(0)], "/***"),
        ] {
            assert_eq!(path(of, masked), said);
        }
    }

    #[test]
    fn of_a_query_what_is_named_is_said() {
        let plan = LinePlan {
            query: Some(vec!["page".into(), "a b".into()]),
            ..LinePlan::default()
        };
        for (of, said) in [
            ("page=2&token=s3cret", "page=2&token=***"),
            ("pa%67e=2&page=3&=s3cret", "pa%67e=2&page=3&=***"),
            ("s3cret", "***"),
            ("s3cret&a=", "***&***"),
            ("s3cret=&s3cret==", "***&***"),
            ("a%20b=1&a+b=s3cret=page", "a%20b=1&a+b=***"),
            ("", ""),
        ] {
            assert_eq!(query(Some(of), &plan).unwrap(), said);
        }
        let long = format!("{}=1", "s3cret".repeat(20));
        assert_eq!(query(Some(&long), &plan).unwrap(), "***");
        assert_eq!(query(Some("page=2"), &LinePlan::default()), None);
        assert_eq!(query(None, &plan), None);
    }

    #[test]
    fn a_referer_has_no_query_and_no_user() {
        for (of, said) in [
            ("https://a.test/b?code=s3cret", "https://a.test/b"),
            ("https://u:s3cret@a.test/b#s3cret", "https://a.test/b"),
            ("https://u@x:s3cret@a.test", "https://a.test"),
            ("/b@c?s3cret", "/b@c"),
            ("about:blank", "about:blank"),
        ] {
            let value = HeaderValue::from_static(of);
            assert_eq!(&*referer(&value), said.as_bytes());
        }
    }

    #[test]
    fn an_address_is_said_as_far_as_it_may_be() {
        let of = |text: &str, kept| {
            let said = address((text.parse().unwrap(), text), kept);
            said.map(Cow::into_owned)
        };
        assert_eq!(
            of("192.0.2.7", LoggedAddress::Network).unwrap(),
            "192.0.2.0"
        );
        assert_eq!(
            of("2001:db8:1:2::3", LoggedAddress::Network).unwrap(),
            "2001:db8:1::"
        );
        assert_eq!(of("192.0.2.7", LoggedAddress::Whole).unwrap(), "192.0.2.7");
        assert_eq!(of("192.0.2.7", LoggedAddress::Nothing), None);
    }
}
