//! Transaction tokens (draft-ietf-oauth-transaction-tokens): what the workloads of one trust domain
//! tell each other of the request that they work for, signed and short-lived.
//!
//! One is made of what a workload was sent, or replaces one that it was sent. It is no access token:
//! nothing here and no gateway takes it for one. Nothing of it is kept: it lives for seconds, and no
//! longer than what it was made of.

use oauth::{Scope, SubjectFacts};
use serde_json::{Map, Value};
use service_kit::{UnixTime, random};
use strict_json::parse_object;

use super::super::{TokenAnswer, TokenRequest};
use super::presented::Presented;
use super::replaced::{Replaced, Said};
use super::wanted::TokenType;
use super::{Exchanging, allowed, audited_refusal, permitted, refused};
use crate::audit::audit;
use crate::core::MAX_JWT;
use crate::jws::{Claims, Typ};
use crate::phantom::{self, Live};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::TransactionTokens;

/// What a transaction token is made of.
struct Made {
    live: Box<Live>,
    /// The most that it can have.
    scope: Scope,
    exp: UnixTime,
    said: Said,
}

pub(super) async fn exchange(exchanging: Exchanging<'_>) -> Result<TokenAnswer, Refusal> {
    let Exchanging { request, .. } = exchanging;
    let domain = domain(exchanging)?;
    let requested = request
        .scope()?
        .ok_or(bad_request("`scope` is missing: it says what for"))?;
    let made = made_of(exchanging, domain).await?;
    let facts = SubjectFacts {
        scope: allowed(request, &requested, &made.scope)?,
        client_id: request.client.id.clone(),
        ..made.live.facts.clone()
    };
    let domains = std::slice::from_ref(&domain.trust_domain);
    let scope = permitted(request, &facts, domains).await?;
    let now = request.core.now();
    let exp = now.plus(domain.ttl).min(made.exp);
    let claims = claims(exchanging, domain, &made, (&scope, exp))?;
    let token = request.core.sign(Typ::Transaction, domain.alg, &claims)?;
    if token.len() > MAX_JWT {
        return Err(bad_request("the transaction token would be too long"));
    }
    audit!(
        "transaction_token_issued",
        client = request.client.id,
        sub = made.live.facts.sub,
        scope = scope,
        txn = made.said.txn,
        subject_token_ref = made.live.token.token_ref,
    );
    Ok(TokenAnswer {
        access_token: token,
        issued_token_type: Some(TokenType::Transaction.as_str()),
        // RFC 8693 section 2.2.1: it is no access token.
        token_type: "N_A",
        expires_in: exp.since(now).as_secs(),
        scope,
        refresh_token: None,
        id_token: None,
    })
}

/// The trust domain, where the client is a workload of it and asks for it alone.
fn domain(Exchanging { request, rule }: Exchanging<'_>) -> Result<&TransactionTokens, Refusal> {
    let domain = request.registry.transaction_tokens.as_ref();
    let Some(domain) = domain.filter(|_| rule.transaction_tokens) else {
        audited_refusal(request, "no transaction tokens for this client");
        return Err(bad_request(
            "the client may not ask for tokens of this type",
        ));
    };
    match (request.params.audiences(), request.params.resources()) {
        ([audience], []) if *audience == domain.trust_domain => Ok(domain),
        ([], []) => Err(bad_request("`audience` is missing: the trust domain")),
        _ => Err(Refusal::Denied(
            ErrorCode::InvalidTarget,
            "a transaction token is for the trust domain, and for it alone",
        )),
    }
}

/// The subject token: one of those that are exchanged in any case, or a transaction token.
async fn made_of(exchanging: Exchanging<'_>, domain: &TransactionTokens) -> Result<Made, Refusal> {
    let request = exchanging.request;
    if ["actor_token", "actor_token_type"]
        .iter()
        .any(|name| request.params.get(name).is_some())
    {
        return Err(bad_request(
            "a transaction token names the workload that asks; there is no `actor_token`",
        ));
    }
    let kind = request.required("subject_token_type", "`subject_token_type` is missing")?;
    let made = if TokenType::read(kind)? == TokenType::Transaction {
        replacing(exchanging, domain).await?
    } else {
        begun(exchanging).await?
    };
    let live = &made.live;
    let (whose, from) = (
        (&live.grant.subject, live.user.as_deref()),
        &live.token.client_id,
    );
    if !request.registry.may_act(whose, from, &request.client.id) {
        return Err(refused(request, "`may_act` names others"));
    }
    Ok(made)
}

