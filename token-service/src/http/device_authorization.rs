//! `POST /device_authorization` (RFC 8628 sections 3.1 and 3.2): a device without a browser asks for
//! a code to poll with, and for a short one that a person types elsewhere.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::json;
use store::Batch;

use super::limits::{self, Limited};
use super::{authorize, client_auth, device, render, request};
use crate::audit::audit;
use crate::config::GrantType;
use crate::core::Core;
use crate::error::Trouble;
use crate::params::Params;
use crate::record::{self, DeviceCode, DeviceState, UserCodeUse};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::{Client, Registry};
use crate::token::{Kind, Minted, UserCode};

/// A user code may be taken: they are short. This often in a row it is not chance.
const ATTEMPTS: usize = 8;

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let result = answer(&core, request).await;
    render::finish(&core, "device_authorization", result)
}

async fn answer(core: &Core, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = request::posted(request).await?;
    let registry = core.registry();
    let client = client_auth::client(core, &registry, &parts, &params).await?;
    limits::check(core, &parts, Limited::DeviceAuthorization, &client).await?;
    let code = wanted(core, &registry, &client, &params)?;
    let (device_code, user_code) = keep(core, &code).await?;
    audit!(
        "device_code_issued",
        client = code.client_id,
        scope = code.scope
    );
    let page = |code| core.issuer.endpoint(&device::endpoint(code));
    Ok(render::json(&json!({
        "device_code": device_code.reveal(),
        "user_code": user_code.shown(),
        "verification_uri": page(None),
        "verification_uri_complete": page(Some(&user_code)),
        "expires_in": core.ttl.device_code.as_secs(),
        "interval": core.ttl.device_poll.as_secs(),
    })))
}

fn wanted(
    core: &Core,
    registry: &Registry,
    client: &Client,
    params: &Params,
) -> Result<DeviceCode, Refusal> {
    if !client.may_use(GrantType::DeviceCode) {
        return Err(Refusal::Denied(
            ErrorCode::UnauthorizedClient,
            "the client is not registered for this grant type",
        ));
    }
    let denied = |(code, text)| Refusal::Denied(code, text);
    Ok(DeviceCode {
        state: DeviceState::Pending,
        client_id: client.id.clone(),
        scope: authorize::scope(client, params).map_err(denied)?,
        resources: authorize::resources(registry, params).map_err(denied)?,
        exp: core.now().plus(core.ttl.device_code),
    })
}

/// Keeps the request under both its codes.
async fn keep(core: &Core, code: &DeviceCode) -> Result<(Minted, UserCode), Trouble> {
    let device_code = Kind::DeviceCode.mint(&core.secrets)?;
    let handle = device_code.handle.as_str();
    let now = core.now();
    for _ in 0..ATTEMPTS {
        let user_code = UserCode::mint()?;
        let user_code_use = UserCodeUse {
            device: handle.to_owned(),
        };
        let batch = Batch::new()
            .put_new(
                record::key::<DeviceCode>(handle),
                record::encode(code)?,
                Some(code.keep(now)),
            )
            .put_new(
                record::key::<UserCodeUse>(user_code.handle(&core.secrets).as_str()),
                record::encode(&user_code_use)?,
                Some(record::keep_until(code.exp, now)),
            );
        if core.store.commit(batch).await?.is_applied() {
            return Ok((device_code, user_code));
        }
    }
    Err(Trouble::Busy)
}
