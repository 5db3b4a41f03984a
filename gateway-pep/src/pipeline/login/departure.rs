//! Off to the provider: where a browser is sent that has to log in, and the cookie that it goes with.

use http::header::HeaderValue;
use openidconnect::core::{CoreAuthPrompt, CoreAuthenticationFlow};
use openidconnect::{AuthenticationContextClass, CsrfToken, PkceCodeChallenge, Scope};
use relying_party::Fault;
use service_kit::UnixTime;

use crate::canonical::CanonicalRequest;
use crate::login::pending::{Pending, State};
use crate::login::{Kind, Login, Logins};
use crate::step_up::StepUp;

/// A redirect to the provider.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) location: HeaderValue,
    pub(crate) cookies: Vec<HeaderValue>,
}

/// Why a browser is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause<'a> {
    /// There is no session.
    NoSession,
    /// There was one, and its cookie goes.
    SessionEnded,
    /// The login is not what the route wants (RFC 9470).
    StepUp(&'a StepUp),
}

impl Departure {
    /// `back`: a canonical target of this origin, where the browser is to come back to in the end. None: the
    /// request came by a name that is none of ours.
    pub(crate) async fn prepare(
        (logins, login): (&Logins, &Login),
        request: &CanonicalRequest,
        (back, cause): (&str, Cause<'_>),
        now: UnixTime,
    ) -> Result<Option<Self>, Fault> {
        const UNSENDABLE: Fault = Fault::Down("nobody can be sent there");
        let Some(origin) = logins.origin(request) else {
            return Ok(None);
        };
        let metadata = login.party.metadata().await?;
        let state = State::mint().map_err(|_| Fault::Down("there is no randomness"))?;
        let redirect_uri = format!("{origin}{}", login.path(Kind::Callback));
        let client = login.party.client(&metadata, redirect_uri)?;
        let (nonce, verifier) = (state.nonce(&logins.seal), state.verifier(&logins.seal));
        let csrf = CsrfToken::new(state.reveal().to_owned());
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let mut asking = client
            .authorize_url(flow, || csrf, || nonce)
            .add_scopes(login.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        if let Some(resource) = &login.resource {
            asking = asking.add_extra_param("resource", resource.clone());
        }
        for (name, value) in &login.parameters {
            asking = asking.add_extra_param(name.clone(), value.clone());
        }
        if let Cause::StepUp(wanted) = cause {
            let wanted = wanted.challenge();
            for acr in wanted.acr_values.unwrap_or_default().split_whitespace() {
                let acr = AuthenticationContextClass::new(acr.to_owned());
                asking = asking.add_auth_context_value(acr);
            }
            if let Some(secs) = wanted.max_age_secs {
                asking = asking.set_max_age(std::time::Duration::from_secs(secs));
                if secs == 0 && !login.parameters.contains_key("prompt") {
                    asking = asking.add_prompt(CoreAuthPrompt::Login);
                }
            }
        }
        let location = HeaderValue::try_from(asking.url().0.as_str()).map_err(|_| UNSENDABLE)?;
        let pending = Pending::new(login, origin, back, now);
        let cookies = pending.cookies((logins, login), &state, request.headers());
        let mut cookies = cookies.ok_or(UNSENDABLE)?;
        if let Cause::SessionEnded = cause {
            cookies.extend(logins.attributes.expire(&login.cookie));
        }
        Ok(Some(Self { location, cookies }))
    }
}
