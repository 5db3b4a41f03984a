//! Issuers that are asked what their tokens are worth (RFC 7662).
//!
//! Anything but an answer of the standard's own form is no answer: not knowing is not a no, and no
//! guess either.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use oauth::ResourceId;
use reqwest::Url;
use serde_json::Value;
use service_kit::outbound::{self, Unread};
use service_kit::{Secret, UnixTime};
use strict_json::parse_object;

use super::Vouched;
use super::answer::{Answer, Forwarded};
use super::claims::{Audience, Claims};
use super::fault::{TokenFault, Unasked, Unknown};
use super::mapping::Mapping;

/// Asks one issuer.
#[derive(Debug)]
pub(crate) struct Introspector {
    pub(crate) issuer: Option<String>,
    pub(crate) url: Url,
    pub(crate) client: reqwest::Client,
    pub(crate) credential: Credential,
    /// Empty: the resource of the route's upstream.
    pub(crate) audiences: Vec<String>,
    pub(crate) requires_audience: bool,
    /// An answer counts no longer, whatever it says.
    pub(crate) ttl: Duration,
    pub(crate) mapping: Mapping,
    pub(crate) forwarded: Forwarded,
}

/// Who we are there.
#[derive(Debug)]
pub(crate) enum Credential {
    /// `Authorization: Basic …`
    Basic(HeaderValue),
    /// In the form.
    Post { client_id: String, secret: Secret },
}

/// Longer answers are refused. Bytes.
const LONGEST: usize = 64 << 10;

impl Introspector {
    pub(super) async fn ask(
        &self,
        token: &str,
        (name, resource): (&str, &ResourceId),
        now: UnixTime,
    ) -> Result<Answer, Unknown> {
        let unknown = |why| Unknown::Introspection {
            issuer: name.to_owned(),
            why,
        };
        let said = self.introspect(token).await.map_err(unknown)?;
        let Some(claims) = said else {
            return Ok(Answer::Inactive);
        };
        Ok(match self.vouch(token, &claims, resource, now) {
            Ok(vouched) => Answer::Vouched(Box::new(vouched)),
            Err(fault) => {
                tracing::debug!(issuer = name, %fault, "an active token is refused");
                Answer::Inactive
            }
        })
    }

    /// What is said of an active token.
    async fn introspect(&self, token: &str) -> Result<Option<Claims>, Unasked> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token);
        form.append_pair("token_type_hint", "access_token");
        let mut request = self.client.post(self.url.clone());
        match &self.credential {
            Credential::Basic(value) => {
                request = request.header(header::AUTHORIZATION, value.clone());
            }
            Credential::Post { client_id, secret } => {
                form.append_pair("client_id", client_id);
                form.append_pair("client_secret", secret.reveal());
            }
        }
        let sent = request
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish())
            .send();
        let mut answer = sent.await.map_err(unreached)?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                return Err(Unasked::Refused(status.as_u16()));
            }
            status => return Err(Unasked::Failed(status.as_u16())),
        }
        let text = outbound::body(&mut answer, LONGEST).await;
        let text = text.map_err(|unread| match unread {
            Unread::TooLong => Unasked::TooLong,
            Unread::Broken(error) => unreached(error),
        })?;
        let members = parse_object(&text).map_err(|_| Unasked::Malformed)?;
        match members.get("active") {
            Some(Value::Bool(true)) => Ok(Some(Claims::new(members))),
            Some(Value::Bool(false)) => Ok(None),
            _ => Err(Unasked::Malformed),
        }
    }

    fn vouch(
        &self,
        token: &str,
        claims: &Claims,
        resource: &ResourceId,
        now: UnixTime,
    ) -> Result<Vouched, TokenFault> {
        if let (Some(own), Some(said)) = (self.issuer.as_deref(), claims.text("iss")?)
            && own != said
        {
            return Err(TokenFault::Issuer);
        }
        let expires = claims.time("exp")?;
        if expires.is_some_and(|expires| expires <= now) {
            return Err(TokenFault::Expired);
        }
        if claims.time("nbf")?.is_some_and(|begins| begins > now) {
            return Err(TokenFault::NotYet);
        }
        let wanted = Audience {
            named: &self.audiences,
            resource: resource.as_str(),
        };
        match claims.are_for(wanted)? {
            Some(true) => {}
            None if !self.requires_audience => {}
            Some(false) | None => return Err(TokenFault::Audience),
        }
        let confirmation = claims.confirmation()?;
        let kind = claims.text("token_type")?.map(str::to_ascii_lowercase);
        match (kind.as_deref(), &confirmation) {
            (None | Some("bearer"), _) | (Some("dpop"), Some(_)) => {}
            // Bound, and nobody says to what.
            (Some("dpop"), None) => return Err(TokenFault::Confirmation),
            // A refresh token, say.
            (Some(_), _) => return Err(TokenFault::NoAccessToken),
        }
        let latest = now.plus(self.ttl);
        Ok(Vouched {
            facts: self.mapping.facts(claims)?,
            confirmation,
            ends: expires.map_or(latest, |expires| expires.min(latest)),
            forwarded: self.forwarded.header(token),
        })
    }
}

fn unreached(error: reqwest::Error) -> Unasked {
    if error.is_timeout() {
        Unasked::Timeout
    } else {
        Unasked::Unreachable(error.without_url())
    }
}
