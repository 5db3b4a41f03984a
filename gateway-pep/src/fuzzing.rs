//! What of the gateway reads strangers' bytes, laid open to fuzzers. Only compiled for them (`--cfg fuzzing`):
//! the product has no such door.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use authzen::{Filter, Kind};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oauth::ResourceId;
use service_kit::{Secret, UnixTime};
use strict_json::Pointer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::RequestBody;
use crate::canonical::{Arrival, CanonicalRequest, Limits, UrlScheme};
use crate::config::{Config, GatewayConfig, IssuerConfig, JwtIssuerConfig};
use crate::guard::Guarded;
use crate::identity::answer::Answer;
use crate::obligation::filter::{self, Fate};
use crate::obligation::mask::Mask;
use crate::pipeline::authenticate::credential::{Credential, has_token_in_query};
use crate::pipeline::presented::Scheme;
use crate::plan::Plan;
use crate::worker::connection::Connection;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const LIMITS: Limits = Limits {
    target_bytes: 8 << 10,
    body_bytes: 1 << 20,
    fields: 100,
};

const ARRIVAL: Arrival = Arrival {
    client_ip: CLIENT,
    scheme: UrlScheme::Http,
    hop: UrlScheme::Http,
};

const PATIENCE: Duration = Duration::from_mins(1);

const HEAD_BYTES: usize = 32 << 10;

/// A message that the gateway took for one, canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which one of its connection, from 0.
    pub number: usize,
    pub method: String,
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// None: it broke off, or was refused.
    pub body: Option<Vec<u8>>,
}

/// What a connection on which these pieces arrive says, one piece a read.
pub async fn messages(pieces: Vec<Vec<u8>>) -> Vec<Message> {
    let (guarded, findings) = Guarded::new(Wire(pieces.into()), HEAD_BYTES, PATIENCE);
    let connection = Rc::new(Connection::new(CLIENT, findings));
    let seen = Arc::<Mutex<(usize, Vec<Message>)>>::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (connection, seen) = (connection.clone(), seen.clone());
        async move {
            let number = {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.0 += 1;
                seen.0 - 1
            };
            let (parts, body) = request.into_parts();
            let version = parts.version;
            let canonical = CanonicalRequest::new(parts, ARRIVAL, LIMITS);
            if let (true, Ok(canonical)) = (connection.accepts_next(), canonical) {
                let (mut body, _) = RequestBody::new(body, version, LIMITS.body_bytes, PATIENCE);
                // As it is taken on its way to an upstream.
                let body = match body.gather(false).await {
                    Ok(()) => BodyExt::collect(body).await.ok(),
                    Err(_) => None,
                };
                let message = Message {
                    number,
                    method: canonical.method().to_string(),
                    authority: canonical.authority().as_str().to_owned(),
                    target: canonical.target().to_string(),
                    body: body.map(|body| body.to_bytes().to_vec()),
                };
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.1.push(message);
            }
            Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
        }
    });
    let served = http1::Builder::new()
        .max_buf_size(64 << 10)
        .max_header_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(guarded), service);
    // How it ends is in what was seen.
    let _ = served.await;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut seen.1)
}

/// Pieces that arrive, and a peer that takes whatever is said.
struct Wire(std::collections::VecDeque<Vec<u8>>);

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pieces = &mut self.get_mut().0;
        if let Some(mut piece) = pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Host with port, and path with query, of a request in its canonical form; or why it has none.
pub fn canonical(parts: Parts) -> Result<(String, String), String> {
    let canonical =
        CanonicalRequest::new(parts, ARRIVAL, LIMITS).map_err(|ambiguity| ambiguity.to_string())?;
    Ok((
        canonical.authority().as_str().to_owned(),
        canonical.target().to_string(),
    ))
}

/// Whether it is shown by the scheme `DPoP`, and the one token of a request; or why there is none.
pub fn credential(
    headers: &HeaderMap,
    takes_proofs: bool,
) -> Result<(bool, Vec<u8>), &'static str> {
    let credential =
        Credential::of(headers, takes_proofs, None).map_err(|refusal| refusal.reason())?;
    Ok((
        credential.scheme == Scheme::Dpop,
        credential.token.to_owned(),
    ))
}

/// Whether a query has a second one.
pub fn has_credential(query: &str) -> bool {
    has_token_in_query(Some(query))
}

/// The document with these fields masked. `Err`: a pointer, or the document, is none.
pub fn mask(pointers: &[&str], document: &[u8]) -> Result<Vec<u8>, String> {
    let mut mask = Mask::default();
    for pointer in pointers {
        let pointer = Pointer::parse(pointer).map_err(|error| error.to_string())?;
        mask.add(&pointer);
    }
    mask.apply(document).map_err(|error| error.to_string())
}

/// The document without those elements of an array, each known by a text in it, that are not to be kept. None:
/// there is nothing to filter. `Err`: it cannot be.
pub fn filter(
    (array, id): (&str, &str),
    document: &[u8],
    keeps: impl Fn(&str) -> bool,
) -> Option<Result<Vec<u8>, String>> {
    let filter = Filter {
        array: if array.is_empty() {
            Pointer::default()
        } else {
            Pointer::parse(array).ok()?
        },
        kind: Kind::Constant("Record".to_owned()),
        id: Pointer::parse(id).ok()?,
        action: None,
    };
    let elements = match filter::elements(&filter, document, 100) {
        Ok(elements) => elements?,
        Err(error) => return Some(Err(error.to_string())),
    };
    let fates: Vec<_> = elements
        .iter()
        .map(|element| match element {
            Some((_, id)) if keeps(id) => Fate::Kept(None),
            Some(_) | None => Fate::Removed,
        })
        .collect();
    let filtered = filter::without(&filter, document, &fates);
    Some(filtered.ok_or_else(|| "another document".to_owned()))
}

/// An issuer of JWTs, as a configuration makes it.
#[derive(Debug)]
pub struct JwtIssuer {
    plan: Plan,
}

impl JwtIssuer {
    pub fn new(config: JwtIssuerConfig) -> Result<Self, String> {
        let issuer = IssuerConfig::Jwt(Box::new(config));
        let config = Config {
            gateway: GatewayConfig {
                issuers: BTreeMap::from([("corp".to_owned(), issuer)]),
                default_issuers: vec!["corp".to_owned()],
                ..GatewayConfig::default()
            },
            ..Config::default()
        };
        let plan = Plan::compile(&config, Path::new("."), None);
        plan.map(|plan| Self { plan })
            .map_err(|issues| format!("{issues:?}"))
    }

    /// Who calls with this token, by the name of the subject; none where the issuer vouches for nobody.
    pub async fn subject(&self, token: &str, resource: &str, now: u64) -> Option<String> {
        let issuer = self.plan.issuers.get(1)?;
        let (token, resource) = (Secret::new(token), ResourceId::new(resource));
        let answer = issuer.ask(&token, &resource, UnixTime::from_secs(now));
        match answer.await.ok()? {
            Answer::Vouched(vouched) => Some(vouched.facts.sub),
            Answer::Swapped(_) | Answer::Inactive => None,
        }
    }
}
