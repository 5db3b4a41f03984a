//! A token as it comes: a JSON Web Signature in the compact form (RFC 7515), read and verified.
//!
//! The key is looked up among those that are configured. What a header says about keys (`jwk`,
//! `jku`, `x5u`) is never looked at, and nothing of the claims is given away before the signature
//! holds, but for the issuer, whose keys have to be found.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use strict_json::{Properties, parse_object};

use crate::jwk::{Algorithm, KeySet};

/// A token whose signature has not been verified.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// Header and claims as they were signed: the text before the last dot.
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Option<String>,
    claims: Properties,
}

/// A token taken apart; nothing of it is believed.
pub(crate) struct Parts<'a> {
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
    pub(crate) header: Properties,
    pub(crate) claims: Properties,
}

/// Why a token is refused: for the log. The asker learns nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
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
    #[error("no key has its `kid`")]
    UnknownKey,
    #[error("no key fits its `alg` and `kid`")]
    OtherKey,
    #[error("it has no `kid`, and more than one key could be meant")]
    NoKeyNamed,
    #[error("its header has no `jwk`, or one that is no public key for its `alg`")]
    NoPublicKey,
    #[error("its signature does not hold")]
    Signature,
}

/// Which kinds of token are read: what `typ` may say (RFC 8725 section 3.11), in lower case and
/// without `application/`.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    pub types: &'static [&'static str],
    /// One without `typ` is read, too.
    pub untyped: bool,
}

/// Longer tokens are not read. Bytes.
const LONGEST: usize = 8 << 10;

/// Whether a bearer token can be meant as a JSON Web Signature at all.
pub fn is_like_one(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Who a token says has made it, whatever kind of token it is: picks whom to ask, and is believed by
/// nobody. None: it is no JSON Web Signature, or says nothing.
pub fn claimed_issuer(token: &str) -> Option<String> {
    let claims = Parts::of(token).ok()?.claims;
    claims.get("iss")?.as_str().map(str::to_owned)
}

impl<'a> Unverified<'a> {
    pub fn read(token: &'a str, accepted: Accepted) -> Result<Self, Fault> {
        let Parts {
            signed,
            signature,
            header,
            claims,
        } = Parts::of(token)?;
        let algorithm = read_header(&header, accepted)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(Fault::Malformed),
        };
        Ok(Self {
            signed,
            signature,
            algorithm,
            kid,
            claims,
        })
    }

    /// Who says that it made this; believed once [`Unverified::verify`] has held.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// By which algorithm it says that it is signed: picks among those that are accepted.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Takes as long as verifying does, where there is no key to verify with: whoever asks must not
    /// learn from the time whether there is one.
    pub fn verify_by_nobody(&self) {
        if let Ok(key) = KeySet::nobody().find(self.algorithm, None) {
            let _ = key.verify_sig(self.signed.as_bytes(), &self.signature);
        }
    }

    /// The claims, if one of these keys signed them.
    pub fn verify(&self, keys: &KeySet) -> Result<Properties, Fault> {
        let key = keys.find(self.algorithm, self.kid.as_deref())?;
        key.verify_sig(self.signed.as_bytes(), &self.signature)
            .map_err(|_| Fault::Signature)?;
        Ok(self.claims.clone())
    }
}

impl<'a> Parts<'a> {
    pub(crate) fn of(token: &'a str) -> Result<Self, Fault> {
        if token.len() > LONGEST {
            return Err(Fault::TooLong);
        }
        let malformed = Fault::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(malformed)?;
        // Strict base64url: a second spelling of the same token would not be the same token.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
        // Strict JSON: a name that appears twice could be read in two ways.
        let object = |bytes: &[u8]| parse_object(bytes).map_err(|_| malformed);
        Ok(Self {
            signed,
            signature: decode(signature)?,
            header: object(&decode(header)?)?,
            claims: object(&decode(claims)?)?,
        })
    }
}

/// What a header says that is looked at in any case.
pub(crate) fn read_header(header: &Properties, accepted: Accepted) -> Result<Algorithm, Fault> {
    // RFC 7515 section 4.1.11: who does not understand what is critical must refuse. We understand
    // no extension.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(Fault::Critical);
    }
    match header.get("typ") {
        None if accepted.untyped => {}
        Some(Value::String(typ)) if accepted.takes(typ) => {}
        _ => return Err(Fault::OtherType),
    }
    header
        .get("alg")
        .and_then(Value::as_str)
        .and_then(Algorithm::from_name)
        .ok_or(Fault::OtherAlgorithm)
}

impl Accepted {
    /// A media type, of which `application/` may be left out.
    fn takes(self, typ: &str) -> bool {
        let typ = typ.to_ascii_lowercase();
        let short = typ.strip_prefix("application/").unwrap_or(&typ);
        self.types.contains(&short)
    }
}
