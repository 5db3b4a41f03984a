//! `grant_type=authorization_code` (RFC 6749 section 4.1.3, RFC 7636 section 4.6).
//!
//! A code buys one family of tokens. The purchase is one conditional write, so of any number of
//! concurrent requests one wins; whoever comes later has a copy of the code, and the family dies.

use service_kit::{digest, random};
use store::Batch;

use super::approved::Approved;
use super::family::{Issue, Order};
use super::{TokenAnswer, TokenRequest, invalid_grant, nothing_granted};
use crate::audit::audit;
use crate::config::GrantType;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, Code, CodeState, Grant, SessionGrant, Stored, Subject};
use crate::refusal::{ErrorCode, Refusal};
use crate::revocation;
use crate::scopes::Moment;
use crate::sessions;
use crate::token::{Handle, Kind};

pub(super) async fn exchange(request: TokenRequest<'_>) -> Result<TokenAnswer, Refusal> {
    let core = request.core;
    let text = request.required("code", "`code` is missing")?;
    let verifier = request.params.get("code_verifier");
    let handle = Kind::AuthorizationCode
        .read(text, &core.secrets)
        .map_err(|error| refused(request, &error.to_string()))?;
    let stored = record::load::<Code>(&*core.store, handle.as_str())
        .await?
        .ok_or_else(|| refused(request, "unknown code"))?;
    check(request, &handle, &stored, verifier).await?;
    let code = &stored.record;
    let resources = request.resources(&code.resources)?;
    let subject = Subject::User(code.sub.clone());
    let approved = Approved {
        subject: &subject,
        authentication: Some(&code.authentication),
        scope: &code.scope,
        resources: &code.resources,
    };
    let at = (GrantType::AuthorizationCode, Moment::Issue);
    let left = approved.left(request, at, resources).await?;
    let gone = || refused(request, "the user is gone or disabled");
    let scope = left.or(gone, nothing_granted)?;

    let grant_id = random::id()?;
    let grant = approved.grant(request, at.0, scope);
    let order = Order {
        nonce: code.nonce.as_deref(),
        ..Order::first(&grant_id, &grant, resources)
    };
    let issue = Issue::make(request, &order)?;
    let batch = purchase(core, &handle, &stored, (&grant_id, &grant))?;
    if !issue.commit(core, batch).await? {
        return Err(lost_race(request, &handle).await?);
    }
    // Before anybody has the tokens: a grant that the end of its login would not find must not live.
    let led_to = SessionGrant::of(&grant_id, &grant);
    if !sessions::leads_to(core, &code.authentication.sid, &led_to).await? {
        revocation::revoke_grant(core, &grant_id, "its login has ended").await?;
        return Err(refused(request, "the login has ended"));
    }
    audit!(
        "code_redeemed",
        client = grant.client_id,
        sub = grant.subject.id(),
        scope = grant.scope,
        grant = grant_id,
        token_ref = issue.token_ref(),
    );
    Ok(issue.answer(core.now()))
}

/// The code, used, and what it buys.
fn purchase(
    core: &Core,
    handle: &Handle,
    stored: &Stored<Code>,
    (grant_id, grant): (&str, &Grant),
) -> Result<Batch, Trouble> {
    let used = Code {
        state: CodeState::Used {
            grant: grant_id.to_owned(),
        },
        ..stored.record.clone()
    };
    let now = core.now();
    let (code, bytes) = (record::key::<Code>(handle.as_str()), record::encode(&used)?);
    let keep = Some(record::keep_until(grant.exp, now));
    let batch = Batch::new().replace(code, stored.bytes.clone(), bytes, keep);
    record::put_new(batch, grant_id, grant, grant.exp, now)
}

