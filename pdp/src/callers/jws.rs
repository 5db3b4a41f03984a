//! A caller's token as it comes: a JSON Web Signature in the compact form (RFC 7515), read and
//! verified.
//!
//! The key is looked up among those that are configured. What a header says about keys (`jwk`,
//! `jku`, `x5u`) is never looked at, and nothing of the claims is given away before the signature
//! holds, but for the issuer, whose keys have to be found.

use authzen::{Properties, parse_object};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::claims::Claims;
use super::jwk::{Algorithm, KeySet};

/// A token whose signature has not been verified.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    /// Header and claims as they were signed: the text before the last dot.
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Option<String>,
    claims: Properties,
}

/// Why a token is refused: for the log. The asker learns nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenFault {
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    #[error("it is not a JSON Web Signature in the compact form")]
    Malformed,
    #[error("its header has `crit`, which asks for what is not understood")]
    Critical,
    #[error("its `typ` is of another kind of token")]
    OtherType,
    #[error("its `alg` is not accepted")]
    OtherAlgorithm,
    #[error("nobody is configured for its `iss`")]
    UnknownIssuer,
    #[error("no key of the issuer has its `kid`")]
    UnknownKey,
    #[error("no key of the issuer fits its `alg` and `kid`")]
    OtherKey,
    #[error("it has no `kid`, and more than one key could be meant")]
    NoKeyNamed,
    #[error("its signature does not hold")]
    Signature,
    #[error("a claim is missing or of the wrong type")]
    Claim,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("no caller is configured for its claims")]
    NoCaller,
    #[error("more than one caller is configured for its claims")]
    ManyCallers,
}

/// Longer tokens are not read. Bytes.
const LONGEST: usize = 8 << 10;

/// Whether a bearer token can be meant as a JSON Web Signature at all.
pub(super) fn is_like_one(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> Unverified<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, TokenFault> {
        if token.len() > LONGEST {
            return Err(TokenFault::TooLong);
        }
        let malformed = TokenFault::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(malformed)?;
        // Strict base64url: a second spelling of the same token would not be the same token.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
        // Strict JSON: a name that appears twice could be read in two ways.
        let object = |bytes: &[u8]| parse_object(bytes).map_err(|_| malformed);
        let header = object(&decode(header)?)?;
        let (algorithm, kid) = read_header(&header)?;
        Ok(Self {
            signed,
            signature: decode(signature)?,
            algorithm,
            kid,
            claims: object(&decode(claims)?)?,
        })
    }

    /// Who says that it made this; believed once [`Unverified::verify`] has held.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// The claims, if the issuer made them.
    pub(super) fn verify(&self, keys: &KeySet) -> Result<Claims, TokenFault> {
        let key = keys.find(self.algorithm, self.kid.as_deref())?;
        key.verify_sig(self.signed.as_bytes(), &self.signature)
            .map_err(|_| TokenFault::Signature)?;
        Ok(Claims::verified(self.claims.clone()))
    }
}

fn read_header(header: &Properties) -> Result<(Algorithm, Option<String>), TokenFault> {
    // RFC 7515 section 4.1.11: who does not understand what is critical must refuse. We understand
    // no extension.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(TokenFault::Critical);
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) if is_accepted(typ) => {}
        Some(_) => return Err(TokenFault::OtherType),
    }
    let algorithm = header
        .get("alg")
        .and_then(Value::as_str)
        .and_then(Algorithm::from_name)
        .ok_or(TokenFault::OtherAlgorithm)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(TokenFault::Malformed),
    };
    Ok((algorithm, kid))
}

/// A media type, of which `application/` may be left out.
fn is_accepted(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    ["jwt", "at+jwt"].contains(&typ.strip_prefix("application/").unwrap_or(&typ))
}
