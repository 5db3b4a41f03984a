//! The elements of `Forwarded` (RFC 7239 section 4), each of which a proxy has added at the end.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap};

use super::{address, scheme_of};
use crate::canonical::{Ambiguity, Arrival, UrlScheme};
use crate::plan::Proxies;

/// What one proxy has seen.
#[derive(Debug, Default)]
struct Element {
    client: Option<IpAddr>,
    scheme: Option<UrlScheme>,
}

/// The client, and by what it came, as the first of the proxies has it.
pub(super) fn arrival(
    proxies: &Proxies,
    peer: Arrival,
    headers: &HeaderMap,
) -> Result<Arrival, Ambiguity> {
    let mut arrival = peer;
    let mut elements = Vec::new();
    for value in headers.get_all(FORWARDED) {
        read(value.as_bytes(), &mut elements)?;
    }
    for element in elements.iter().rev() {
        // Whom a proxy does not name, nobody is.
        arrival.client_ip = element.client.ok_or(Ambiguity::Forwarded)?;
        arrival.scheme = element.scheme.unwrap_or(peer.scheme);
        if !proxies.trust(arrival.client_ip) {
            break;
        }
    }
    Ok(arrival)
}

/// `forwarded-element *( OWS "," OWS forwarded-element )`, an element being pairs with `;` between them. A list
/// that cannot be read as a whole says nothing: where its last elements begin, nobody would know.
fn read(mut text: &[u8], elements: &mut Vec<Element>) -> Result<(), Ambiguity> {
    loop {
        let mut element = Element::default();
        loop {
            let (name, rest) = token(text).ok_or(Ambiguity::Forwarded)?;
            let rest = rest.strip_prefix(b"=").ok_or(Ambiguity::Forwarded)?;
            let (value, rest) = value(rest).ok_or(Ambiguity::Forwarded)?;
            text = rest;
            if name.eq_ignore_ascii_case(b"for") {
                let client = std::str::from_utf8(&value).ok().and_then(address);
                // `unknown` and made-up names are none.
                if element.client.is_some() {
                    return Err(Ambiguity::Forwarded);
                }
                element.client = client;
            } else if name.eq_ignore_ascii_case(b"proto")
                && element.scheme.replace(scheme_of(&value)?).is_some()
            {
                return Err(Ambiguity::Forwarded);
            }
            match text.strip_prefix(b";") {
                Some(rest) => text = rest,
                None => break,
            }
        }
        elements.push(element);
        text = text.trim_ascii_start();
        match text.split_first() {
            None => return Ok(()),
            Some((b',', rest)) => text = rest.trim_ascii_start(),
            Some(_) => return Err(Ambiguity::Forwarded),
        }
    }
}

/// RFC 9110 section 5.6.2.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = text.iter().position(|byte| !is_token(byte));
    let end = end.unwrap_or(text.len());
    text.split_at_checked(end)
        .filter(|(token, _)| !token.is_empty())
}

/// A token or a quoted string (RFC 9110 section 5.6.4).
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        return token(text).map(|(token, rest)| (token.to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, quoted.get(at + 1..)?)),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
}
