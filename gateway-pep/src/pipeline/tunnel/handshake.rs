//! How a WebSocket is asked for and agreed on: with a key and by `101` where HTTP/1.1 is spoken (RFC 6455 section 4), by an
//! extended CONNECT and `200` where HTTP/2 is (RFC 8441 section 5). The two sides of the gateway need not speak the same.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use service_kit::random;

use crate::body::RequestBody;
use crate::canonical::{Ambiguity, CanonicalRequest, Upgrade};
use crate::headers;
use crate::pipeline::refusal::Refusal;
use crate::worker::Open;
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// What is to be said on both sides of a request that wishes for a WebSocket.
#[derive(Debug)]
pub(in crate::pipeline) struct Handshake {
    client: Client,
    upstream: Upstream,
    /// Its place among the connections, where that is another one than its client's own.
    pub(super) opened: Option<Open>,
}

/// What a client hears that has its wish.
#[derive(Debug)]
enum Client {
    /// By HTTP/1.1, what the upstream says.
    Passed,
    /// By HTTP/1.1, the answer to its key: its upstream has had none.
    Answered(HeaderValue),
    Http2,
}

/// How an upstream is asked.
#[derive(Debug)]
enum Upstream {
    /// By HTTP/1.1, with the client's key.
    Passed,
    /// By HTTP/1.1, with a key of our own, to which there is one answer.
    Asked {
        key: HeaderValue,
        answer: HeaderValue,
    },
    Http2,
}

/// What is hashed behind a key (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;

impl Handshake {
    /// None: there is no such wish.
    pub(in crate::pipeline) fn of(
        worker: &Worker,
        connection: &Connection,
        request: &CanonicalRequest,
        upstream_speaks_http2: bool,
    ) -> Result<Option<Box<Self>>, Refusal> {
        if request.upgrade() != Upgrade::WebSocket {
            return Ok(None);
        }
        let (client, upstream) = match (connection.is_http2(), upstream_speaks_http2) {
            (false, false) => (Client::Passed, Upstream::Passed),
            (false, true) => {
                let key = key_of(request.headers());
                let key = key.ok_or(Refusal::Ambiguous(Ambiguity::WebSocketKey))?;
                (Client::Answered(answer_to(key)), Upstream::Http2)
            }
            (true, false) => {
                let key = random::bytes::<KEY_BYTES>();
                let key = STANDARD.encode(key.map_err(|_| Refusal::UpstreamFailed)?);
                let answer = answer_to(&key);
                let key = HeaderValue::try_from(key).map_err(|_| Refusal::UpstreamFailed)?;
                (Client::Http2, Upstream::Asked { key, answer })
            }
            (true, true) => (Client::Http2, Upstream::Http2),
        };
        let mut opened = None;
        if connection.is_http2() {
            let peer = connection.client_ip();
            let is_counted = !worker.core.plan.proxies.trust(peer);
            let place = worker.admit(peer, is_counted);
            opened = Some(place.ok_or(Refusal::TooManyConnections)?);
        }
        Ok(Some(Box::new(Self {
            client,
            upstream,
            opened,
        })))
    }

    /// Has an upstream's request, made for the `GET` that was permitted, ask for a WebSocket.
    pub(in crate::pipeline) fn ask(&self, request: &mut Request<RequestBody>) {
        // What is to become something else has no end that something could come after.
        request.headers_mut().remove(header::TE);
        match &self.upstream {
            Upstream::Passed => set_upgrade(request.headers_mut()),
            Upstream::Asked { key, .. } => {
                set_upgrade(request.headers_mut());
                let key = key.clone();
                request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key);
            }
            Upstream::Http2 => {
                // Of a body nothing is said: what goes on the stream is none.
                for name in [
                    header::SEC_WEBSOCKET_KEY,
                    header::CONTENT_LENGTH,
                    header::TRAILER,
                ] {
                    request.headers_mut().remove(name);
                }
                *request.method_mut() = Method::CONNECT;
                let protocol = Protocol::from_static("websocket");
                request.extensions_mut().insert(protocol);
            }
        }
    }

    /// Whether the upstream agrees.
    pub(in crate::pipeline) fn is_agreed(&self, response: &Response<Incoming>) -> bool {
        let headers = response.headers();
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS
            && response.version() == Version::HTTP_11
            && headers::has_token(headers, &header::UPGRADE, "websocket")
            && headers::has_token(headers, &header::CONNECTION, "upgrade");
        match &self.upstream {
            Upstream::Passed => switches,
            Upstream::Asked { answer, .. } => {
                let mut answers = headers.get_all(header::SEC_WEBSOCKET_ACCEPT).iter();
                switches && answers.next() == Some(answer) && answers.next().is_none()
            }
            Upstream::Http2 => response.status() == StatusCode::OK,
        }
    }

    /// Whether the client could take an answer that does not agree for one that does.
    ///
    /// SECURITY: then it would speak on to nobody, and an answer's body would be read as what a WebSocket says.
    pub(in crate::pipeline) fn would_agree(&self, status: StatusCode) -> bool {
        matches!(self.client, Client::Http2) && status.is_success()
    }

    /// Says to the client that it has its wish, in an answer without fields of one hop.
    pub(super) fn agree(&self, response: &mut Response<super::ResponseBody>) {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        // RFC 9110 section 8.6, RFC 9113 section 8.5.
        response.headers_mut().remove(header::CONTENT_LENGTH);
        match &self.client {
            Client::Passed => set_upgrade(response.headers_mut()),
            Client::Answered(answer) => {
                set_upgrade(response.headers_mut());
                let answer = answer.clone();
                response
                    .headers_mut()
                    .insert(header::SEC_WEBSOCKET_ACCEPT, answer);
            }
            Client::Http2 => {
                response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
                *response.status_mut() = StatusCode::OK;
            }
        }
    }
}

/// `Connection: upgrade` for the one protocol that we know.
fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// A client's key, if it is one (RFC 6455 section 4.1): what an upstream of HTTP/1.1 would look at itself.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys.next()?.to_str().ok()?;
    let is_key = STANDARD.decode(key).is_ok_and(|it| it.len() == KEY_BYTES);
    (is_key && keys.next().is_none()).then_some(key)
}

/// What whoever speaks WebSocket answers to a key (RFC 6455 section 4.2.2).
fn answer_to(key: &str) -> HeaderValue {
    // SHA-1 is what the protocol has, to tell who knows it; nothing is kept safe by it.
    let mut hashed = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hashed.update(key.as_bytes());
    hashed.update(GUID.as_bytes());
    let answer = STANDARD.encode(hashed.finish());
    // Base64 is always one.
    HeaderValue::try_from(answer).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(keys: &[&str]) -> HeaderMap {
        let key = |key: &&str| {
            (
                header::SEC_WEBSOCKET_KEY,
                HeaderValue::try_from(*key).unwrap(),
            )
        };
        keys.iter().map(key).collect()
    }

    #[test]
    fn the_answer_is_that_of_the_specification() {
        let answer = answer_to("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes_and_said_once() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(key_of(&headers(&[key])), Some(key));
        for keys in [
            &[][..],
            &[key, key],
            &[""],
            &["dGhlIHNhbXBsZSBub25jZQ"],
            &["c2hvcnQ="],
            &["dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ=="],
            &["not base64 at all, sorry"],
        ] {
            assert_eq!(key_of(&headers(keys)), None, "{keys:?}");
        }
    }
}
