//! The host that a request is for: one, lower case, without a trailing dot.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Uri, Version};

use crate::canonical::Ambiguity;

/// Host and port. The port plays no part in routing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// `host` or `host:port`, ready for a header.
    value: HeaderValue,
    host_length: usize,
}

thread_local! {
    /// What the last `Host` said, by which scheme it came, and what was read.
    static LAST: RefCell<Option<(HeaderValue, UrlScheme, Authority)>> = const { RefCell::new(None) };
}

/// What a request is sent by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UrlScheme {
    Http,
    /// TLS ends at this gateway.
    Https,
}

impl UrlScheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn own_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Authority {
    /// Of the `Host` field, with which an absolute-form target must agree. In HTTP/2 it may be left out
    /// where there is an `:authority` (RFC 9113 section 8.3.1). A proxy in front names its own hop, or the client's.
    pub(super) fn of(
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
        (scheme, hop): (UrlScheme, UrlScheme),
    ) -> Result<Self, Ambiguity> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(Self::remembered(host, scheme)?),
            (None, _) if version == Version::HTTP_2 => None,
            _ => return Err(Ambiguity::Host),
        };
        let named = match (uri.scheme_str(), uri.authority()) {
            (None, None) => None,
            (Some(said), Some(named)) if said == scheme.as_str() || said == hop.as_str() => {
                let named = HeaderValue::from_str(named.as_str()).map_err(|_| Ambiguity::Host)?;
                Some(Self::parse(&named, scheme)?)
            }
            _ => return Err(Ambiguity::TargetForm),
        };
        match (host, named) {
            (Some(host), Some(named)) if host != named => Err(Ambiguity::HostMismatch),
            (Some(authority), _) | (None, Some(authority)) => Ok(authority),
            (None, None) => Err(Ambiguity::Host),
        }
    }

    /// As [`Authority::parse`] says. Requests are for few hosts: the last one of each thread is not looked at again.
    fn remembered(value: &HeaderValue, scheme: UrlScheme) -> Result<Self, Ambiguity> {
        LAST.with_borrow_mut(|last| {
            if let Some((said, of, authority)) = last
                && said == value
                && *of == scheme
            {
                return Ok(authority.clone());
            }
            // A copy: what a request has said is a part of all that was read with it.
            let copy = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Ambiguity::Host)?;
            let authority = Self::parse(&copy, scheme)?;
            *last = Some((copy, scheme, authority.clone()));
            Ok(authority)
        })
    }

    /// Lower case, without a trailing dot and without the scheme's own port.
    fn parse(value: &HeaderValue, scheme: UrlScheme) -> Result<Self, Ambiguity> {
        let text = value.to_str().map_err(|_| Ambiguity::Host)?;
        let (host, port) = split(text)?;
        let host = host.strip_suffix('.').unwrap_or(host);
        check_host(host)?;
        let port = port.map(parse_port).transpose()?;
        let port = port.filter(|port| *port != scheme.own_port());
        let unchanged = port.is_some() == (text.len() > host.len())
            && !host.bytes().any(|byte| byte.is_ascii_uppercase())
            && port.is_none_or(|port| text.len() == host.len() + 1 + digits(port));
        let value = if unchanged {
            value.clone()
        } else {
            let host = host.to_ascii_lowercase();
            let text = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
            HeaderValue::try_from(text).map_err(|_| Ambiguity::Host)?
        };
        Ok(Self {
            value,
            host_length: host.len(),
        })
    }

    /// Without the port.
    pub(crate) fn host(&self) -> &str {
        self.as_str().get(..self.host_length).unwrap_or_default()
    }

    /// None where it is the scheme's own, or was not said.
    pub(crate) fn port(&self) -> Option<u16> {
        let port = self.as_str().get(self.host_length..)?.strip_prefix(':')?;
        port.parse().ok()
    }

    /// With the port, where it is not the scheme's own.
    pub(crate) fn as_str(&self) -> &str {
        self.value.to_str().unwrap_or_default()
    }

    pub(crate) fn as_header(&self) -> &HeaderValue {
        &self.value
    }
}

fn split(text: &str) -> Result<(&str, Option<&str>), Ambiguity> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(Ambiguity::Host)?;
        // The brackets belong to the host.
        let host = text.get(..address.len() + 2).ok_or(Ambiguity::Host)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(Ambiguity::Host),
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn check_host(host: &str) -> Result<(), Ambiguity> {
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return address
            .parse::<Ipv6Addr>()
            .map(drop)
            .map_err(|_| Ambiguity::Host);
    }
    let mut label = 0;
    for byte in host.bytes() {
        match byte {
            b'.' if label == 0 => return Err(Ambiguity::Host),
            b'.' => label = 0,
            b'-' | b'_' => label += 1,
            _ if byte.is_ascii_alphanumeric() => label += 1,
            _ => return Err(Ambiguity::Host),
        }
    }
    if label == 0 || host.len() > 253 {
        return Err(Ambiguity::Host);
    }
    // `127.1` and `0x7f.1` are addresses to some readers and names to others.
    let last = host.as_bytes().get(host.len() - label..);
    let first = last.and_then(|last| last.first());
    if first.is_some_and(u8::is_ascii_digit) && host.parse::<Ipv4Addr>().is_err() {
        return Err(Ambiguity::Host);
    }
    Ok(())
}

fn parse_port(text: &str) -> Result<u16, Ambiguity> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Ambiguity::Host);
    }
    text.parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or(Ambiguity::Host)
}

fn digits(port: u16) -> usize {
    match port {
        0..=9 => 1,
        10..=99 => 2,
        100..=999 => 3,
        1_000..=9_999 => 4,
        10_000..=u16::MAX => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_if_none_had_been_before() {
        let hosts = [
            "a.example",
            "A.example",
            "a.example:80",
            "a.example:443",
            "a.example.",
            "127.0.0.1:8080",
            "127.1",
            "[::1]:80",
            "a..b",
            "",
        ];
        let mut taken = 0;
        for before in hosts {
            for (host, scheme) in hosts
                .into_iter()
                .flat_map(|host| [(host, UrlScheme::Http), (host, UrlScheme::Https)])
            {
                let (before, host) = [before, host].map(HeaderValue::from_static).into();
                let _ = Authority::remembered(&before, UrlScheme::Http);
                let read = Authority::remembered(&host, scheme);
                assert_eq!(read, Authority::parse(&host, scheme), "{before:?} {host:?}");
                assert_eq!(read, Authority::remembered(&host, scheme));
                taken += usize::from(read.is_ok());
            }
        }
        assert!(taken >= 10 * 12, "{taken}");
    }
}