/// The code must be this client's, unused, alive, and presented by whoever asked for it.
async fn check(
    request: TokenRequest<'_>,
    handle: &Handle,
    stored: &Stored<Code>,
    verifier: Option<&str>,
) -> Result<(), Refusal> {
    let code = &stored.record;
    // SECURITY: before anything changes. Another client must not be able to burn a code, or to
    // have a family revoked.
    if code.client_id != request.client.id {
        return Err(refused(request, "the code of another client"));
    }
    match &code.state {
        CodeState::Unused => {}
        CodeState::Used { grant } => {
            revocation::revoke_grant(request.core, grant, "its code was used twice").await?;
            return Err(refused(request, "the code was used before"));
        }
        CodeState::Burnt => return Err(refused(request, "the code was burnt before")),
    }
    if request.core.now() >= code.exp {
        return Err(refused(request, "the code has expired"));
    }
    let given = request.params.get("redirect_uri");
    let reason = match given {
        None if code.redirect_uri_given => {
            return Err(Refusal::Denied(
                ErrorCode::InvalidRequest,
                "`redirect_uri` is missing",
            ));
        }
        Some(given) if given != code.redirect_uri => "the redirect URI is not the one of the code",
        // Of a client that has forgotten it, most likely: nobody else has shown the client's credential.
        _ if code.challenge.is_some() && verifier.is_none() => {
            return Err(refused(request, "the code verifier is missing"));
        }
        _ if !proves(verifier, code.challenge.as_deref()) => "the code verifier does not fit",
        _ if record::is_other_key(code.key.as_deref(), request.key) => {
            "the key is not the one that the code is bound to"
        }
        _ => return Ok(()),
    };
    // Somebody else has the code: it must not be tried again. A conflict means that it was used
    // or burnt at this moment, which is as good.
    let burnt = Code {
        state: CodeState::Burnt,
        ..code.clone()
    };
    request
        .core
        .store
        .replace(
            &record::key::<Code>(handle.as_str()),
            stored.bytes.clone(),
            record::encode(&burnt)?,
            Some(record::keep_until(code.exp, request.core.now())),
        )
        .await?;
    Err(refused(request, reason))
}

/// Somebody else used the code since we read it.
async fn lost_race(request: TokenRequest<'_>, handle: &Handle) -> Result<Refusal, Trouble> {
    let stored = record::load::<Code>(&*request.core.store, handle.as_str()).await?;
    if let Some(CodeState::Used { grant }) = stored.map(|stored| stored.record.state) {
        revocation::revoke_grant(request.core, &grant, "its code was used twice").await?;
    }
    Ok(refused(request, "the code was used before"))
}

/// RFC 7636 sections 4.1 and 4.6, for S256. SECURITY: a verifier without a challenge is none either (RFC 9700
/// section 4.8.2): the challenge has been taken out of the request on its way.
fn proves(verifier: Option<&str>, challenge: Option<&str>) -> bool {
    let (verifier, challenge) = match (verifier, challenge) {
        (Some(verifier), Some(challenge)) => (verifier, challenge),
        (verifier, challenge) => return verifier.is_none() && challenge.is_none(),
    };
    let is_verifier = (43..=128).contains(&verifier.len())
        && verifier
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
    is_verifier
        && subtle::ConstantTimeEq::ct_eq(
            digest::sha256_base64url(verifier.as_bytes()).as_bytes(),
            challenge.as_bytes(),
        )
        .into()
}

fn refused(request: TokenRequest<'_>, reason: &str) -> Refusal {
    audit!("code_refused", client = request.client.id, reason = reason);
    invalid_grant()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_verifier_that_hashes_to_the_challenge_is_a_proof() {
        // RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let proves = |verifier: &str, challenge: &str| proves(Some(verifier), Some(challenge));
        assert!(proves(verifier, challenge));
        assert!(!proves(challenge, challenge));
        assert!(!proves("short", &digest::sha256_base64url(b"short")));
        assert!(!proves("", ""));
        assert!(super::proves(None, None));
        assert!(!super::proves(Some(verifier), None));
        assert!(!super::proves(None, Some(challenge)));
    }
}
