//! Issuing: the access token, the refresh token and the ID token of a grant, and the records
//! that go into one write with whatever pays for them.

use oauth::Scope;
use serde_json::Value;
use service_kit::{UnixTime, random};
use store::Batch;

use super::{TokenAnswer, TokenRequest};
use crate::config::GrantType;
use crate::core::Core;
use crate::error::Trouble;
use crate::jws::{self, Claims, Typ};
use crate::record::{
    self, AccessToken, Grant, RefreshState, RefreshToken, Subject, TokenReference,
};
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
    /// The tokens are made of the text of the refresh token before them, and of a seed.
    pub(super) after: Option<(&'a str, &'a str)>,
}

impl Issue {
    /// Makes the tokens.
    pub(super) fn make(request: TokenRequest<'_>, order: &Order<'_>) -> Result<Self, Trouble> {
        let TokenRequest { core, client, .. } = request;
        let access = order.mint(core, Kind::AccessToken)?;
        let access_record = access_record(request, order)?;
        let id_token = id_token(request, order, &order.scope, access.reveal())?;
        let is_renewed =
            order.grant.grant_type.is_renewable() && client.may_use(GrantType::RefreshToken);
        let refresh = if is_renewed {
            let exp = core.now().plus(core.ttl.refresh_token_idle);
            let refresh_record = RefreshToken {
                state: RefreshState::Live,
                grant: order.grant_id.to_owned(),
                client_id: order.grant.client_id.clone(),
                scope: order.grant.scope.clone(),
                exp: exp.min(order.grant.exp),
                // Other clients prove who they are each time (RFC 9449 section 5).
                key: request
                    .key
                    .filter(|_| client.is_public())
                    .map(str::to_owned),
                // RFC 8705 section 4: the same.
                certificate: request
                    .binding_certificate()
                    .filter(|_| client.is_public())
                    .map(str::to_owned),
                rotation: None,
            };
            Some((order.mint(core, Kind::RefreshToken)?, refresh_record))
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

    /// The tokens that were issued for this order before, if nothing has been done with the refresh
    /// token since. The order has what was asked for then.
    pub(super) async fn again(
        request: TokenRequest<'_>,
        order: &Order<'_>,
    ) -> Result<Option<Self>, Trouble> {
        let core = request.core;
        let access = order.mint(core, Kind::AccessToken)?;
        let refresh = order.mint(core, Kind::RefreshToken)?;
        let access_record =
            record::load::<AccessToken>(&*core.store, access.handle.as_str()).await?;
        let refresh_record =
            record::load::<RefreshToken>(&*core.store, refresh.handle.as_str()).await?;
        let (Some(access_record), Some(refresh_record)) = (access_record, refresh_record) else {
            return Ok(None);
        };
        let (access_record, refresh_record) = (access_record.record, refresh_record.record);
        if refresh_record.state != RefreshState::Live || core.now() >= access_record.exp {
            return Ok(None);
        }
        let id_token = id_token(request, order, &access_record.scope, access.reveal())?;
        Ok(Some(Self {
            access,
            access_record,
            refresh: Some((refresh, refresh_record)),
            id_token,
        }))
    }

    /// Writes the records together with the batch that pays for them. Whether its conditions held:
    /// if not, nothing is written.
    pub(super) async fn commit(&self, core: &Core, batch: Batch) -> Result<bool, Trouble> {
        let commit = core.store.commit(self.write(core, batch)?);
        Ok(commit.await?.is_applied())
    }

    /// Adds the records to a batch.
    fn write(&self, core: &Core, mut batch: Batch) -> Result<Batch, Trouble> {
        let now = core.now();
        let (access, exp) = (&self.access_record, self.access_record.exp);
        let handle = self.access.handle.as_str();
        batch = record::put_new(batch, handle, access, exp, now)?;
        let reference = TokenReference {
            handle: handle.to_owned(),
        };
        batch = record::put_new(batch, self.token_ref(), &reference, exp, now)?;
        if let Some((minted, refresh)) = &self.refresh {
            let handle = minted.handle.as_str();
            batch = record::put_new(batch, handle, refresh, refresh.exp, now)?;
        }
        Ok(batch)
    }

    pub(super) fn token_ref(&self) -> &str {
        &self.access_record.token_ref
    }

    /// The access token itself; good once it is written.
    pub(super) fn access_token(&self) -> &str {
        self.access.reveal()
    }

    /// For the client.
    pub(super) fn answer(self, now: UnixTime) -> TokenAnswer {
        let lifetime = self.access_record.exp.since(now);
        TokenAnswer {
            access_token: self.access.reveal().to_owned(),
            issued_token_type: None,
            token_type: self.access_record.token_type(),
            expires_in: lifetime.as_secs(),
            scope: self.access_record.scope,
            refresh_token: self.refresh.map(|(minted, _)| minted.reveal().to_owned()),
            id_token: self.id_token,
        }
    }
}

impl<'a> Order<'a> {
    /// What comes first: all that the grant has.
    pub(super) fn first(grant_id: &'a str, grant: &'a Grant, resources: &'a [String]) -> Self {
        Self {
            grant_id,
            grant,
            scope: grant.scope.clone(),
            resources,
            nonce: None,
            after: None,
        }
    }

    fn mint(&self, core: &Core, kind: Kind) -> Result<Minted, Trouble> {
        match self.after {
            None => kind.mint(&core.secrets),
            Some((token, seed)) => Ok(kind.after(token, seed, &core.secrets)),
        }
    }
}

fn access_record(request: TokenRequest<'_>, order: &Order<'_>) -> Result<AccessToken, Trouble> {
    let TokenRequest {
        core,
        registry,
        key,
        ..
    } = request;
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
        key: key.map(str::to_owned),
        certificate: request.binding_certificate().map(str::to_owned),
    })
}

/// OpenID Connect Core sections 2, 3.1.3.6 and 12.2.
fn id_token(
    request: TokenRequest<'_>,
    order: &Order<'_>,
    scope: &Scope,
    access: &str,
) -> Result<Option<String>, Trouble> {
    let (core, algorithm) = (request.core, request.client.id_token_alg);
    let grant = order.grant;
    let (Subject::User(sub), Some(login)) = (&grant.subject, &grant.authentication) else {
        return Ok(None);
    };
    if !scope.contains("openid") {
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
    if !login.amr.is_empty() {
        put("amr", login.amr.clone().into());
    }
    if let Some(acr) = &login.acr {
        put("acr", acr.as_str().into());
    }
    put("sid", login.sid.as_str().into());
    put("at_hash", jws::at_hash(algorithm, access).into());
    if let Some(nonce) = order.nonce {
        put("nonce", nonce.into());
    }
    core.sign(Typ::IdToken, algorithm, &claims).map(Some)
}
