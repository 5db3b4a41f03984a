//! DPoP proofs at our own endpoints (RFC 9449): each good once, for one request, and, where nonces are
//! wanted, made after we have said the nonce.

use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use oauth::{DPOP_NONCE, DpopFault, DpopProof, DpopRequest};
use service_kit::UnixTime;

use super::certificate;
use super::limits::{self, Limited};
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, ProofUse};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::Client;

/// A key that whoever sent the request has shown to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) thumbprint: String,
}

/// Why a proof is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unproven {
    #[error(transparent)]
    Fault(#[from] DpopFault),
    #[error("the proof has been used before")]
    Used,
    #[error("the proof has no nonce of ours, or an old one")]
    Nonce,
}

/// The key that was shown at an endpoint where tokens are asked for; none where there is no proof.
pub(super) async fn shown(
    core: &Core,
    parts: &Parts,
    client: &Client,
    endpoint: &str,
) -> Result<Option<Shown>, Refusal> {
    if parts.headers.contains_key(oauth::DPOP) {
        limits::check(core, parts, Limited::Proof, client).await?;
    }
    let url = certificate::url(core, parts, endpoint);
    let request = DpopRequest {
        method: &Method::POST,
        url: &url,
        access_token: None,
    };
    match prove(core, &parts.headers, &request).await? {
        Ok(shown) => Ok(shown),
        Err(unproven) => {
            audit!("dpop_refused", endpoint = endpoint, reason = unproven);
            Err(unproven.into())
        }
    }
}

/// The key that a proof of this request shows.
pub(super) async fn prove(
    core: &Core,
    headers: &HeaderMap,
    request: &DpopRequest<'_>,
) -> Result<Result<Option<Shown>, Unproven>, Trouble> {
    let now = core.now();
    let proof = match checked(core, headers, request, now) {
        Ok(Some(proof)) => proof,
        Ok(None) => return Ok(Ok(None)),
        Err(unproven) => return Ok(Err(unproven)),
    };
    // Last, so that only what holds is remembered; and durable before it counts.
    let id = ProofUse::id(proof.thumbprint(), proof.id());
    let used = ProofUse {
        exp: UnixTime::from_secs(proof.end()),
    };
    if !record::keep_new(&*core.store, &id, &used, used.exp, now).await? {
        return Ok(Err(Unproven::Used));
    }
    let thumbprint = proof.thumbprint().to_owned();
    Ok(Ok(Some(Shown { thumbprint })))
}

fn checked(
    core: &Core,
    headers: &HeaderMap,
    request: &DpopRequest<'_>,
    now: UnixTime,
) -> Result<Option<DpopProof>, Unproven> {
    let Some(proof) = DpopProof::of(headers)? else {
        return Ok(None);
    };
    proof.check(request, now.as_secs())?;
    let is_fresh = match proof.nonce() {
        Some(nonce) => core.secrets.nonces.is_good(nonce, now.as_secs()),
        None => !core.wants_nonce,
    };
    if is_fresh {
        Ok(Some(proof))
    } else {
        Err(Unproven::Nonce)
    }
}

impl From<Unproven> for Refusal {
    fn from(unproven: Unproven) -> Self {
        match unproven {
            Unproven::Nonce => Self::Denied(
                ErrorCode::UseDpopNonce,
                "the proof must repeat the nonce of this answer",
            ),
            Unproven::Fault(_) | Unproven::Used => Self::Denied(
                ErrorCode::InvalidDpopProof,
                "the DPoP proof is not good for this request",
            ),
        }
    }
}

/// Says what the next proof is to repeat.
pub(super) fn add_nonce(core: &Core, response: &mut Response) {
    let nonce = core.secrets.nonces.current(core.now().as_secs());
    if let Ok(value) = HeaderValue::try_from(nonce) {
        response.headers_mut().insert(DPOP_NONCE, value);
    }
}
