//! What a verified token says, and what a caller's must say.

use std::time::Duration;

use authzen::Properties;
use serde_json::Value;
use service_kit::UnixTime;

use super::fault::TokenFault;

/// Claims that the issuer made.
#[derive(Debug)]
pub(super) struct Claims(Properties);

/// What the token of one caller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) audience: String,
    pub(super) subject: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) scope: Option<String>,
}

/// The issuer's clock may be so far from ours.
const LEEWAY: Duration = Duration::from_mins(1);

impl Claims {
    /// Only for claims whose signature has held.
    pub(super) fn verified(claims: Properties) -> Self {
        Self(claims)
    }

    /// Until when they hold, if they hold now.
    pub(super) fn hold_until(&self, now: UnixTime) -> Result<UnixTime, TokenFault> {
        let expires = self.time("exp")?.ok_or(TokenFault::Claim)?;
        let until = expires.plus(LEEWAY);
        if until <= now {
            return Err(TokenFault::Expired);
        }
        for begins in [self.time("nbf")?, self.time("iat")?].into_iter().flatten() {
            if begins > now.plus(LEEWAY) {
                return Err(TokenFault::NotYet);
            }
        }
        Ok(until)
    }

    /// Whether they are a caller's.
    pub(super) fn meet(&self, expected: &Expected) -> bool {
        let same = |name: &str, expected: &Option<String>| {
            expected
                .as_deref()
                .is_none_or(|expected| self.0.get(name).is_some_and(|value| value == expected))
        };
        let in_scope = expected.scope.as_deref().is_none_or(|expected| {
            let scope = self.0.get("scope").and_then(Value::as_str);
            scope.is_some_and(|scope| scope.split(' ').any(|granted| granted == expected))
        });
        self.is_for(&expected.audience)
            && same("sub", &expected.subject)
            && same("client_id", &expected.client_id)
            && in_scope
    }

    fn is_for(&self, audience: &str) -> bool {
        match self.0.get("aud") {
            Some(Value::String(own)) => own == audience,
            Some(Value::Array(own)) => {
                own.iter().all(Value::is_string) && own.iter().any(|own| own == audience)
            }
            _ => false,
        }
    }

    fn time(&self, name: &str) -> Result<Option<UnixTime>, TokenFault> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let time = UnixTime::of_numeric_date(value);
        time.map(Some).ok_or(TokenFault::Claim)
    }
}

impl Expected {
    /// Whether one token can be both this and another caller's, as far as it can be known: an
    /// audience for each may be in one token, and is taken to be not.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let differ = |one: &Option<String>, other: &Option<String>| matches!((one, other), (Some(one), Some(other)) if one != other);
        self.audience == other.audience
            && !differ(&self.subject, &other.subject)
            && !differ(&self.client_id, &other.client_id)
    }
}
