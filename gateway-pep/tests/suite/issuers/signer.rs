//! Keys of an issuer that sign whatever a test wants.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};

use crate::holder::base64;

pub(super) struct Signer {
    algorithm: &'static str,
    pub(super) jwk: Value,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(&'static RsaKeyPair),
}

pub(super) fn jwks(signers: &[&Signer]) -> Value {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk.clone()).collect();
    json!({ "keys": keys })
}

impl Signer {
    pub(super) fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        Self {
            algorithm: "ES256",
            jwk: json!({ "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y), "kid": kid }),
            pair: Pair::Ec(pair),
        }
    }

    pub(super) fn rsa(kid: &str, algorithm: &'static str) -> Self {
        // Making one takes long.
        static PAIR: LazyLock<RsaKeyPair> =
            LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        let pair = &*PAIR;
        // RSAPublicKey (RFC 8017 appendix A.1.1) of 2048 bits and the usual exponent.
        let der = pair.public_key().as_ref();
        let (n, e) = (base64(&der[9..265]), base64(&der[der.len() - 3..]));
        Self {
            algorithm,
            jwk: json!({ "kty": "RSA", "n": n, "e": e, "kid": kid, "alg": algorithm }),
            pair: Pair::Rsa(pair),
        }
    }

    pub(super) fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "kid": self.jwk["kid"], "typ": "at+jwt" })
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// Any text as header and claims.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let text = format!("{}.{}", base64(header), base64(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ec(pair) => pair
                .sign(&random, text.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Pair::Rsa(pair) => {
                let padding = if self.algorithm == "PS256" {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, text.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
        };
        format!("{text}.{}", base64(signature))
    }
}
