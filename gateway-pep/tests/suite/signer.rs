//! Keys of an issuer that sign whatever a test wants.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use crate::holder::{Holder, base64};

pub(crate) struct Signer {
    algorithm: &'static str,
    pub(crate) jwk: Value,
    pair: Pair,
}

enum Pair {
    Ec(Holder),
    Rsa(&'static RsaKeyPair),
}

pub(crate) fn jwks(signers: &[&Signer]) -> Value {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk.clone()).collect();
    json!({ "keys": keys })
}

impl Signer {
    pub(crate) fn new(kid: &str) -> Self {
        let holder = Holder::new();
        let mut jwk = holder.jwk();
        jwk["kid"] = json!(kid);
        Self {
            algorithm: "ES256",
            jwk,
            pair: Pair::Ec(holder),
        }
    }

    pub(crate) fn rsa(kid: &str, algorithm: &'static str) -> Self {
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

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "kid": self.jwk["kid"], "typ": "at+jwt" })
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// Any text as header and claims.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let pair = match &self.pair {
            Pair::Ec(holder) => return holder.sign(header, claims),
            Pair::Rsa(pair) => pair,
        };
        let text = format!("{}.{}", base64(header), base64(claims));
        let padding = if self.algorithm == "PS256" {
            &RSA_PSS_SHA256
        } else {
            &RSA_PKCS1_SHA256
        };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(
            padding,
            &SystemRandom::new(),
            text.as_bytes(),
            &mut signature,
        )
        .unwrap();
        format!("{text}.{}", base64(signature))
    }
}
