//! For whom a proxy in front speaks: the client's address and scheme, and what it calls the request.
//!
//! SECURITY: of a peer that is no such proxy nothing is read, and what it says is taken away before anything
//! is forwarded.

mod elements;

use std::net::{IpAddr, SocketAddr};

use http::header::HeaderMap;

use crate::canonical::{Ambiguity, Arrival, UrlScheme};
use crate::config::ProxyHeaders;
use crate::headers::{X_FORWARDED_FOR, X_FORWARDED_PROTO, X_REQUEST_ID, once};
use crate::names::RequestId;
use crate::plan::Proxies;

/// What a proxy in front says of a request.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) arrival: Arrival,
    pub(crate) id: Option<RequestId>,
}

/// None: the peer speaks for itself.
pub(crate) fn read(
    proxies: &Proxies,
    peer: Arrival,
    headers: &HeaderMap,
) -> Result<Option<Spoken>, Ambiguity> {
    if !proxies.trust(peer.client_ip) {
        return Ok(None);
    }
    let arrival = match proxies.headers {
        ProxyHeaders::XForwarded => Arrival {
            client_ip: seen_by(proxies, headers)?.unwrap_or(peer.client_ip),
            scheme: scheme(headers)?.unwrap_or(peer.scheme),
            ..peer
        },
        ProxyHeaders::Forwarded => elements::arrival(proxies, peer, headers)?,
    };
    let id = once(headers, &X_REQUEST_ID).and_then(RequestId::given);
    Ok(Some(Spoken { arrival, id }))
}

/// Each proxy adds whom it has seen at the end. The client is the last of these that is no proxy itself; what
/// stands before, the client may have written.
fn seen_by(proxies: &Proxies, headers: &HeaderMap) -> Result<Option<IpAddr>, Ambiguity> {
    let mut client = None;
    for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        let text = value.to_str().map_err(|_| Ambiguity::Forwarded)?;
        for entry in text.rsplit(',') {
            let address = address(entry.trim_matches([' ', '\t'])).ok_or(Ambiguity::Forwarded)?;
            client = Some(address);
            if !proxies.trust(address) {
                return Ok(client);
            }
        }
    }
    Ok(client)
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()));
    address.or_else(bare).map(|it: IpAddr| it.to_canonical())
}

fn scheme(headers: &HeaderMap) -> Result<Option<UrlScheme>, Ambiguity> {
    let mut values = headers.get_all(X_FORWARDED_PROTO).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => scheme_of(only.as_bytes()).map(Some),
        _ => Err(Ambiguity::Forwarded),
    }
}

fn scheme_of(text: &[u8]) -> Result<UrlScheme, Ambiguity> {
    // What WebSockets are called by.
    if text.eq_ignore_ascii_case(b"https") || text.eq_ignore_ascii_case(b"wss") {
        Ok(UrlScheme::Https)
    } else if text.eq_ignore_ascii_case(b"http") || text.eq_ignore_ascii_case(b"ws") {
        Ok(UrlScheme::Http)
    } else {
        Err(Ambiguity::Forwarded)
    }
}

#[cfg(test)]
mod tests;
