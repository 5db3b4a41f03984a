//! From a code to what the provider says of a person: redeemed, verified (OpenID Connect Core section
//! 3.1.3.7), and asked for at userinfo.

use openidconnect::core::{CoreGenderClaim, CoreJsonWebKey};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClaimsVerificationError, IdTokenVerifier, Nonce,
    NonceVerifier, OAuth2TokenResponse as _, PkceCodeVerifier, RequestTokenError,
    SignatureVerificationError, TokenResponse as _, UserInfoClaims, UserInfoError,
};
use serde_json::Value;
use service_kit::UnixTime;

use crate::{
    Fault, Further, HttpError, IdClaims, Metadata, OidcClient, RelyingParty, SKEW, Tokens,
};

/// Longer codes are nobody's. Bytes.
const LONGEST_CODE: usize = 4096;

/// The keys that are known do not verify it: there may be others by now.
const UNKNOWN_KEY: &str = "the ID token is signed by a key that is not known";

impl RelyingParty {
    /// RFC 9207: the answer is of the provider that was asked, where it says whose it is.
    pub fn check_issuer(&self, metadata: &Metadata, iss: Option<&str>) -> Result<(), Fault> {
        let further = metadata.additional_metadata();
        match iss {
            Some(issuer) if issuer == self.issuer => Ok(()),
            Some(_) => Err(Fault::Invalid("the answer is another provider's")),
            None if further.authorization_response_iss_parameter_supported => {
                Err(Fault::Invalid("the answer does not say whose it is"))
            }
            None => Ok(()),
        }
    }

    /// What a code is worth. None: there is none. `parameters` go along, beside what the protocol names.
    pub async fn redeem(
        &self,
        client: &OidcClient,
        (code, verifier): (Option<&str>, PkceCodeVerifier),
        parameters: &[(&str, &str)],
    ) -> Result<Tokens, Fault> {
        let code = code
            .filter(|code| code.len() <= LONGEST_CODE)
            .ok_or(Fault::Invalid("there is no code"))?;
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| Fault::Down("it has no token endpoint"))?
            .set_pkce_verifier(verifier);
        for (name, value) in parameters {
            request = request.add_extra_param((*name).to_owned(), (*value).to_owned());
        }
        let tokens = request.request_async(&self.http).await;
        tokens.map_err(|error| match error {
            RequestTokenError::ServerResponse(_) => Fault::Denied("it refuses the code"),
            RequestTokenError::Request(error) => Fault::Down(error.reason()),
            _ => Fault::Invalid("its tokens cannot be read"),
        })
    }

    /// The claims of the ID token, every check of which has held.
    pub async fn verified(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        nonce: &Nonce,
        now: UnixTime,
    ) -> Result<IdClaims, Fault> {
        match self.verified_by(metadata, tokens, nonce, now) {
            Err(Fault::Invalid(UNKNOWN_KEY)) => {
                let renewed = self.renewed_metadata().await?;
                self.verified_by(&renewed, tokens, nonce, now)
            }
            other => other,
        }
    }

    pub(crate) fn verified_by(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        nonce: impl NonceVerifier,
        now: UnixTime,
    ) -> Result<IdClaims, Fault> {
        let missing = Fault::Invalid("there is no ID token");
        let id_token = tokens.id_token().ok_or(missing)?;
        let verifier = self.id_token_verifier(metadata, now);
        let claims = id_token
            .claims(&verifier, nonce)
            .map_err(|error| invalid(&error))?;
        if let Some(party) = claims.authorized_party()
            && party.as_str() != self.client_id
        {
            return Err(Fault::Invalid("the ID token is for another party"));
        }
        check_access_token(tokens, claims, &verifier)?;
        let sub = claims.subject().as_str();
        if sub.is_empty() || sub.len() > 255 {
            return Err(Fault::Invalid("the subject is no subject"));
        }
        let auth_time = claims.auth_time().map(|at| seconds(at.timestamp()));
        if auth_time.is_some_and(|at| at > now.plus(SKEW)) {
            return Err(Fault::Invalid("the login is to come"));
        }
        Ok(claims.clone())
    }

    /// What the userinfo endpoint says, of the same person. None: there is no such endpoint.
    pub async fn userinfo(
        &self,
        client: &OidcClient,
        tokens: &Tokens,
        said: &IdClaims,
    ) -> Result<Option<Value>, Fault> {
        let sub = said.subject().clone();
        let Ok(request) = client.user_info(tokens.access_token().clone(), Some(sub)) else {
            return Ok(None);
        };
        let answer: Result<UserInfoClaims<Further, CoreGenderClaim>, UserInfoError<HttpError>> =
            request.request_async(&self.http).await;
        let claims = answer.map_err(|error| match error {
            UserInfoError::Request(error) => Fault::Down(error.reason()),
            UserInfoError::ClaimsVerification(_) => Fault::Invalid("userinfo is of somebody else"),
            _ => Fault::Invalid("userinfo cannot be read"),
        })?;
        serde_json::to_value(&claims)
            .map(Some)
            .map_err(|_| Fault::Invalid("userinfo cannot be read"))
    }
}

/// What the provider said instead of a code.
pub fn refused(error: &str) -> Fault {
    match error {
        "access_denied" => Fault::Denied("access_denied"),
        "server_error" | "temporarily_unavailable" => Fault::Down("it says so itself"),
        "login_required" | "interaction_required" | "consent_required" => {
            Fault::Denied("it would have to ask")
        }
        _ => Fault::Invalid("it refuses the request"),
    }
}

/// Nothing was before 1970.
pub fn seconds(timestamp: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(timestamp).unwrap_or_default())
}

/// OpenID Connect Core section 3.1.3.8.
fn check_access_token(
    tokens: &Tokens,
    claims: &IdClaims,
    verifier: &IdTokenVerifier<'_, CoreJsonWebKey>,
) -> Result<(), Fault> {
    const UNFIT: Fault = Fault::Invalid("`at_hash` cannot be checked");
    let (Some(said), Some(id_token)) = (claims.access_token_hash(), tokens.id_token()) else {
        return Ok(());
    };
    let alg = id_token.signing_alg().map_err(|_| UNFIT)?;
    let key = id_token.signing_key(verifier).map_err(|_| UNFIT)?;
    let actual = AccessTokenHash::from_token(tokens.access_token(), alg, key).map_err(|_| UNFIT)?;
    if actual == *said {
        Ok(())
    } else {
        Err(Fault::Invalid("the access token is another one"))
    }
}

fn invalid(error: &ClaimsVerificationError) -> Fault {
    use SignatureVerificationError as Signature;
    Fault::Invalid(match error {
        ClaimsVerificationError::Expired(_) => "the ID token has expired, or is to come",
        ClaimsVerificationError::InvalidAudience(_) => "the ID token is for others",
        ClaimsVerificationError::InvalidIssuer(_) => "the ID token is another issuer's",
        ClaimsVerificationError::InvalidNonce(_) => "the ID token is of another login",
        ClaimsVerificationError::SignatureVerification(Signature::NoMatchingKey) => UNKNOWN_KEY,
        ClaimsVerificationError::SignatureVerification(
            Signature::NoSignature | Signature::DisallowedAlg(_) | Signature::UnsupportedAlg(_),
        ) => "the ID token is not signed, or by an algorithm that is not offered",
        ClaimsVerificationError::SignatureVerification(_) => "the ID token's signature",
        _ => "the ID token",
    })
}
