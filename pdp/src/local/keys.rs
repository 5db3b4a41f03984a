//! Whose statements are believed: public keys from a file.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Accepted, KeySet, Unverified};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use service_kit::ConfigIssue;

use super::Refused;
use crate::handout::{STATEMENT, Statement};

const KEY: &str = "connect.pdp.local.key_file";

/// Reads every public key of a PEM file.
pub(super) fn read(path: &Path) -> Result<KeySet, ConfigIssue> {
    let text = service_kit::pem::read(KEY, path)?;
    let issue = |what: &str| {
        ConfigIssue::new(format!("`{KEY}`: {what} in `{}`", path.display()))
            .hint("`openssl pkey -in PRIVATE -pubout -out FILE` writes the public half of a key")
    };
    let keys: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(&text).collect();
    let keys = keys.map_err(|_| issue("there is damaged PEM"))?;
    if keys.is_empty() {
        return Err(issue("there is no public key"));
    }
    let keys: Option<Vec<Value>> = keys.iter().map(|key| jwk(key)).collect();
    let keys =
        keys.ok_or_else(|| issue("there is a key that is neither of P-256 nor of Ed25519"))?;
    let set = json!({ "keys": keys }).to_string();
    KeySet::parse(set.as_bytes()).map_err(|error| issue(&error))
}

/// What a signature covers, if one of the keys made it for this question.
pub(super) fn believe(keys: &KeySet, text: &str, nonce: &str) -> Result<Statement, Refused> {
    const ACCEPTED: Accepted = Accepted {
        types: &[STATEMENT],
        untyped: false,
    };
    let claims = Unverified::read(text, ACCEPTED)
        .and_then(|unverified| unverified.verify(keys))
        .map_err(Refused::Signature)?;
    let statement: Statement = serde_json::from_value(Value::Object(claims))
        .map_err(|_| Refused::Unreadable("its statement"))?;
    // SECURITY: whatever was said to somebody else, or before, is of no use here.
    if statement.nonce != nonce {
        return Err(Refused::Replayed);
    }
    Ok(statement)
}

/// A `SubjectPublicKeyInfo` (RFC 5480, RFC 8410) has one form for each of these kinds of key.
fn jwk(der: &[u8]) -> Option<Value> {
    const P256: &[u8] = &[
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    const ED25519: &[u8] = &[
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut key = if let Some(point) = der.strip_prefix(P256) {
        let (x, y) = point.split_at_checked(32).filter(|(_, y)| y.len() == 32)?;
        json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
    } else {
        let x = der.strip_prefix(ED25519).filter(|x| x.len() == 32)?;
        json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(x) })
    };
    let kid = jose::thumbprint(key.as_object()?)?;
    key.as_object_mut()?.insert("kid".into(), kid.into());
    Some(key)
}
