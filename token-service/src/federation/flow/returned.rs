//! From a code to what the provider says of a person: redeemed, verified (OpenID Connect Core section
//! 3.1.3.7), and asked for at userinfo.

use openidconnect::core::{CoreGenderClaim, CoreJsonWebKey};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClaimsVerificationError, IdTokenVerifier,
    OAuth2TokenResponse as _, RequestTokenError, SignatureVerificationError, TokenResponse as _,
    UserInfoClaims, UserInfoError,
};
use serde_json::Value;
use service_kit::UnixTime;
use zeroize::Zeroizing;

use super::client::{
    Further, OidcClient, Tokens, client, id_token_verifier, nonce, seconds, verifier,
};
use super::{Begun, SKEW};
use crate::core::Core;
use crate::federation::Stop;
use crate::federation::claims::Claims;
use crate::params::Params;
use crate::provider::{Fault, HttpError, Metadata, Provider};

/// What the provider says: every check has held.
pub(crate) struct Returned {
    pub(in crate::federation) sub: String,
    /// The provider's id of the login.
    pub(in crate::federation) sid: Option<String>,
    pub(in crate::federation) issued: UnixTime,
    /// When it has seen the person.
    pub(in crate::federation) auth_time: Option<UnixTime>,
    pub(in crate::federation) acr: Option<String>,
    pub(in crate::federation) amr: Vec<String>,
    pub(in crate::federation) claims: Claims,
    pub(in crate::federation) id_token: Zeroizing<String>,
}

type IdClaims = openidconnect::IdTokenClaims<Further, CoreGenderClaim>;

/// Longer codes are nobody's. Bytes.
const LONGEST_CODE: usize = 4096;

impl Begun {
    /// What the provider says of who has come back.
    pub(crate) async fn returned(
        &self,
        core: &Core,
        provider: &Provider,
        params: &Params,
    ) -> Result<Returned, Stop> {
        let metadata = provider.metadata().await?;
        check_issuer(provider, &metadata, params)?;
        if let Some(error) = params.get("error") {
            return Err(refused(error).into());
        }
        let code = params
            .get("code")
            .filter(|code| code.len() <= LONGEST_CODE)
            .ok_or(Fault::Invalid("there is no code"))?;
        let client = client(core, provider, &metadata)?;
        let tokens = self.redeem(core, provider, &client, code).await?;
        let said = match self.verified(core, provider, &metadata, &tokens) {
            Err(Fault::Invalid(UNKNOWN_KEY)) => {
                let renewed = provider.renewed_metadata().await?;
                self.verified(core, provider, &renewed, &tokens)?
            }
            other => other?,
        };
        let userinfo = userinfo(provider, &client, &tokens, &said).await?;
        read(&tokens, &said, userinfo).map_err(Stop::Fault)
    }

    async fn redeem(
        &self,
        core: &Core,
        provider: &Provider,
        client: &OidcClient,
        code: &str,
    ) -> Result<Tokens, Fault> {
        let tokens = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| Fault::Down("it has no token endpoint"))?
            .set_pkce_verifier(verifier(&core.secrets, &self.state))
            .request_async(&provider.http)
            .await;
        tokens.map_err(|error| match error {
            RequestTokenError::ServerResponse(_) => Fault::Denied("it refuses the code"),
            RequestTokenError::Request(error) => Fault::Down(error.reason()),
            _ => Fault::Invalid("its tokens cannot be read"),
        })
    }

    /// The claims of the ID token, every check of which has held.
    fn verified(
        &self,
        core: &Core,
        provider: &Provider,
        metadata: &Metadata,
        tokens: &Tokens,
    ) -> Result<IdClaims, Fault> {
        let missing = Fault::Invalid("there is no ID token");
        let id_token = tokens.id_token().ok_or(missing)?;
        let verifier = id_token_verifier(provider, metadata, core.now());
        let nonce = nonce(&core.secrets, &self.state);
        let claims = id_token
            .claims(&verifier, &nonce)
            .map_err(|error| invalid(&error))?;
        if let Some(party) = claims.authorized_party()
            && party.as_str() != provider.client_id
        {
            return Err(Fault::Invalid("the ID token is for another party"));
        }
        check_access_token(tokens, claims, &verifier)?;
        let sub = claims.subject().as_str();
        if sub.is_empty() || sub.len() > 255 {
            return Err(Fault::Invalid("the subject is no subject"));
        }
        self.check_time(claims, core.now())?;
        Ok(claims.clone())
    }

    /// The provider has seen the person as lately as the application wants.
    fn check_time(&self, claims: &IdClaims, now: UnixTime) -> Result<(), Fault> {
        let auth_time = claims.auth_time().map(|at| seconds(at.timestamp()));
        if auth_time.is_some_and(|at| at > now.plus(SKEW)) {
            return Err(Fault::Invalid("the login is to come"));
        }
        match self.login.seen_since {
            Some(since) if auth_time.is_none_or(|at| at < since) => Err(Fault::Stale),
            _ => Ok(()),
        }
    }
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

