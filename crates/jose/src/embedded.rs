//! A token that brings the public key that it is signed with (RFC 7515 section 4.1.3): it proves that
//! whoever made it has the other half, and nothing else.

use serde_json::Value;
use strict_json::Properties;

use crate::jwk::{KeySet, thumbprint};
use crate::jws::{Accepted, Fault, Parts, read_header};

/// A token whose signature holds by the key in its own header.
#[derive(Debug)]
pub struct Embedded {
    /// Names the key (RFC 7638, SHA-256), in 43 characters.
    pub thumbprint: String,
    pub claims: Properties,
}

impl Embedded {
    pub fn verify(token: &str, accepted: Accepted) -> Result<Self, Fault> {
        let Parts {
            signed,
            signature,
            header,
            claims,
        } = Parts::of(token)?;
        let algorithm = read_header(&header, accepted)?;
        let no_key = Fault::NoPublicKey;
        let Some(Value::Object(jwk)) = header.get("jwk") else {
            return Err(no_key);
        };
        let keys = KeySet::of_one(jwk);
        let key = keys.find(algorithm, None).map_err(|_| no_key)?;
        key.verify_sig(signed.as_bytes(), &signature)
            .map_err(|_| Fault::Signature)?;
        Ok(Self {
            thumbprint: thumbprint(jwk).ok_or(no_key)?,
            claims,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9449 section 4.1, figure 2: the proof at a token endpoint.
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

    const TYPES: Accepted = Accepted {
        types: &["dpop+jwt"],
        untyped: false,
    };

    #[test]
    fn the_proof_of_the_rfc_holds_by_the_key_that_the_rfc_names() {
        let proof = Embedded::verify(PROOF, TYPES).unwrap();
        assert_eq!(
            proof.thumbprint,
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
        assert_eq!(proof.claims["htm"], "POST");
    }
}
