//! Who calls: clients at the token and revocation endpoints, resource servers at introspection
//! (RFC 6749 section 2.3).
//!
//! Secrets are random and hashed fast; comparing takes the same time whether or not there is
//! such a client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use zeroize::Zeroizing;

use crate::audit::audit;
use crate::params::{self, Params};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::{Client, Registry, ResourceServer, SecretHash};

/// User name and password of HTTP Basic.
struct Basic {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
}

/// The client that sent the request. Exactly one way of saying so is allowed.
pub(super) fn client<'a>(
    registry: &'a Registry,
    headers: &HeaderMap,
    params: &Params,
) -> Result<&'a Client, Refusal> {
    let basic = basic(headers)?;
    let posted = params.get("client_secret");
    let asserted = params
        .get("client_assertion")
        .or(params.get("client_assertion_type"));
    let ways = [basic.is_some(), posted.is_some(), asserted.is_some()];
    if ways.iter().filter(|used| **used).count() > 1 {
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "more than one way of authenticating the client is used",
        ));
    }
    let named = params.get("client_id");
    if asserted.is_some() {
        return Err(unknown("client assertions are not supported"));
    }
    if let Some(basic) = basic {
        if named.is_some_and(|id| id != basic.id.as_str()) {
            return Err(Refusal::Denied(
                ErrorCode::InvalidRequest,
                "`client_id` is not the client that authenticates",
            ));
        }
        return proven(registry, &basic.id, &basic.secret);
    }
    let id = named.ok_or_else(|| unknown("no client is named"))?;
    match posted {
        Some(secret) => proven(registry, id, secret),
        None => registry
            .client(id)
            .filter(|client| client.is_public())
            .ok_or_else(|| unknown("unknown, disabled, or in need of a secret")),
    }
}

/// The resource server that sent the request. Its credentials are its own: no client's work.
pub(super) fn resource_server<'a>(
    registry: &'a Registry,
    headers: &HeaderMap,
    params: &Params,
) -> Result<&'a ResourceServer, Refusal> {
    let Some(basic) = basic(headers)? else {
        return Err(unknown("a resource server did not authenticate"));
    };
    if params.get("client_secret").is_some() || params.get("client_assertion").is_some() {
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "more than one way of authenticating is used",
        ));
    }
    let server = registry.resource_server(&basic.id);
    let hash = server.and_then(|server| server.secret.as_ref());
    if matches(hash, &basic.secret) {
        server.ok_or_else(|| unknown("unknown resource server"))
    } else {
        Err(unknown("unknown resource server, or wrong secret"))
    }
}

fn proven<'a>(registry: &'a Registry, id: &str, secret: &str) -> Result<&'a Client, Refusal> {
    let client = registry.client(id);
    let hash = client.and_then(|client| client.secret.as_ref());
    if matches(hash, secret) {
        client.ok_or_else(|| unknown("unknown client"))
    } else {
        Err(unknown("unknown, disabled, public, or wrong secret"))
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