fn read(tokens: &Tokens, said: &IdClaims, userinfo: Option<Value>) -> Result<Returned, Fault> {
    let id_token = serde_json::to_value(said)
        .map_err(|_| Fault::Invalid("the ID token's claims cannot be read"))?;
    let sid = id_token.get("sid").and_then(Value::as_str);
    let amr = said.auth_method_refs().into_iter().flatten();
    let text = tokens.id_token().map(ToString::to_string);
    Ok(Returned {
        sub: said.subject().to_string(),
        sid: sid.map(str::to_owned),
        issued: seconds(said.issue_time().timestamp()),
        auth_time: said.auth_time().map(|at| seconds(at.timestamp())),
        acr: said.auth_context_ref().map(|acr| acr.to_string()),
        amr: amr.map(|amr| amr.to_string()).collect(),
        id_token: Zeroizing::new(text.unwrap_or_default()),
        claims: Claims::of(id_token, userinfo),
    })
}

/// RFC 9207: the answer is of the provider that was asked, where it says whose it is.
fn check_issuer(provider: &Provider, metadata: &Metadata, params: &Params) -> Result<(), Fault> {
    let further = metadata.additional_metadata();
    match params.get("iss") {
        Some(issuer) if issuer == provider.issuer => Ok(()),
        Some(_) => Err(Fault::Invalid("the answer is another provider's")),
        None if further.authorization_response_iss_parameter_supported => {
            Err(Fault::Invalid("the answer does not say whose it is"))
        }
        None => Ok(()),
    }
}

/// What the provider said instead of a code.
fn refused(error: &str) -> Fault {
    match error {
        "access_denied" => Fault::Denied("access_denied"),
        "server_error" | "temporarily_unavailable" => Fault::Down("it says so itself"),
        "login_required" | "interaction_required" | "consent_required" => {
            Fault::Denied("it would have to ask")
        }
        _ => Fault::Invalid("it refuses the request"),
    }
}

/// What the userinfo endpoint says, of the same person. None: there is no such endpoint.
async fn userinfo(
    provider: &Provider,
    client: &OidcClient,
    tokens: &Tokens,
    said: &IdClaims,
) -> Result<Option<Value>, Fault> {
    let sub = said.subject().clone();
    let Ok(request) = client.user_info(tokens.access_token().clone(), Some(sub)) else {
        return Ok(None);
    };
    let answer: Result<UserInfoClaims<Further, CoreGenderClaim>, UserInfoError<HttpError>> =
        request.request_async(&provider.http).await;
    let claims = answer.map_err(|error| match error {
        UserInfoError::Request(error) => Fault::Down(error.reason()),
        UserInfoError::ClaimsVerification(_) => Fault::Invalid("userinfo is of somebody else"),
        _ => Fault::Invalid("userinfo cannot be read"),
    })?;
    serde_json::to_value(&claims)
        .map(Some)
        .map_err(|_| Fault::Invalid("userinfo cannot be read"))
}

/// The keys that are known do not verify it: there may be others by now.
const UNKNOWN_KEY: &str = "the ID token is signed by a key that is not known";

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
