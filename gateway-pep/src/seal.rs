//! Values that only gateways with the same secret can read or make, and names that only they can know.
//!
//! A sealed value is bound to its name, so that it cannot be moved to another.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_kit::{Secret, random};

/// Seals and names the values of one purpose.
#[derive(Clone)]
pub(crate) struct Seal {
    naming: hmac::Key,
    sealing: Arc<LessSafeKey>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Seal(…)")
    }
}

impl Seal {
    /// Keys for one purpose. None where the secret cannot make keys, which does not happen.
    pub(crate) fn new(secret: &Secret, purpose: &str) -> Option<Self> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
        let derive = |key: &str| hmac::sign(&root, format!("{purpose}: {key}").as_bytes());
        let naming = hmac::Key::new(hmac::HMAC_SHA256, derive("naming").as_ref());
        let sealing = UnboundKey::new(&AES_256_GCM, derive("sealing").as_ref()).ok()?;
        Some(Self {
            naming,
            sealing: Arc::new(LessSafeKey::new(sealing)),
        })
    }

    /// 43 characters that stand for a text, and tell nobody what it is.
    pub(crate) fn name(&self, text: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.naming, text).as_ref())
    }

    pub(crate) fn seal<T: Serialize>(&self, name: &str, value: &T) -> Option<Vec<u8>> {
        let nonce = random::bytes::<NONCE_LEN>().ok()?;
        let mut sealed = serde_json::to_vec(value).ok()?;
        self.sealing
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut sealed,
            )
            .ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    /// None: it was not sealed here, or under another name.
    pub(crate) fn open<T: DeserializeOwned>(&self, name: &str, value: &[u8]) -> Option<T> {
        let (nonce, sealed) = value.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .sealing
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut sealed);
        serde_json::from_slice(plain.ok()?).ok()
    }
}
