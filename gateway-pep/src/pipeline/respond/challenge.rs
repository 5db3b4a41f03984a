//! `WWW-Authenticate`: which credential would do, and what is wrong with the one that came (RFC 6750
//! section 3, RFC 9449 section 7.1); and the nonces that proofs are to repeat.

use http::HeaderMap;
use http::header::{self, HeaderValue};
use oauth::{BearerChallenge, BearerError, DpopChallenge, Scope};

use super::Refusal;
use crate::cache::verdict::Outcome;
use crate::core::Core;
use crate::headers::DPOP_NONCE;
use crate::pipeline::presented::{Scheme, Unproven};
use crate::pipeline::record::Record;
use crate::plan::{Binding, Protection, RoutePlan};
use crate::step_up::StepUp;

/// What is wrong with a credential.
enum Complaint {
    /// There is none; then there is no code either (RFC 6750 section 3.1).
    Nothing,
    Token(BearerError, &'static str),
    Proof(Unproven),
}

/// Adds a challenge for each scheme that could do.
pub(super) fn add(core: &Core, refusal: &Refusal, record: &Record, headers: &mut HeaderMap) {
    let Some(complaint) = complaint(refusal) else {
        return;
    };
    let route = record.route().and_then(|route| core.plan.routes.get(route));
    let scope = needed_scope(core, refusal);
    let step_up = route.and_then(|route| refusal.wanted_login(route));
    let step_up = step_up.map(StepUp::challenge);
    let resource_metadata = route.and_then(|route| core.plan.discovery.url(route.upstream));
    for scheme in schemes(core, route, refusal, record.scheme()) {
        let challenge = match scheme {
            // There is no challenge for a header of its own. A key does by the scheme `Bearer`, too.
            Scheme::Bearer | Scheme::ApiKey => BearerChallenge {
                realm: &core.realm,
                error: complaint.of_token(),
                scope,
                step_up,
                resource_metadata,
            }
            .to_string(),
            Scheme::Dpop => {
                let error = complaint.of_bound_token();
                let error = error.as_ref().map(|(code, text)| (*code, text.as_str()));
                DpopChallenge {
                    realm: &core.realm,
                    error,
                    scope,
                    step_up,
                    resource_metadata,
                }
                .to_string()
            }
        };
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            headers.append(header::WWW_AUTHENTICATE, challenge);
        }
    }
}

/// Says to whoever sends proofs what the next one is to repeat, where that is wanted.
pub(crate) fn say_nonce(core: &Core, record: &Record, headers: &mut HeaderMap) {
    let now = record.moment.unix;
    let nonces = core
        .plan
        .dpop
        .as_ref()
        .and_then(|dpop| dpop.nonces.as_ref());
    if let (Some(Scheme::Dpop), Some(nonces)) = (record.scheme(), nonces)
        && let Ok(nonce) = HeaderValue::try_from(nonces.current(now.as_secs()))
    {
        headers.insert(DPOP_NONCE, nonce);
    }
}

impl Complaint {
    fn of_token(&self) -> Option<(BearerError, &'static str)> {
        match self {
            Self::Token(code, text) => Some((*code, text)),
            Self::Nothing | Self::Proof(_) => None,
        }
    }

    fn of_bound_token(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Nothing => None,
            Self::Token(code, text) => Some((code.as_str(), (*text).to_owned())),
            Self::Proof(unproven) => Some((unproven.code(), unproven.to_string())),
        }
    }
}

/// Whether to challenge at all, and with which code.
fn complaint(refusal: &Refusal) -> Option<Complaint> {
    use BearerError::{
        InsufficientScope, InsufficientUserAuthentication, InvalidRequest, InvalidToken,
    };
    let (code, text) = match refusal {
        Refusal::NoCredentials | Refusal::SessionEnded => return Some(Complaint::Nothing),
        Refusal::Unproven(unproven) => return Some(Complaint::Proof(*unproven)),
        Refusal::TwoCredentials => (InvalidRequest, "more than one credential"),
        Refusal::MalformedToken => (InvalidRequest, "the token is malformed"),
        Refusal::InvalidToken => (InvalidToken, "the token is not valid"),
        Refusal::BoundToKey => (InvalidToken, "the token is bound to a key"),
        Refusal::BoundToCertificate => (InvalidToken, "the token is bound to a certificate"),
        Refusal::OtherCertificate => (InvalidToken, "the token is bound to another certificate"),
        Refusal::UncertifiedToken => (InvalidToken, "the token is not bound to a certificate"),
        Refusal::UnboundToken => (InvalidToken, "the token is not bound to a key"),
        Refusal::OtherKey => (InvalidToken, "the token is bound to another key"),
        Refusal::InsufficientScope { .. } => (InsufficientScope, "the token lacks a scope"),
        Refusal::WeakLogin | Refusal::LoginWanted { .. } => (
            InsufficientUserAuthentication,
            "another or a newer login is needed",
        ),
        _ => return None,
    };
    Some(Complaint::Token(code, text))
}

/// Which schemes could do: the one that came, but where only the other can.
fn schemes(
    core: &Core,
    route: Option<&RoutePlan>,
    refusal: &Refusal,
    came: Option<Scheme>,
) -> &'static [Scheme] {
    const BEARER: &[Scheme] = &[Scheme::Bearer];
    const DPOP: &[Scheme] = &[Scheme::Dpop];
    if core.plan.dpop.is_none() {
        return BEARER;
    }
    match (refusal, came) {
        (Refusal::NoCredentials, _) if route.is_some_and(needs_key) => DPOP,
        (Refusal::NoCredentials | Refusal::SessionEnded, _) => &[Scheme::Bearer, Scheme::Dpop],
        (Refusal::BoundToKey | Refusal::UnboundToken | Refusal::OtherKey, _)
        | (_, Some(Scheme::Dpop)) => DPOP,
        (_, Some(Scheme::Bearer | Scheme::ApiKey) | None) => BEARER,
    }
}

fn needs_key(route: &RoutePlan) -> bool {
    route.protection.binding() == Some(Binding::Key)
}

/// Not where there is no token yet: a client that registers itself then, as those of MCP do, would
/// register for no more, and could never get more. How much there is, the resource's metadata say.
fn needed_scope<'c>(core: &'c Core, refusal: &Refusal) -> Option<&'c Scope> {
    let Refusal::InsufficientScope { route } = refusal else {
        return None;
    };
    match &core.plan.routes.get(*route)?.protection {
        Protection::Token { scope, .. } => Some(scope),
        Protection::Public => None,
    }
}

impl Refusal {
    /// Which login a route or a decision wants, where that is what is missing.
    pub(crate) fn wanted_login<'r>(&'r self, route: &'r RoutePlan) -> Option<&'r StepUp> {
        match self {
            Self::WeakLogin => match &route.protection {
                Protection::Token { step_up, .. } => step_up.as_ref(),
                Protection::Public => None,
            },
            Self::LoginWanted { verdict, which } => match &verdict.outcome {
                Outcome::Permit(obligations) => obligations.step_ups.get(*which),
                Outcome::Deny | Outcome::UnknownObligation => None,
            },
            _ => None,
        }
    }
}
