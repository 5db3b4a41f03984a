//! From a code to what the provider says of a person: redeemed, verified, and asked for at userinfo.

use openidconnect::TokenResponse as _;
use relying_party::{IdClaims, Tokens, refused, seconds};
use serde_json::Value;
use service_kit::UnixTime;
use zeroize::Zeroizing;

use super::Begun;
use super::client::{client, nonce, verifier};
use crate::core::Core;
use crate::federation::Stop;
use crate::federation::claims::Claims;
use crate::params::Params;
use crate::provider::{Fault, Provider};

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

impl Begun {
    /// What the provider says of who has come back.
    pub(crate) async fn returned(
        &self,
        core: &Core,
        provider: &Provider,
        params: &Params,
    ) -> Result<Returned, Stop> {
        let party = &provider.party;
        let metadata = party.metadata().await?;
        party.check_issuer(&metadata, params.get("iss"))?;
        if let Some(error) = params.get("error") {
            return Err(refused(error).into());
        }
        let client = client(core, provider, &metadata)?;
        let code = (params.get("code"), verifier(&core.secrets, &self.state));
        let tokens = party.redeem(&client, code, &[]).await?;
        let nonce = nonce(&core.secrets, &self.state);
        let said = party
            .verified(&metadata, &tokens, &nonce, core.now())
            .await?;
        self.check_age(&said)?;
        let userinfo = party.userinfo(&client, &tokens, &said).await?;
        read(&tokens, &said, userinfo).map_err(Stop::Fault)
    }

    /// The provider has seen the person as lately as the application wants.
    fn check_age(&self, claims: &IdClaims) -> Result<(), Fault> {
        let auth_time = claims.auth_time().map(|at| seconds(at.timestamp()));
        match self.login.seen_since {
            Some(since) if auth_time.is_none_or(|at| at < since) => Err(Fault::Stale),
            _ => Ok(()),
        }
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