/// A transaction begins.
async fn begun(exchanging: Exchanging<'_>) -> Result<Made, Refusal> {
    let request = exchanging.request;
    let subject = Presented::subject(exchanging).await?;
    let text = request.required("subject_token", "`subject_token` is missing")?;
    let said = Said {
        txn: random::id()?,
        workloads: request.client.id.clone(),
        details: object(request, "request_details", text)?,
        context: object(request, "request_context", text)?,
    };
    Ok(Made {
        exp: subject.exp.min(subject.live.grant.exp),
        scope: subject.scope,
        live: subject.live,
        said,
    })
}

/// It goes on, with less.
async fn replacing(
    exchanging: Exchanging<'_>,
    domain: &TransactionTokens,
) -> Result<Made, Refusal> {
    let request = exchanging.request;
    let given = ["request_details", "request_context"];
    if given.iter().any(|name| request.params.get(name).is_some()) {
        return Err(bad_request(
            "what a transaction token says of its request stays as it is",
        ));
    }
    let Replaced {
        live,
        scope,
        exp,
        said,
    } = Replaced::find(exchanging, domain).await?;
    Ok(Made {
        exp: exp.min(live.token.exp).min(live.grant.exp),
        scope,
        live,
        said,
    })
}

fn claims(
    Exchanging { request, .. }: Exchanging<'_>,
    domain: &TransactionTokens,
    made: &Made,
    (scope, exp): (&Scope, UnixTime),
) -> Result<Claims, Refusal> {
    let (core, live, said) = (request.core, &made.live, &made.said);
    let mut claims = Claims::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", core.issuer.as_str().into());
    put("sub", live.facts.sub.as_str().into());
    put("aud", domain.trust_domain.as_str().into());
    put("iat", core.now().as_secs().into());
    put("exp", exp.as_secs().into());
    // By which a replacement finds what all of them hang on.
    let jti = phantom::jti(&live.token.token_ref, &random::id()?);
    put("jti", jti.into());
    put("txn", said.txn.as_str().into());
    put("scope", scope.to_string().into());
    put("req_wl", said.workloads.as_str().into());
    if let Some(act) = &live.facts.act {
        put("act", act.claim());
    }
    if let Some(details) = &said.details {
        put("tctx", details.clone().into());
    }
    if let Some(context) = &said.context {
        put("rctx", context.clone().into());
    }
    Ok(claims)
}

/// A parameter that is a JSON object.
fn object(
    request: TokenRequest<'_>,
    name: &str,
    subject_token: &str,
) -> Result<Option<Map<String, Value>>, Refusal> {
    let Some(text) = request.params.get(name) else {
        return Ok(None);
    };
    if text.len() > LONGEST_OBJECT {
        return Err(bad_request(
            "`request_details` and `request_context` may have 1024 bytes each",
        ));
    }
    let object = parse_object(text.as_bytes())
        .map_err(|_| bad_request("`request_details` and `request_context` must be JSON objects"))?;
    // SECURITY: whoever reads a transaction token could use the access token. By what the object says,
    // and not by how it is spelled.
    let is_in_it = Value::Object(object.clone())
        .to_string()
        .contains(subject_token);
    if is_in_it {
        return Err(bad_request(
            "the subject token must not be in the transaction token",
        ));
    }
    Ok(Some(object))
}

fn bad_request(text: &'static str) -> Refusal {
    Refusal::Denied(ErrorCode::InvalidRequest, text)
}

/// Twice this, and everything else, fits a header. Bytes.
const LONGEST_OBJECT: usize = 1024;
