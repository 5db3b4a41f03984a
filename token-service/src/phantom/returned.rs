//! A phantom JWT that comes back: verified with our own keys, and traced to the access token that it
//! was cut from. One that cannot be traced, or whose token is not live any more, is worth nothing.

use jose::{Accepted, Fault, Unverified};
use oauth::Scope;
use serde_json::{Map, Value};
use service_kit::UnixTime;

use super::{Inactive, Live, Resolved, of_handle};
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, TokenReference};
use crate::registry::Registry;
use crate::token::Handle;

/// What a JWT says, and the token behind it.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) live: Box<Live>,
    /// The one resource that it was cut for.
    pub(crate) audience: String,
    pub(crate) scope: Scope,
    pub(crate) exp: UnixTime,
}

/// Why a JWT is worth nothing. For the audit log only.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreturned {
    #[error("the JWT: {0}")]
    Jws(#[from] Fault),
    #[error("the JWT is of another issuer")]
    Issuer,
    #[error("the JWT has expired")]
    Expired,
    #[error("the JWT lacks a claim, or was not cut from an access token")]
    Claims,
    #[error("the JWT's access token: {0}")]
    Token(#[from] Inactive),
}

/// Only RFC 9068: an ID token or a signed introspection answer is none.
const TYPES: Accepted = Accepted {
    types: &["at+jwt"],
    untyped: false,
};

/// Is in neither half.
const SEPARATOR: char = '.';

/// The `jti` of a JWT that is cut from this token.
pub(crate) fn jti(token_ref: &str, unique: &str) -> String {
    format!("{token_ref}{SEPARATOR}{unique}")
}

/// What a `jti` begins with.
fn token_ref(jti: &str) -> Option<&str> {
    let (token_ref, _) = jti.split_once(SEPARATOR)?;
    Some(token_ref).filter(|name| !name.is_empty())
}

/// Reads a phantom JWT and finds its token.
pub(crate) async fn returned(
    core: &Core,
    registry: &Registry,
    text: &str,
) -> Result<Result<Returned, Unreturned>, Trouble> {
    let claims = match verified(core, text, TYPES) {
        Ok(claims) => claims,
        Err(unreturned) => return Ok(Err(unreturned)),
    };
    let Some(Said {
        token_ref,
        audience,
        scope,
        exp,
    }) = said(&claims)
    else {
        return Ok(Err(Unreturned::Claims));
    };
    Ok(match behind(core, registry, token_ref).await? {
        Resolved::Live(live) if !live.token.resources.iter().any(|id| id == audience) => {
            Err(Inactive::Audience {
                missing: audience.to_owned(),
                present: live.token.resources.join(", "),
            }
            .into())
        }
        Resolved::Live(live) => Ok(Returned {
            live,
            audience: audience.to_owned(),
            scope,
            exp,
        }),
        Resolved::Inactive(inactive) => Err(inactive.into()),
    })
}

/// The token that a reference names.
async fn behind(core: &Core, registry: &Registry, token_ref: &str) -> Result<Resolved, Trouble> {
    let Some(reference) = record::load::<TokenReference>(&*core.store, token_ref).await? else {
        return Ok(Resolved::Inactive(Inactive::Unknown));
    };
    of_handle(core, registry, Handle::kept(reference.record.handle)).await
}

/// The token behind another kind of JWT that we made of one, by its `jti`.
pub(crate) async fn made_of(
    core: &Core,
    registry: &Registry,
    claims: &Map<String, Value>,
) -> Result<Result<Box<Live>, Unreturned>, Trouble> {
    let jti = claims.get("jti").and_then(Value::as_str);
    let Some(token_ref) = jti.and_then(token_ref) else {
        return Ok(Err(Unreturned::Claims));
    };
    Ok(match behind(core, registry, token_ref).await? {
        Resolved::Live(live) => Ok(live),
        Resolved::Inactive(inactive) => Err(inactive.into()),
    })
}

/// The claims of a JWT that we made and that has not ended.
pub(crate) fn verified(
    core: &Core,
    text: &str,
    types: Accepted,
) -> Result<Map<String, Value>, Unreturned> {
    let claims = Unverified::read(text, types)?.verify(&core.keys.verifying())?;
    let issuer = claims.get("iss").and_then(Value::as_str);
    if issuer != Some(core.issuer.as_str()) {
        return Err(Unreturned::Issuer);
    }
    let exp = claims.get("exp").and_then(Value::as_u64).unwrap_or(0);
    if core.now() >= UnixTime::from_secs(exp) {
        return Err(Unreturned::Expired);
    }
    Ok(claims)
}

/// What counts of the claims. Subject, client and actor are the token's, not what the JWT says.
struct Said<'a> {
    token_ref: &'a str,
    audience: &'a str,
    scope: Scope,
    exp: UnixTime,
}

fn said(claims: &Map<String, Value>) -> Option<Said<'_>> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    Some(Said {
        token_ref: token_ref(text("jti")?)?,
        audience: text("aud")?,
        scope: Scope::parse(text("scope")?).ok()?,
        exp: UnixTime::from_secs(claims.get("exp")?.as_u64()?),
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn only_access_tokens_are_read_whatever_else_the_same_keys_have_signed() {
        for (typ, is_read) in [
            ("at+jwt", true),
            ("application/at+jwt", true),
            ("JWT", false),
            ("token-introspection+jwt", false),
            ("logout+jwt", false),
        ] {
            let header = format!(r#"{{"alg":"ES256","kid":"k","typ":"{typ}"}}"#);
            let token = format!("{}.e30.e30", URL_SAFE_NO_PAD.encode(header));
            let read = Unverified::read(&token, TYPES);
            assert_eq!(read.is_ok(), is_read, "{typ} {read:?}");
        }
        let untyped = format!("{}.e30.e30", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#));
        assert_eq!(
            Unverified::read(&untyped, TYPES).unwrap_err(),
            Fault::OtherType
        );
    }

    #[test]
    fn what_was_not_cut_from_a_token_says_nothing() {
        let claims = |jti: &str| {
            let claims = serde_json::json!({ "jti": jti, "aud": "a", "scope": "s", "exp": 1 });
            claims.as_object().unwrap().clone()
        };
        let cut = claims(&jti("ref", "unique"));
        assert_eq!(said(&cut).map(|said| said.token_ref), Some("ref"));
        for jti in ["unique", ".unique", ""] {
            assert!(said(&claims(jti)).is_none(), "{jti}");
        }
        for name in ["jti", "aud", "scope", "exp"] {
            let mut less = cut.clone();
            less.remove(name);
            assert!(said(&less).is_none(), "{name}");
        }
    }
}
