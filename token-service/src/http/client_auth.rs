//! Who calls: clients at the token and revocation endpoints, resource servers at introspection
//! (RFC 6749 section 2.3).
//!
//! Secrets are random and hashed fast; comparing takes the same time whether or not there is
//! such a client.

mod assertion;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, header};
use zeroize::Zeroizing;

use super::{certificate, request};
use crate::audit::audit;
use crate::clients;
use crate::core::Core;
use crate::params::{self, Params};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::{Client, Credential, Registry, ResourceServer, SecretHash};
use assertion::Assertion;

/// User name and password of HTTP Basic.
struct Basic {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
}

/// What a request has to say who sent it. Exactly one way of saying so is allowed.
enum Shown<'a> {
    Basic(Basic),
    Posted(&'a str),
    Asserted(Assertion<'a>),
    Nothing,
}

/// The client that sent the request.
pub(super) async fn client(
    core: &Core,
    registry: &Registry,
    parts: &Parts,
    params: &Params,
) -> Result<Arc<Client>, Refusal> {
    let shown = shown(&parts.headers, params)?;
    let named = params.get("client_id");
    let id = match &shown {
        Shown::Basic(basic) => basic.id.as_str(),
        Shown::Asserted(assertion) => &assertion.client,
        Shown::Posted(_) | Shown::Nothing => named.ok_or_else(|| unknown("no client is named"))?,
    };
    if named.is_some_and(|named| named != id) {
        // RFC 7521 section 4.2: an assertion that is not of the client that is named proves nothing.
        if let Shown::Asserted(_) = shown {
            return Err(unknown("`client_id` is not the client of the assertion"));
        }
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "`client_id` is not the client that authenticates",
        ));
    }
    let network = request::peer_network(parts);
    let client = clients::find_anew(core, registry, (id, network)).await?;
    let credential = client
        .as_ref()
        .and_then(|client| client.credential.as_ref());
    let is_known = is_known_by_certificate(credential, parts, &shown)?;
    if let Shown::Nothing = shown {
        return client
            .filter(|client| is_known || client.is_public())
            .ok_or_else(|| unknown("unknown, disabled, or in need of another credential"));
    }
    prove(core, credential, shown).await?;
    client.ok_or_else(|| unknown("unknown client"))
}

/// The resource server that sent the request. Its credentials are its own: no client's work.
pub(super) async fn resource_server<'r>(
    core: &Core,
    registry: &'r Registry,
    parts: &Parts,
    params: &Params,
) -> Result<&'r ResourceServer, Refusal> {
    let shown = shown(&parts.headers, params)?;
    let id = match &shown {
        Shown::Basic(basic) => basic.id.as_str(),
        Shown::Asserted(assertion) => &assertion.client,
        Shown::Posted(_) => {
            return Err(unknown("a resource server did not authenticate"));
        }
        Shown::Nothing => params
            .get("client_id")
            .ok_or_else(|| unknown("a resource server did not authenticate"))?,
    };
    let server = registry.resource_server(id);
    let credential = server.and_then(|server| server.credential.as_ref());
    if is_known_by_certificate(credential, parts, &shown)? {
        return server.ok_or_else(|| unknown("unknown resource server"));
    }
    prove(core, credential, shown).await?;
    server.ok_or_else(|| unknown("unknown resource server"))
}

/// Whether the certificate of the connection is one that the credential wants (RFC 8705 section 2).
fn is_known_by_certificate(
    credential: Option<&Credential>,
    parts: &Parts,
    shown: &Shown<'_>,
) -> Result<bool, Refusal> {
    let is_known = credential
        .zip(certificate::shown(parts))
        .is_some_and(|(credential, certificate)| credential.is_certificate(certificate));
    match shown {
        // Said to nobody but the client itself: strangers are not told who uses certificates.
        Shown::Basic(_) | Shown::Posted(_) | Shown::Asserted(_) if is_known => {
            Err(Refusal::Denied(
                ErrorCode::InvalidRequest,
                "more than one way of authenticating is used",
            ))
        }
        _ => Ok(is_known),
    }
}

fn shown<'a>(headers: &HeaderMap, params: &'a Params) -> Result<Shown<'a>, Refusal> {
    let basic = basic(headers)?;
    let posted = params.get("client_secret");
    let (kind, assertion) = (
        params.get("client_assertion_type"),
        params.get("client_assertion"),
    );
    let is_asserted = kind.is_some() || assertion.is_some();
    let ways = [basic.is_some(), posted.is_some(), is_asserted];
    if ways.iter().filter(|used| **used).count() > 1 {
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "more than one way of authenticating is used",
        ));
    }
    if is_asserted {
        let read = Assertion::read(kind, assertion);
        return read
            .map(Shown::Asserted)
            .map_err(|unproven| unknown(&unproven.to_string()));
    }
    Ok(match (basic, posted) {
        (Some(basic), _) => Shown::Basic(basic),
        (None, Some(secret)) => Shown::Posted(secret),
        (None, None) => Shown::Nothing,
    })
}

/// Whether what was shown is what the credential wants. None: there is none, or nobody has it.
async fn prove(
    core: &Core,
    credential: Option<&Credential>,
    shown: Shown<'_>,
) -> Result<(), Refusal> {
    let secret = match &shown {
        Shown::Basic(basic) => basic.secret.as_str(),
        Shown::Posted(secret) => secret,
        Shown::Asserted(assertion) => {
            let Some(keys) = credential.and_then(Credential::keys) else {
                assertion.prove_by_nobody();
                return Err(unknown("unknown, disabled, or without keys"));
            };
            let proven = assertion.prove(core, keys).await?;
            return proven.map_err(|unproven| unknown(&unproven.to_string()));
        }
        Shown::Nothing => return Err(unknown("nothing was shown")),
    };
    if matches(credential.and_then(Credential::secret), secret) {
        Ok(())
    } else {
        Err(unknown(
            "unknown, disabled, without a secret, or another secret",
        ))
    }
}

/// The same work whether or not there is a hash.
fn matches(hash: Option<&SecretHash>, secret: &str) -> bool {
    let nothing = SecretHash::of_nothing();
    hash.unwrap_or(&nothing).is_of(secret) & hash.is_some()
}

/// RFC 7617, with both halves form-encoded (RFC 6749 section 2.3.1). None: no such header.
fn basic(headers: &HeaderMap) -> Result<Option<Basic>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "there is more than one Authorization header",
        ));
    }
    let parsed = value.to_str().ok().and_then(|value| {
        let (scheme, encoded) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
        let colon = pair.iter().position(|byte| *byte == b':')?;
        let (id, secret) = pair.split_at_checked(colon)?;
        Some(Basic {
            id: params::decode(id).ok()?,
            secret: params::decode(secret.get(1..)?).ok()?,
        })
    });
    parsed
        .map(Some)
        .ok_or_else(|| unknown("the Authorization header is not HTTP Basic"))
}

fn unknown(reason: &str) -> Refusal {
    audit!("client_refused", reason = reason);
    Refusal::Denied(ErrorCode::InvalidClient, "the caller is not authenticated")
}
