//! Which request a call asks about, and whose it is.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};

use super::messages::{AttributeContext, CheckRequest, HttpRequest};
use super::wire::{Code, Fault};
use crate::canonical::{Ambiguity, Arrival, CanonicalRequest, Limits, UrlScheme, written_target};
use crate::pipeline::forward_auth::asked;

/// A question that is one.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) client_ip: IpAddr,
    /// All that the proxy would send on, but what frames the message.
    pub(super) sent: HeaderMap,
    /// What can be decided on.
    pub(super) request: Result<CanonicalRequest, Ambiguity>,
}

/// How much of a request there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) headers: usize,
    pub(super) head_bytes: usize,
    pub(super) limits: Limits,
}

impl Question {
    /// What the proxy should never send is a fault of the call; what a client can bring about is an ambiguity
    /// of its request.
    pub(super) fn read(message: CheckRequest, bounds: Bounds) -> Result<Self, Fault> {
        let attributes = message.attributes.unwrap_or_default();
        let client_ip = client_ip(&attributes).ok_or(malformed("the client has no address"))?;
        let http = attributes.request.and_then(|request| request.http);
        let http = http.ok_or(malformed("there is no HTTP request"))?;
        let scheme = match &*http.scheme {
            "http" => UrlScheme::Http,
            "https" => UrlScheme::Https,
            _ => return Err(malformed("the scheme is neither `http` nor `https`")),
        };
        let arrival = Arrival::direct(client_ip, scheme);
        if !http.query.is_empty() || !http.fragment.is_empty() {
            return Err(malformed("query and fragment belong to the path"));
        }
        let mut headers = Headers::default();
        let read = headers.read(&http, bounds)?;
        let request = read.and_then(|()| canonical(&http, &headers.fields, arrival, bounds));
        Ok(Self {
            client_ip,
            sent: headers.fields,
            request,
        })
    }
}

/// As the proxy sees it: the peer of its connection, or whom it trusts to speak for others.
fn client_ip(attributes: &AttributeContext) -> Option<IpAddr> {
    let address = attributes.source.as_ref()?.address.as_ref()?;
    let text = &address.socket_address.as_ref()?.address;
    text.parse::<IpAddr>().ok().map(|it| it.to_canonical())
}

fn canonical(
    http: &HttpRequest,
    fields: &HeaderMap,
    arrival: Arrival,
    bounds: Bounds,
) -> Result<CanonicalRequest, Ambiguity> {
    let target = written_target(http.path.as_bytes())?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(http.method.as_bytes()).map_err(|_| Ambiguity::Asked)?;
    parts.headers = fields.clone();
    let host = HeaderValue::from_str(&http.host).map_err(|_| Ambiguity::Host)?;
    parts.headers.insert(header::HOST, host);
    asked::canonical(parts, &target, arrival, bounds.limits)
}

#[derive(Debug, Default)]
struct Headers {
    fields: HeaderMap,
}

impl Headers {
    /// From whichever of the two forms the proxy uses.
    fn read(&mut self, http: &HttpRequest, bounds: Bounds) -> Result<Result<(), Ambiguity>, Fault> {
        let raw = http.header_map.as_ref().map(|map| &*map.headers);
        let raw = raw.unwrap_or_default();
        if !raw.is_empty() && !http.headers.is_empty() {
            return Err(malformed("the headers come in two forms"));
        }
        if raw
            .iter()
            .any(|it| !it.value.is_empty() && !it.raw_value.is_empty())
        {
            return Err(malformed("a header has two values"));
        }
        let entries = http.headers.iter();
        let entries = entries.map(|entry| (&*entry.key, entry.value.as_bytes()));
        let raw = raw.iter().map(|header| {
            let is_text = header.raw_value.is_empty();
            let value = if is_text {
                header.value.as_bytes()
            } else {
                &header.raw_value
            };
            (&*header.key, value)
        });
        let mut left = bounds.head_bytes;
        for (count, (name, value)) in entries.chain(raw).enumerate() {
            left = left
                .checked_sub(name.len() + value.len())
                .filter(|_| count < bounds.headers + PSEUDO.len())
                .ok_or(Fault::new(
                    Code::ResourceExhausted,
                    "the request has too many headers",
                ))?;
            if let Err(ambiguity) = self.take(http, name, value) {
                return Ok(Err(ambiguity));
            }
        }
        Ok(Ok(()))
    }

    fn take(&mut self, http: &HttpRequest, name: &str, value: &[u8]) -> Result<(), Ambiguity> {
        if name.starts_with(':') {
            // Said twice, it must be the same. `:protocol` would make something else of the connection.
            let said = match name {
                ":method" => &http.method,
                ":path" => &http.path,
                ":authority" => &http.host,
                ":scheme" => &http.scheme,
                _ => return Err(Ambiguity::Upgrade),
            };
            return if said.as_bytes() == value {
                Ok(())
            } else {
                Err(Ambiguity::Asked)
            };
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Ambiguity::Wire)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Ambiguity::Wire)?;
        if name == header::HOST {
            // It would have to be the authority, and has no place beside it.
            return Err(Ambiguity::Host);
        }
        self.fields.append(name, value);
        Ok(())
    }
}

fn malformed(message: &'static str) -> Fault {
    Fault::new(Code::InvalidArgument, message)
}

const PSEUDO: [&str; 4] = [":method", ":path", ":authority", ":scheme"];
