//! Everything secret is derived from one root secret (HKDF-SHA-256), each key under its own
//! label, so that no two purposes ever share a key.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth::DpopNonces;
use zeroize::Zeroizing;

use crate::error::Trouble;

/// The derived keys.
pub(crate) struct Secrets {
    /// Turns a token into the name of its record.
    pepper: hmac::Key,
    /// Binds a form to the page and the browser that it was made for.
    forms: hmac::Key,
    /// Makes what comes after a refresh token.
    successors: hmac::Key,
    /// Makes the nonces of DPoP proofs.
    pub(crate) nonces: DpopNonces,
    /// Seals at rest what has to be read again: signing keys, ID tokens of other providers.
    pub(crate) sealing: RandomizedNonceKey,
}

/// Shorter root secrets are refused. Bytes.
pub(crate) const MIN_ROOT: usize = 32;

/// Labels of the derived keys. A label that changes makes every record under it unreadable.
const PEPPER: &[u8] = b"cedargate token pepper v1";
const FORMS: &[u8] = b"cedargate form tokens v1";
const SUCCESSORS: &[u8] = b"cedargate token successors v1";
const NONCES: &[u8] = b"cedargate dpop nonces v1";
const SEALING: &[u8] = b"cedargate key sealing v1";

impl Secrets {
    /// Derives the keys.
    pub(crate) fn derive(root: &[u8]) -> Result<Self, Trouble> {
        let sealing = expand(root, SEALING)?;
        Ok(Self {
            pepper: hmac::Key::new(hmac::HMAC_SHA256, &*expand(root, PEPPER)?),
            forms: hmac::Key::new(hmac::HMAC_SHA256, &*expand(root, FORMS)?),
            successors: hmac::Key::new(hmac::HMAC_SHA256, &*expand(root, SUCCESSORS)?),
            nonces: DpopNonces::new(&*expand(root, NONCES)?),
            sealing: RandomizedNonceKey::new(&AES_256_GCM, &*sealing).map_err(|_| {
                Trouble::Crypto {
                    message: "no sealing key",
                }
            })?,
        })
    }

    /// Keyed hash of a token's exact text, as 43 characters.
    pub(crate) fn token_hash(&self, token: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.pepper, token.as_bytes()))
    }

    /// What a token of a kind is made of that comes after another: nobody without the other's text
    /// and our key can know it. `kind` and `seed` hold no newline.
    pub(crate) fn successor(&self, kind: &str, seed: &str, token: &str) -> Zeroizing<[u8; 32]> {
        let text = Zeroizing::new(format!("{kind}\n{seed}\n{token}"));
        let tag = hmac::sign(&self.successors, text.as_bytes());
        let mut made = Zeroizing::new([0; 32]);
        for (byte, of) in made.iter_mut().zip(tag.as_ref()) {
            *byte = *of;
        }
        made
    }

    /// Seals a text that the store is to keep; `purpose` opens it again, and no other does.
    pub(crate) fn seal(&self, purpose: &str, text: &str) -> Result<String, Trouble> {
        let mut sealed = text.as_bytes().to_vec();
        let nonce = self
            .sealing
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| Trouble::Crypto { message: "sealing" })?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens what [`Secrets::seal`] has sealed. None: with another secret, or it was changed.
    pub(crate) fn open(&self, purpose: &str, sealed: &str) -> Option<Zeroizing<String>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(purpose.as_bytes());
        let opened = self.sealing.open_in_place(nonce, aad, &mut text).ok()?;
        std::str::from_utf8(opened)
            .ok()
            .map(|text| Zeroizing::new(text.to_owned()))
    }

    /// The anti-forgery value of the form `purpose` of one interaction in one browser.
    pub(crate) fn form_token(&self, purpose: &str, interaction: &str, browser: &str) -> String {
        let text = form_text(purpose, interaction, browser);
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.forms, text.as_bytes()))
    }

    /// Whether `given` is that value; constant time.
    pub(crate) fn is_form_token(
        &self,
        given: &str,
        purpose: &str,
        interaction: &str,
        browser: &str,
    ) -> bool {
        let text = form_text(purpose, interaction, browser);
        URL_SAFE_NO_PAD
            .decode(given)
            .is_ok_and(|tag| hmac::verify(&self.forms, text.as_bytes(), &tag).is_ok())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets(…)")
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

fn expand(root: &[u8], label: &[u8]) -> Result<Zeroizing<[u8; 32]>, Trouble> {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, b"cedargate token service")
        .extract(root)
        .expand(&[label], Length)
        .and_then(|material| material.fill(&mut *key))
        .map_err(|_| Trouble::Crypto {
            message: "key derivation",
        })?;
    Ok(key)
}

/// None of the parts can hold a newline: all are of `[A-Za-z0-9_-]`.
fn form_text(purpose: &str, interaction: &str, browser: &str) -> String {
    format!("{purpose}\n{interaction}\n{browser}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_for_its_purpose_alone_and_never_twice_the_same() {
        let secrets = Secrets::derive(&[7; 32]).unwrap();
        let sealed = secrets.seal("a", "text").unwrap();
        assert_eq!(secrets.open("a", &sealed).unwrap().as_str(), "text");
        assert!(secrets.open("b", &sealed).is_none());
        assert!(secrets.open("a", sealed.split_at(1).1).is_none());
        assert_ne!(sealed, secrets.seal("a", "text").unwrap());
        let other = Secrets::derive(&[8; 32]).unwrap();
        assert!(other.open("a", &sealed).is_none());
    }

    #[test]
    fn a_form_token_is_good_for_one_form_of_one_interaction_in_one_browser() {
        let secrets = Secrets::derive(&[7; 32]).unwrap();
        let token = secrets.form_token("login", "i", "b");
        assert!(secrets.is_form_token(&token, "login", "i", "b"));
        for (purpose, interaction, browser) in [
            ("consent", "i", "b"),
            ("login", "j", "b"),
            ("login", "i", "c"),
        ] {
            assert!(!secrets.is_form_token(&token, purpose, interaction, browser));
        }
        assert!(!secrets.is_form_token("", "login", "i", "b"));
        let other = Secrets::derive(&[8; 32]).unwrap();
        assert!(!other.is_form_token(&token, "login", "i", "b"));
        assert_ne!(secrets.token_hash("x"), other.token_hash("x"));
    }
}
