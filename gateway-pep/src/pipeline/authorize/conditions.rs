//! The conditions of a permit that are kept before anything is forwarded: whether each can be kept at all, the login,
//! the rates, and who is told. What they want of messages, `shape` and `rewrite` do.

use std::rc::Rc;

use service_kit::UnixTime;

use super::{Permitted, Refusal};
use crate::cache::verdict::{Outcome, Verdict};
use crate::canonical::{CanonicalRequest, Upgrade};
use crate::identity::Identity;
use crate::obligation::Obligations;
use crate::obligation::notice::Told;
use crate::pipeline::record::Record;
use crate::plan::RoutePlan;
use crate::worker::Worker;

/// Whether the request may pass as far as the decision and its lasting conditions go. `now`: as of when the login
/// is looked at.
pub(super) fn enforce(
    worker: &Worker,
    request: &CanonicalRequest,
    (caller, now): (&Identity, UnixTime),
    verdict: &Rc<Verdict>,
) -> Result<(), Refusal> {
    let obligations = match &verdict.outcome {
        Outcome::Deny => return Err(Refusal::Denied),
        Outcome::UnknownObligation => return Err(Refusal::Obligation),
        Outcome::Permit(obligations) => obligations,
    };
    // A tunnel cannot be rewritten, and what must be logged needs a log.
    let tunnel = obligations.rewrites() && request.upgrade() != Upgrade::No;
    let unlogged = !obligations.logged.is_empty() && !worker.access_log.is_on();
    if tunnel || unlogged {
        return Err(Refusal::Obligation);
    }
    // Of a remembered decision, too: the login grows old meanwhile.
    let mut logins = obligations.step_ups.iter();
    let unmet = logins.position(|login| !login.is_met(&caller.vouched.facts, now));
    match unmet {
        None => Ok(()),
        Some(which) => Err(Refusal::LoginWanted {
            verdict: verdict.clone(),
            which,
        }),
    }
}

/// What is done once for a request: it is counted, and others are told.
pub(super) async fn keep(
    worker: &Worker,
    permitted: &Permitted,
    route_plan: &RoutePlan,
    record: &mut Record,
) -> Result<(), Refusal> {
    let (Some((caller, verdict)), Some(obligations)) =
        (permitted.granted(), permitted.obligations())
    else {
        return Ok(());
    };
    // Nobody has sent what is explained.
    if (obligations.rates.is_empty() && obligations.notices.is_empty()) || record.is_aside() {
        return Ok(());
    }
    count(worker, caller, obligations, record).await?;
    let told = Told {
        at: record.moment.unix,
        request_id: &record.id,
        request: permitted.request(),
        route: &route_plan.template,
        caller,
        decision_id: verdict.id.as_deref(),
        policy_version: verdict.version.as_deref(),
    };
    for notice in &obligations.notices {
        if notice.tell(&worker.notifications, told).is_err() {
            tracing::warn!(
                request_id = record.id.as_str(),
                "a notification that a permit needs finds no room"
            );
            return Err(Refusal::Obligation);
        }
    }
    Ok(())
}

async fn count(
    worker: &Worker,
    caller: &Identity,
    obligations: &Obligations,
    record: &mut Record,
) -> Result<(), Refusal> {
    let core = &worker.core;
    for rate in &obligations.rates {
        let plan = core.plan.rates.get(*rate).ok_or(Refusal::Obligation)?;
        let drawn = core.limiter.draw(plan, caller).await.map_err(|error| {
            tracing::warn!(request_id = record.id.as_str(), %error, "a rate cannot be counted");
            Refusal::RateUnknown
        })?;
        let draw = drawn.draw;
        record.drew(drawn);
        if !draw.is_allowed {
            return Err(Refusal::TooOften { retry: draw.retry });
        }
    }
    Ok(())
}
