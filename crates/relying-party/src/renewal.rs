//! New tokens for a refresh token (OpenID Connect Core section 12), and giving one back.

use openidconnect::core::CoreErrorResponseType;
use openidconnect::{Nonce, RefreshToken, RequestTokenError, TokenResponse as _};
use service_kit::UnixTime;

use crate::{Fault, IdClaims, Metadata, OidcClient, RelyingParty, Tokens};

/// What came of a refresh token.
#[derive(Debug)]
pub struct Renewed {
    pub tokens: Tokens,
    /// Of the new ID token, where there is one.
    pub said: Option<IdClaims>,
}

impl RelyingParty {
    /// Trades a refresh token for new tokens. [`Fault::Denied`]: it is no good any more; by any other fault
    /// nothing is known of it. A new ID token must be of the same person, `sub`.
    pub async fn renew(
        &self,
        (client, metadata): (&OidcClient, &Metadata),
        (refresh_token, sub): (&str, &str),
        parameters: &[(&str, &str)],
        now: UnixTime,
    ) -> Result<Renewed, Fault> {
        let token = RefreshToken::new(refresh_token.to_owned());
        let mut request = client
            .exchange_refresh_token(&token)
            .map_err(|_| Fault::Down("it has no token endpoint"))?;
        for (name, value) in parameters {
            request = request.add_extra_param((*name).to_owned(), (*value).to_owned());
        }
        let tokens = request.request_async(&self.http).await;
        let tokens = tokens.map_err(|error| match error {
            RequestTokenError::ServerResponse(said) => match said.error() {
                // Whatever else it says is of us, or of the moment.
                CoreErrorResponseType::InvalidGrant => {
                    Fault::Denied("it refuses the refresh token")
                }
                _ => Fault::Down("it refuses to renew"),
            },
            RequestTokenError::Request(error) => Fault::Down(error.reason()),
            _ => Fault::Down("its tokens cannot be read"),
        })?;
        let said = match tokens.id_token() {
            None => None,
            Some(_) => Some(self.verified_again(metadata, &tokens, sub, now).await?),
        };
        Ok(Renewed { tokens, said })
    }

    /// Section 12.2: of the same person and for us; a nonce need not be there.
    async fn verified_again(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        sub: &str,
        now: UnixTime,
    ) -> Result<IdClaims, Fault> {
        let any = |_: Option<&Nonce>| Ok(());
        let mut said = self.verified_by(metadata, tokens, any, now);
        if matches!(said, Err(Fault::Invalid(_))) {
            let renewed = self.renewed_metadata().await?;
            said = self.verified_by(&renewed, tokens, any, now);
        }
        let said = said?;
        if said.subject().as_str() != sub {
            return Err(Fault::Invalid("the new ID token is of somebody else"));
        }
        Ok(said)
    }
}
