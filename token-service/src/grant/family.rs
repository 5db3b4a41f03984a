//! Issuing: the access token, the refresh token and the ID token of a grant, and the records
//! that go into one write with whatever pays for them.

use oauth::Scope;
use serde_json::Value;
use service_kit::random;
use store::Batch;

use super::{TokenAnswer, TokenRequest};
use crate::config::GrantType;
use crate::core::Core;
use crate::error::Trouble;
use crate::jws::{self, Claims, Typ};
use crate::record::{self, AccessToken, Grant, RefreshState, RefreshToken, Subject};
use crate::registry::Registry;
use crate::token::{Kind, Minted};

/// Tokens that are made but not yet in the store.
pub(super) struct Issue {
    access: Minted,
    access_record: AccessToken,
    refresh: Option<(Minted, RefreshToken)>,
    id_token: Option<String>,
}

/// What is issued under a grant.
pub(super) struct Order<'a> {
    pub(super) grant_id: &'a str,
    pub(super) grant: &'a Grant,
    /// Of the access token.
    pub(super) scope: Scope,
    /// Requested at the token endpoint.
    pub(super) resources: &'a [String],
    /// Echoed in the ID token.
    pub(super) nonce: Option<&'a str>,
}

impl Issue {
    /// Makes the tokens.
    pub(super) fn make(request: TokenRequest<'_>, order: &Order<'_>) -> Result<Self, Trouble> {
        let TokenRequest {
            core,
            registry,
            client,
            ..
        } = request;
        let access = Kind::AccessToken.mint(&core.secrets)?;
        let access_record = access_record(core, registry, order)?;
        let id_token = id_token(core, order, access.reveal())?;
        let is_approved_by_a_person = matches!(
            order.grant.grant_type,
            GrantType::AuthorizationCode | GrantType::DeviceCode
        );
        let is_renewable = is_approved_by_a_person && client.may_use(GrantType::RefreshToken);
        let refresh = if is_renewable {
            let exp = core.now().plus(core.ttl.refresh_token_idle);
            let refresh_record = RefreshToken {
                state: RefreshState::Live,
                grant: order.grant_id.to_owned(),
                client_id: order.grant.client_id.clone(),
                scope: order.grant.scope.clone(),
                exp: exp.min(order.grant.exp),
            };
            Some((Kind::RefreshToken.mint(&core.secrets)?, refresh_record))
        } else {
            None
        };
        Ok(Self {
            access,
            access_record,
            refresh,
            id_token,
        })
    }

    /// Adds the records to a batch.
    pub(super) fn write(&self, core: &Core, mut batch: Batch) -> Result<Batch, Trouble> {
        let now = core.now();
        batch = batch.put_new(
            record::key::<AccessToken>(self.access.handle.as_str()),
            record::encode(&self.access_record)?,
            Some(record::keep_until(self.access_record.exp, now)),
        );
        if let Some((minted, refresh)) = &self.refresh {
            batch = batch.put_new(
                record::key::<RefreshToken>(minted.handle.as_str()),
                record::encode(refresh)?,
                Some(record::keep_until(refresh.exp, now)),
            );
        }
        Ok(batch)
    }

    pub(super) fn token_ref(&self) -> &str {
        &self.access_record.token_ref
    }

    /// For the client.
    pub(super) fn answer(self) -> TokenAnswer {
        let lifetime = self.access_record.exp.since(self.access_record.issued);
        TokenAnswer {
            access_token: self.access.reveal().to_owned(),
            token_type: "Bearer",
            expires_in: lifetime.as_secs(),
            scope: self.access_record.scope,
            refresh_token: self.refresh.map(|(minted, _)| minted.reveal().to_owned()),
            id_token: self.id_token,
        }
    }
}

fn access_record(
    core: &Core,
    registry: &Registry,
    order: &Order<'_>,
) -> Result<AccessToken, Trouble> {
    let now = core.now();
    let requested = if order.resources.is_empty() {
        &order.grant.resources
    } else {
        order.resources
    };
    let restricted = !requested.is_empty();
    let resources = if restricted {
        requested.to_vec()
    } else {
        // Without a wish, the token is for every resource where its scope means something.
        registry
            .resources()
            .filter(|resource| !resource.scope.intersection(&order.scope).is_empty())
            .map(|resource| resource.id.clone())
            .collect()
    };
    Ok(AccessToken {
        token_ref: random::id()?,
        grant: order.grant_id.to_owned(),
        client_id: order.grant.client_id.clone(),
        scope: order.scope.clone(),
        resources,
        restricted,
        issued: now,
        exp: now.plus(core.ttl.access_token).min(order.grant.exp),
    })
}

/// OpenID Connect Core sections 2, 3.1.3.6 and 12.2.
fn id_token(core: &Core, order: &Order<'_>, access: &str) -> Result<Option<String>, Trouble> {
    let grant = order.grant;
    let (Subject::User(sub), Some(login)) = (&grant.subject, &grant.authentication) else {
        return Ok(None);
    };
    if !order.scope.contains("openid") {
        return Ok(None);
    }
    let now = core.now();
    let mut claims = Claims::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", core.issuer.as_str().into());
    put("sub", sub.as_str().into());
    put("aud", grant.client_id.as_str().into());
    put("iat", now.as_secs().into());
    put("exp", now.plus(core.ttl.id_token).as_secs().into());
    put("auth_time", login.at.as_secs().into());
    put("amr", login.amr.clone().into());
    put("sid", login.sid.as_str().into());
    put("at_hash", jws::at_hash(access).into());
    if let Some(nonce) = order.nonce {
        put("nonce", nonce.into());
    }
    core.sign(Typ::IdToken, &claims).map(Some)
}
