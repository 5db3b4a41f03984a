//! Rates: how often somebody may do something, by the name of a limit that is configured; counted in the store that
//! gateways share, or in this gateway alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderMap;
use service_kit::digest;
use store::{Draw, Rate, Rates, Store, StoreError};

use crate::config::Per;
use crate::headers::{RATELIMIT, RATELIMIT_POLICY};
use crate::identity::Identity;

/// One limit, compiled.
#[derive(Debug)]
pub(crate) struct RatePlan {
    pub(crate) name: Arc<str>,
    rate: Rate,
    per: Per,
    is_shared: bool,
    /// What `RateLimit-Policy` says of it.
    policy: Arc<str>,
}

/// Counts.
#[derive(Debug)]
pub(crate) struct Limiter {
    pub(crate) shared: Arc<dyn Store>,
    pub(crate) own: Arc<Rates>,
    /// The store gets this long.
    pub(crate) patience: Duration,
}

/// What a request has used of a limit.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    name: Arc<str>,
    policy: Arc<str>,
    pub(crate) draw: Draw,
}

impl RatePlan {
    pub(crate) fn new(name: &str, rate: Rate, (per, is_shared): (Per, bool)) -> Self {
        let Rate { quota, window, .. } = rate;
        Self {
            name: name.into(),
            rate,
            per,
            is_shared,
            policy: format!("\"{name}\";q={quota};w={}", window.as_secs()).into(),
        }
    }
}

impl Limiter {
    /// Takes one. An `Err`: nobody knows how many there were.
    pub(crate) async fn draw(
        &self,
        plan: &RatePlan,
        caller: &Identity,
    ) -> Result<Drawn, StoreError> {
        let draw = if plan.is_shared {
            let key = shared_key(plan, caller);
            let drawing = self.shared.draw(&key, &plan.rate);
            let drawing = tokio::time::timeout(self.patience, drawing).await;
            drawing.unwrap_or(Err(StoreError::Timeout))?
        } else {
            // Nobody else reads it.
            let key = [&*plan.name, ":", &whose(plan.per, caller)].concat();
            self.own.draw(&key, &plan.rate)
        };
        Ok(Drawn {
            name: plan.name.clone(),
            policy: plan.policy.clone(),
            draw,
        })
    }
}

/// Of fixed length, whoever calls, and nothing of them can be read in it.
fn shared_key(plan: &RatePlan, caller: &Identity) -> String {
    let whose = digest::sha256_base64url(whose(plan.per, caller).as_bytes());
    format!("gateway-rate:{}:{whose}", plan.name)
}

fn whose(per: Per, caller: &Identity) -> String {
    let (subject, client) = (&caller.subject, &caller.vouched.facts.client_id);
    match per {
        Per::Subject => ["s", &subject.kind, &subject.id].join("\0"),
        Per::Client => ["c", client].join("\0"),
        Per::SubjectAndClient => ["b", &subject.kind, &subject.id, client].join("\0"),
    }
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), of every limit that counted.
pub(crate) fn say(drawn: &[Drawn], headers: &mut HeaderMap) {
    if drawn.is_empty() {
        return;
    }
    let room = || Vec::with_capacity(64 * drawn.len());
    let (mut policies, mut states) = (room(), room());
    let mut digits = itoa::Buffer::new();
    for drawn in drawn {
        if !states.is_empty() {
            policies.extend_from_slice(b", ");
            states.extend_from_slice(b", ");
        }
        policies.extend_from_slice(drawn.policy.as_bytes());
        states.push(b'"');
        states.extend_from_slice(drawn.name.as_bytes());
        states.extend_from_slice(b"\";r=");
        states.extend_from_slice(digits.format(drawn.draw.remaining).as_bytes());
        states.extend_from_slice(b";t=");
        states.extend_from_slice(digits.format(seconds(drawn.draw.reset)).as_bytes());
    }
    let value = |text: Vec<u8>| HeaderValue::from_maybe_shared(Bytes::from(text));
    if let (Ok(policies), Ok(states)) = (value(policies), value(states)) {
        headers.insert(RATELIMIT_POLICY, policies);
        headers.insert(RATELIMIT, states);
    }
}

/// Whole seconds, none too few.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
