//! One key: made, sealed, opened, and used.

use std::fmt;

use aws_lc_rs::aead::{Aad, Nonce};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::config::SigningAlgorithm;
use crate::error::Trouble;
use crate::secrets::Secrets;

/// A key that is ready to sign.
pub(crate) struct SigningKey {
    algorithm: SigningAlgorithm,
    pair: Pair,
    kid: String,
    /// The public half.
    jwk: Value,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

/// A fresh key and its sealed form.
pub(crate) struct Made {
    pub(crate) key: SigningKey,
    pub(crate) sealed: String,
}

const NONCE: usize = 12;

impl SigningKey {
    /// Makes a key, as PKCS#8.
    pub(crate) fn generate(algorithm: SigningAlgorithm) -> Option<Zeroizing<Vec<u8>>> {
        generate(algorithm)
    }

    /// Seals a key for the store.
    pub(crate) fn seal(
        algorithm: SigningAlgorithm,
        document: &Zeroizing<Vec<u8>>,
        secrets: &Secrets,
    ) -> Result<Made, Trouble> {
        let key = Self::from_pkcs8(algorithm, document)?;
        let mut sealed = document.to_vec();
        let nonce = secrets
            .sealing
            .seal_in_place_append_tag(Aad::from(key.kid.as_bytes()), &mut sealed)
            .map_err(|_| Trouble::Crypto {
                message: "key generation",
            })?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        Ok(Made {
            key,
            sealed: URL_SAFE_NO_PAD.encode(bytes),
        })
    }

    /// Opens a sealed key. None: it was sealed with another secret, or changed.
    pub(crate) fn open(
        algorithm: SigningAlgorithm,
        kid: &str,
        sealed: &str,
        secrets: &Secrets,
    ) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let pkcs8 = secrets
            .sealing
            .open_in_place(nonce, Aad::from(kid.as_bytes()), &mut text)
            .ok()?;
        let key = Self::from_pkcs8(algorithm, pkcs8).ok()?;
        (key.kid == kid).then_some(key)
    }

    /// The RFC 7638 thumbprint.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The public half as a JWK.
    pub(crate) fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// As JWS wants it (RFC 7518 section 3, RFC 8037 section 3.1).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Trouble> {
        let broken = |_| Trouble::Crypto { message: "signing" };
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => {
                let signature = pair.sign(&random, message).map_err(broken)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(*padding, &random, message, &mut signature);
                signed.map_err(broken)?;
                Ok(signature)
            }
        }
    }

    fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, Trouble> {
        let (pair, members) = read(algorithm, pkcs8).ok_or(Trouble::Crypto {
            message: "a key cannot be read",
        })?;
        let Some(kid) = jose::thumbprint(&members) else {
            return Err(Trouble::Crypto {
                message: "a key has no thumbprint",
            });
        };
        let mut jwk = members;
        let mut put = |name: &str, value: &str| jwk.insert(name.to_owned(), value.into());
        put("kid", &kid);
        put("use", "sig");
        put("alg", algorithm.as_str());
        Ok(Self {
            algorithm,
            pair,
            kid,
            jwk: Value::Object(jwk),
        })
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 appendix A.1.1): two whole numbers in DER.
fn numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
        let (own, rest) = der.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (len, rest) = match usize::from(*first) {
            short @ 0..0x80 => (short, rest),
            // So many bytes of the length follow.
            long => {
                let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
                let add = |len: usize, byte: &u8| len << 8 | usize::from(*byte);
                (bytes.iter().fold(0, add), rest)
            }
        };
        rest.split_at_checked(len).filter(|_| *own == tag)
    }
    let (numbers, _) = element(der, SEQUENCE)?;
    let (n, rest) = element(numbers, INTEGER)?;
    let (e, _) = element(rest, INTEGER)?;
    // A zero may stand before the number, which says that it is not negative.
    let trim = |number: &[u8]| number.iter().take_while(|byte| **byte == 0).count();
    Some((n.get(trim(n)..)?, e.get(trim(e)..)?))
}

fn generate(algorithm: SigningAlgorithm) -> Option<Zeroizing<Vec<u8>>> {
    let random = SystemRandom::new();
    let bytes = match algorithm {
        SigningAlgorithm::Es256 => {
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
            made.ok()?.as_ref().to_vec()
        }
        SigningAlgorithm::EdDsa => {
            let made = Ed25519KeyPair::generate_pkcs8(&random);
            made.ok()?.as_ref().to_vec()
        }
        SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => {
            let made = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
            let der: Pkcs8V1Der<'_> = made.as_der().ok()?;
            der.as_ref().to_vec()
        }
    };
    Some(Zeroizing::new(bytes))
}

/// The key, and what makes it the key that it is.
fn read(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Option<(Pair, Map<String, Value>)> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (pair, members) = match algorithm {
        SigningAlgorithm::Es256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
            // Uncompressed point: 0x04, x, y.
            let point = pair.public_key().as_ref();
            let (x, y) = (encode(point.get(1..33)?), encode(point.get(33..65)?));
            (
                Pair::Ec(pair),
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }),
            )
        }
        SigningAlgorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
            let x = encode(pair.public_key().as_ref());
            (
                Pair::Ed(pair),
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
            )
        }
        SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => {
            let pair = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
            let (n, e) = numbers(pair.public_key().as_ref())?;
            let (n, e) = (encode(n), encode(e));
            let padding: &'static dyn RsaEncoding = if algorithm == SigningAlgorithm::Rs256 {
                &RSA_PKCS1_SHA256
            } else {
                &RSA_PSS_SHA256
            };
            (
                Pair::Rsa(pair, padding),
                json!({ "kty": "RSA", "n": n, "e": e }),
            )
        }
    };
    match members {
        Value::Object(members) => Some((pair, members)),
        _ => None,
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.kid)
    }
}
