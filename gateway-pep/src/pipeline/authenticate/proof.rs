//! What a bound token needs beside it: a DPoP proof (RFC 9449 section 4.3) of this request and of this
//! token, made now, by the key that the token is bound to, and not used before at any gateway; or the
//! certificate of the connection (RFC 8705 section 3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use oauth::{Confirmation, DpopFault, DpopProof, DpopRequest};
use service_kit::{ClientCertificate, UnixTime};

use crate::canonical::CanonicalRequest;
use crate::names::RequestId;
use crate::pipeline::presented::Unproven;
use crate::pipeline::refusal::Refusal;
use crate::plan::{Binding, Dpop};
use crate::proofs::Proofs;

/// What the route and the gateway want of whoever presents a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) proofs: &'a Proofs,
    pub(super) binding: Binding,
    pub(super) now: UnixTime,
    pub(super) request_id: &'a RequestId,
}

/// A proof in order. Whose key made it is to be held against the token, and whether it was used
/// before is not known yet.
pub(super) fn of_request(
    dpop: &Dpop,
    request: &CanonicalRequest,
    token: &[u8],
    now: UnixTime,
) -> Result<DpopProof, Unproven> {
    let proof = read(request.headers())?;
    let url = dpop.url(request).ok_or(DpopFault::Url)?;
    let asked = DpopRequest {
        method: request.method(),
        url: &url,
        access_token: Some(std::str::from_utf8(token).map_err(|_| DpopFault::Token)?),
    };
    proof.check(&asked, now.as_secs())?;
    // Before the proof is used up: whoever is told a nonce asks again.
    match (&dpop.nonces, proof.nonce()) {
        (None, _) => Ok(proof),
        (Some(nonces), Some(nonce)) if nonces.is_good(nonce, now.as_secs()) => Ok(proof),
        (Some(_), _) => Err(Unproven::Nonce),
    }
}

fn read(headers: &HeaderMap) -> Result<DpopProof, Unproven> {
    DpopProof::of(headers)?.ok_or(Unproven::Missing)
}

/// Whether whoever presents a live token may use it: by a proof, or by the certificate that was shown.
///
/// SECURITY: of every request anew, wherever the token's facts were remembered. A token that is bound
/// is worth nothing without its key, and one that is not bound is no bound one by whatever proof.
pub(super) async fn confirm(
    confirmation: Option<&Confirmation>,
    (proof, shown): (Option<DpopProof>, Option<&ClientCertificate>),
    wanted: Wanted<'_>,
) -> Result<(), Refusal> {
    match (wanted.binding, confirmation) {
        (Binding::Key, None | Some(Confirmation::Certificate(_))) => {
            return Err(Refusal::UnboundToken);
        }
        (Binding::Certificate, None | Some(Confirmation::DpopKey(_))) => {
            return Err(Refusal::UncertifiedToken);
        }
        _ => {}
    }
    match (confirmation, proof) {
        (None, None) => Ok(()),
        (None | Some(Confirmation::Certificate(_)), Some(_)) => Err(Refusal::UnboundToken),
        (Some(Confirmation::Certificate(hash)), None) => match shown {
            None => Err(Refusal::BoundToCertificate),
            // RFC 8705 section 3: the hash alone. Who vouches for it, if anybody, is no matter.
            Some(shown) if *hash == URL_SAFE_NO_PAD.encode(shown.sha256) => Ok(()),
            Some(_) => Err(Refusal::OtherCertificate),
        },
        (Some(Confirmation::DpopKey(_)), None) => Err(Refusal::BoundToKey),
        (Some(Confirmation::DpopKey(key)), Some(proof)) if key == proof.thumbprint() => {
            use_up(&proof, wanted).await
        }
        (Some(Confirmation::DpopKey(_)), Some(_)) => Err(Refusal::OtherKey),
    }
}

/// Last, so that only what holds is remembered.
async fn use_up(proof: &DpopProof, wanted: Wanted<'_>) -> Result<(), Refusal> {
    match wanted.proofs.use_up(proof, wanted.now).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unproven::Used.into()),
        Err(error) => {
            let request_id = wanted.request_id.as_str();
            tracing::warn!(request_id, %error, "it is not known whether a proof was used");
            Err(Refusal::ProofStoreUnavailable)
        }
    }
}

impl From<Unproven> for Refusal {
    fn from(unproven: Unproven) -> Self {
        Self::Unproven(unproven)
    }
}
