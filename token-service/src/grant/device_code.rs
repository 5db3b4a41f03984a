//! `grant_type=urn:ietf:params:oauth:grant-type:device_code` (RFC 8628 sections 3.4 and 3.5): a
//! device polls until a person has answered elsewhere.
//!
//! An approved code buys one family of tokens, by one conditional write. Whoever comes later gets
//! nothing, and the family lives: unlike an authorization code, this one passes through no
//! browser, and a device whose answer was lost is told to poll again (section 3.5).

use service_kit::random;
use store::Batch;

use super::approved::Approved;
use super::family::{Issue, Order};
use super::{TokenAnswer, TokenRequest, invalid_grant};
use crate::audit::audit;
use crate::config::GrantType;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{
    self, Approval, Authentication, DeviceCode, DevicePace, DeviceState, Grant, Stored, Subject,
};
use crate::refusal::{ErrorCode, Refusal};
use crate::scopes::Moment;
use crate::token::{Handle, Kind};

/// What each poll that comes too early adds to the interval (RFC 8628 section 3.5).
const SLOWER_SECS: u64 = 5;

pub(super) async fn exchange(request: TokenRequest<'_>) -> Result<TokenAnswer, Refusal> {
    let core = request.core;
    let text = request.required("device_code", "`device_code` is missing")?;
    let handle = Kind::DeviceCode
        .read(text, &core.secrets)
        .map_err(|error| refused(request, &error.to_string()))?;
    let stored = record::load::<DeviceCode>(&*core.store, handle.as_str())
        .await?
        .ok_or_else(|| refused(request, "unknown device code"))?;
    match approval(request, &stored.record)? {
        Some(approval) => redeem(request, &handle, &stored, approval).await,
        None => Err(wait(request, &handle, &stored.record).await?),
    }
}

/// What was approved. None: nobody has answered yet.
fn approval<'c>(
    request: TokenRequest<'_>,
    code: &'c DeviceCode,
) -> Result<Option<&'c Approval>, Refusal> {
    // SECURITY: first. Another client must not learn what became of a code, or slow its owner.
    if code.client_id != request.client.id {
        return Err(refused(request, "the device code of another client"));
    }
    if let DeviceState::Used { grant } = &code.state {
        audit!(
            "device_code_replayed",
            client = code.client_id,
            grant = grant
        );
        return Err(invalid_grant());
    }
    if request.core.now() >= code.exp {
        return Err(Refusal::Denied(
            ErrorCode::ExpiredToken,
            "the device code has expired",
        ));
    }
    match &code.state {
        DeviceState::Approved(approval) => Ok(Some(approval)),
        DeviceState::Pending => Ok(None),
        DeviceState::Denied => Err(denied()),
        DeviceState::Used { .. } => Err(invalid_grant()),
    }
}

/// Keeps the time of this poll, and tells the device to come again.
async fn wait(
    request: TokenRequest<'_>,
    handle: &Handle,
    code: &DeviceCode,
) -> Result<Refusal, Trouble> {
    let core = request.core;
    let now = core.now();
    let before = record::load::<DevicePace>(&*core.store, handle.as_str()).await?;
    let is_early = |pace: &DevicePace| now.since(pace.polled).as_secs() < pace.interval_secs;
    let (is_early, interval_secs) = match before.as_ref().map(|before| &before.record) {
        None => (false, core.ttl.device_poll.as_secs()),
        Some(pace) if is_early(pace) => (true, pace.interval_secs.saturating_add(SLOWER_SECS)),
        Some(pace) => (false, pace.interval_secs),
    };
    let pace = DevicePace {
        interval_secs,
        polled: now,
    };
    let (key, bytes) = (
        record::key::<DevicePace>(handle.as_str()),
        record::encode(&pace)?,
    );
    let keep = Some(code.keep(now));
    let batch = match before {
        Some(before) => Batch::new().replace(key, before.bytes, bytes, keep),
        None => Batch::new().put_new(key, bytes, keep),
    };
    // A conflict is another poll at this very moment: one of the two came too early.
    let is_alone = core.store.commit(batch).await?.is_applied();
    Ok(if is_early || !is_alone {
        slow_down()
    } else {
        pending()
    })
}

async fn redeem(
    request: TokenRequest<'_>,
    handle: &Handle,
    stored: &Stored<DeviceCode>,
    approval: &Approval,
) -> Result<TokenAnswer, Refusal> {
    let core = request.core;
    let code = &stored.record;
    let resources = request.resources(&code.resources)?;
    let subject = Subject::User(approval.sub.clone());
    // A login of its own: the browser where it was approved is another's to log out.
    let authentication = Authentication {
        sid: random::id()?,
        ..approval.authentication.clone()
    };
    let approved = Approved {
        subject: &subject,
        authentication: Some(&authentication),
        scope: &approval.scope,
        resources: &code.resources,
    };
    let at = (GrantType::DeviceCode, Moment::Issue);
    let left = approved.left(request, at, resources).await?;
    let gone = || refused(request, "the user is gone or disabled");
    let scope = left.or(gone, denied)?;

    let grant_id = random::id()?;
    let grant = approved.grant(request, at.0, scope);
    let issue = Issue::make(request, &Order::first(&grant_id, &grant, resources))?;
    let batch = purchase(core, handle, stored, (&grant_id, &grant))?;
    if !issue.commit(core, batch).await? {
        return Err(refused(request, "another poll got the tokens"));
    }
    audit!(
        "device_code_redeemed",
        client = grant.client_id,
        sub = grant.subject.id(),
        scope = grant.scope,
        grant = grant_id,
        token_ref = issue.token_ref(),
    );
    Ok(issue.answer(core.now()))
}

/// The code, used, and what it buys.
fn purchase(
    core: &Core,
    handle: &Handle,
    stored: &Stored<DeviceCode>,
    (grant_id, grant): (&str, &Grant),
) -> Result<Batch, Trouble> {
    let used = DeviceCode {
        state: DeviceState::Used {
            grant: grant_id.to_owned(),
        },
        ..stored.record.clone()
    };
    let now = core.now();
    let (code, bytes) = (
        record::key::<DeviceCode>(handle.as_str()),
        record::encode(&used)?,
    );
    let batch = Batch::new().replace(code, stored.bytes.clone(), bytes, Some(used.keep(now)));
    record::put_new(batch, grant_id, grant, grant.exp, now)
}

fn pending() -> Refusal {
    Refusal::Denied(
        ErrorCode::AuthorizationPending,
        "nobody has answered yet; poll again",
    )
}

fn slow_down() -> Refusal {
    Refusal::Denied(
        ErrorCode::SlowDown,
        "nobody has answered yet; wait 5 seconds longer between polls from now on",
    )
}

fn denied() -> Refusal {
    Refusal::Denied(ErrorCode::AccessDenied, "the request was denied")
}

fn refused(request: TokenRequest<'_>, reason: &str) -> Refusal {
    audit!(
        "device_code_refused",
        client = request.client.id,
        reason = reason
    );
    invalid_grant()
}
