//! One ES256 key: made, sealed, opened, and used.

use std::fmt;

use aws_lc_rs::aead::{Aad, Nonce};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, Signature};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use service_kit::digest;
use zeroize::Zeroizing;

use crate::error::Trouble;
use crate::secrets::Secrets;

/// A key that is ready to sign.
pub(crate) struct SigningKey {
    pair: EcdsaKeyPair,
    kid: String,
    x: String,
    y: String,
}

/// A fresh key and its sealed form.
pub(crate) struct Made {
    pub(crate) key: SigningKey,
    pub(crate) sealed: String,
}

const NONCE: usize = 12;

impl SigningKey {
    /// Makes a key and seals it for the store.
    pub(crate) fn make(secrets: &Secrets) -> Result<Made, Trouble> {
        let broken = |_| Trouble::Crypto {
            message: "key generation",
        };
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(broken)?;
        let key = Self::from_pkcs8(document.as_ref())?;
        let mut sealed = document.as_ref().to_vec();
        let nonce = secrets
            .sealing
            .seal_in_place_append_tag(Aad::from(key.kid.as_bytes()), &mut sealed)
            .map_err(broken)?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        Ok(Made {
            key,
            sealed: URL_SAFE_NO_PAD.encode(bytes),
        })
    }

    /// Opens a sealed key. None: it was sealed with another secret, or changed.
    pub(crate) fn open(kid: &str, sealed: &str, secrets: &Secrets) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let pkcs8 = secrets
            .sealing
            .open_in_place(nonce, Aad::from(kid.as_bytes()), &mut text)
            .ok()?;
        let key = Self::from_pkcs8(pkcs8).ok()?;
        (key.kid == kid).then_some(key)
    }

    /// The RFC 7638 thumbprint.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y,
            "kid": self.kid, "use": "sig", "alg": "ES256",
        })
    }

    /// 64 bytes, as JWS wants them.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Signature, Trouble> {
        self.pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| Trouble::Crypto { message: "signing" })
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Trouble> {
        let broken = Trouble::Crypto {
            message: "a key cannot be read",
        };
        let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8) else {
            return Err(broken);
        };
        // Uncompressed point: 0x04, x, y.
        let point = pair.public_key().as_ref();
        let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
            return Err(broken);
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638: the required members, in this order, without spaces.
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = digest::sha256_base64url(members.as_bytes());
        Ok(Self { pair, kid, x, y })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.kid)
    }
}
