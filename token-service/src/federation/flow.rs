//! The authorization code flow as its client (OpenID Connect Core section 3.1): the browser is sent to
//! the provider, and what comes back is a code for what the provider says of the person.
//!
//! SECURITY: `state` is good once, in the browser that was sent, for the provider that it was sent to.
//! Nonce and PKCE verifier are made from it by a key of ours, so that nobody else can know them and no
//! store has them.

mod client;
mod returned;

use std::time::Duration;

use openidconnect::core::{CoreAuthPrompt, CoreAuthenticationFlow};
use openidconnect::{AuthenticationContextClass, CsrfToken, LoginHint, PkceCodeChallenge, Scope};
use relying_party::{OidcClient, SKEW};
use service_kit::UnixTime;
use url::Url;
use zeroize::Zeroizing;

use super::Stop;
use crate::core::Core;
use crate::params::Params;
use crate::provider::Provider;
use crate::record::{self, FederatedLogin, LoginWanted};
use crate::token::{Handle, Kind};
use client::{client, nonce, verifier};
pub(crate) use returned::Returned;

/// A browser that comes back, as the one that was sent.
pub(crate) struct Begun {
    /// The text of `state`.
    state: Zeroizing<String>,
    pub(crate) login: FederatedLogin,
}

/// Where the browser is sent, and what is kept until it comes back.
pub(crate) async fn begin(
    core: &Core,
    provider: &Provider,
    wanted: &LoginWanted,
    (login_hint, kept): (Option<&str>, FederatedLogin),
) -> Result<Url, Stop> {
    let metadata = provider.party.metadata().await?;
    let state = Kind::FederatedLogin.mint(&core.secrets)?;
    let login = FederatedLogin {
        seen_since: wanted.max_age_secs.map(|secs| {
            let age = secs.saturating_add(SKEW.as_secs());
            UnixTime::from_secs(core.now().as_secs().saturating_sub(age))
        }),
        ..kept
    };
    let (name, exp) = (state.handle.as_str(), login.exp);
    record::keep(&*core.store, name, &login, exp, core.now()).await?;
    let client = client(core, provider, &metadata)?;
    Ok(request(
        core,
        provider,
        &client,
        (state.reveal(), wanted, login_hint),
    ))
}

fn request(
    core: &Core,
    provider: &Provider,
    client: &OidcClient,
    (state, wanted, login_hint): (&str, &LoginWanted, Option<&str>),
) -> Url {
    let (nonce, verifier) = (nonce(&core.secrets, state), verifier(&core.secrets, state));
    let csrf = CsrfToken::new(state.to_owned());
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let mut request = client
        .authorize_url(flow, || csrf, || nonce)
        .add_scopes(provider.scopes.iter().cloned().map(Scope::new))
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    if let Some(secs) = wanted.max_age_secs {
        // It has to say when it has seen the person, and see them again if that is too long ago.
        request = request.set_max_age(Duration::from_secs(secs));
        if secs == 0 {
            request = request.add_prompt(CoreAuthPrompt::Login);
        }
    }
    if let Some(hint) = login_hint {
        request = request.set_login_hint(LoginHint::new(hint.to_owned()));
    }
    if provider.trusts_acr {
        for acr in &wanted.acr_values {
            request = request.add_auth_context_value(AuthenticationContextClass::new(acr.clone()));
        }
    }
    let is_new = wanted.max_age_secs == Some(0);
    let is_sent = |name: &&String| !(is_new && *name == "prompt");
    let parameters = provider.parameters.iter();
    for (name, value) in parameters.filter(|(name, _)| is_sent(name)) {
        request = request.add_extra_param(name.clone(), value.clone());
    }
    request.url().0
}

impl Begun {
    /// Who comes back, once. None: the `state` is no good, whatever the reason.
    pub(crate) async fn take(
        core: &Core,
        provider: &Provider,
        browser: &Handle,
        params: &Params,
    ) -> Result<Option<Self>, Stop> {
        let Some(text) = params.get("state") else {
            return Ok(None);
        };
        let Ok(handle) = Kind::FederatedLogin.read(text, &core.secrets) else {
            return Ok(None);
        };
        let Some(stored) = record::load::<FederatedLogin>(&*core.store, handle.as_str()).await?
        else {
            return Ok(None);
        };
        // SECURITY: before it is used up. A browser that was not sent uses up nobody's login, and a
        // provider cannot be taken for another (RFC 9700 section 4.4).
        let login = stored.record;
        let is_its = login.browser == browser.as_str()
            && login.provider == provider.id
            && login.issuer == provider.issuer
            && core.now() < login.exp;
        if !is_its {
            return Ok(None);
        }
        let taken = record::take::<FederatedLogin>(&*core.store, handle.as_str()).await?;
        Ok(taken.map(|login| Self {
            state: Zeroizing::new(text.to_owned()),
            login,
        }))
    }
}
