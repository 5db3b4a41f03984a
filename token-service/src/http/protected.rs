//! Who calls an endpoint of ours by an access token (RFC 6750; RFC 9449 section 7; RFC 8705 section 3), and the
//! challenge where it is nobody.

mod brought;
mod challenge;

use http::request::Parts;
use oauth::{BearerError, DpopRequest};

use super::{certificate, dpop};
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::params::Params;
use crate::phantom::{self, Live, Resolved};
use crate::refusal::{ErrorCode, Refusal};
use brought::Brought;
pub(super) use challenge::Challenge;

/// An endpoint that takes access tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint {
    /// In metrics and in the audit log.
    pub(super) name: &'static str,
    /// What proofs are held against; begins with a slash.
    pub(super) path: &'static str,
    /// What the token must have.
    pub(super) scope: &'static str,
}

impl Endpoint {
    /// Whose token it is: live, shown in the way that it has to be, meant for us, and with the scope.
    ///
    /// `form`: where the token may be in one. `path`: where the request went, below the endpoint.
    pub(super) async fn caller(
        self,
        core: &Core,
        parts: &Parts,
        (form, path): (Option<&Params>, &str),
    ) -> Result<Result<Box<Live>, Challenge>, Trouble> {
        let brought = match Brought::read(&parts.headers, form) {
            Ok(brought) => brought,
            Err(challenge) => return Ok(Err(challenge)),
        };
        let registry = core.registry();
        let live = match phantom::find(core, &registry, brought.token).await? {
            Resolved::Live(live) => live,
            Resolved::Inactive(reason) => {
                let challenge = self.inactive(&reason);
                return Ok(Err(if brought.is_bound {
                    Challenge::Dpop(ErrorCode::InvalidToken, "the token is not valid")
                } else {
                    challenge
                }));
            }
        };
        // SECURITY: before anything is told. Whoever has the token alone may have found it.
        if let Err(challenge) = self.confirmed(core, (parts, path), &brought, &live).await? {
            return Ok(Err(challenge));
        }
        if live.token.restricted {
            let (client, reason) = (&live.token.client_id, "for other resources");
            audit!(
                "access_refused",
                endpoint = self.name,
                client = client,
                reason = reason
            );
            return Ok(Err(Challenge::Error(
                BearerError::InvalidToken,
                "the token is not for this service",
            )));
        }
        Ok(if live.facts.scope.contains(self.scope) {
            Ok(live)
        } else {
            Err(Challenge::lacks_scope())
        })
    }

    /// A token that is worth nothing.
    pub(super) fn inactive(self, reason: &dyn std::fmt::Display) -> Challenge {
        audit!("access_refused", endpoint = self.name, reason = reason);
        Challenge::Error(BearerError::InvalidToken, "the token is not valid")
    }

    /// Whether a token came in the way that it has to, with the proof that it is bound to.
    async fn confirmed(
        self,
        core: &Core,
        (parts, path): (&Parts, &str),
        brought: &Brought<'_>,
        live: &Live,
    ) -> Result<Result<(), Challenge>, Trouble> {
        let refused = |reason: &dyn std::fmt::Display, challenge: Challenge| {
            audit!(
                "access_refused",
                endpoint = self.name,
                client = live.token.client_id,
                reason = reason
            );
            Ok(Err(challenge))
        };
        let invalid = |text| Challenge::Dpop(ErrorCode::InvalidToken, text);
        let wanted = live.token.certificate.as_ref();
        if wanted.is_some_and(|wanted| certificate::thumbprint(parts).as_ref() != Some(wanted)) {
            let text = "the token is bound to a certificate, which is not shown";
            let challenge = Challenge::Error(BearerError::InvalidToken, text);
            return refused(&"not the certificate that it is bound to", challenge);
        }
        let key = match (&live.token.key, brought.is_bound) {
            (None, false) => return Ok(Ok(())),
            // RFC 9449 section 7.2: else a proof could be left out.
            (Some(_), false) => {
                return refused(
                    &"bound, and without a proof",
                    invalid("the token is bound to a key"),
                );
            }
            (None, true) => {
                return refused(
                    &"a proof of what is not bound",
                    invalid("the token is not bound"),
                );
            }
            (Some(key), true) => key,
        };
        let url = certificate::url(core, parts, &format!("{}{path}", self.path));
        let request = DpopRequest {
            method: &parts.method,
            url: &url,
            access_token: Some(brought.token),
        };
        match dpop::prove(core, &parts.headers, &request).await? {
            Ok(Some(shown)) if shown.thumbprint == *key => Ok(Ok(())),
            Ok(Some(_)) => refused(
                &"the proof of another key",
                invalid("the token is bound to another key"),
            ),
            Ok(None) => {
                let text = "there is no DPoP proof";
                refused(
                    &"no proof",
                    Challenge::Dpop(ErrorCode::InvalidDpopProof, text),
                )
            }
            Err(unproven) => match Refusal::from(unproven) {
                Refusal::Denied(code, text) => refused(&unproven, Challenge::Dpop(code, text)),
                _ => refused(&unproven, invalid("the proof is not good")),
            },
        }
    }
}
