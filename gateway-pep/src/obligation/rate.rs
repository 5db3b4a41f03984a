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
    policy: Bytes,
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
    policy: Bytes,
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
            let mut key = String::with_capacity(96);
            key.push_str(&plan.name);
            key.push(':');
            whose(plan.per, caller, &mut key);
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
    let mut named = String::new();
    whose(plan.per, caller, &mut named);
    let whose = digest::sha256_base64url(named.as_bytes());
    format!("gateway-rate:{}:{whose}", plan.name)
}

/// Whose requests are counted together.
fn whose(per: Per, caller: &Identity, out: &mut String) {
    let (subject, client) = (&caller.subject, &caller.vouched.facts.client_id);
    let parts: &[&str] = match per {
        Per::Subject => &["s", &subject.kind, &subject.id],
        Per::Client => &["c", client],
        Per::SubjectAndClient => &["b", &subject.kind, &subject.id, client],
    };
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.push('\0');
        }
        out.push_str(part);
    }
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), of every limit that counted.
pub(crate) fn say(drawn: &[Drawn], headers: &mut HeaderMap) {
    let policies = match drawn {
        [] => return,
        [one] => one.policy.clone(),
        several => {
            let policies: Vec<&[u8]> = several.iter().map(|drawn| &*drawn.policy).collect();
            policies.join(&b", "[..]).into()
        }
    };
    let mut states = Vec::with_capacity(64 * drawn.len());
    let mut digits = itoa::Buffer::new();
    for drawn in drawn {
        if !states.is_empty() {
            states.extend_from_slice(b", ");
        }
        states.push(b'"');
        states.extend_from_slice(drawn.name.as_bytes());
        states.extend_from_slice(b"\";r=");
        states.extend_from_slice(digits.format(drawn.draw.remaining).as_bytes());
        states.extend_from_slice(b";t=");
        states.extend_from_slice(digits.format(seconds(drawn.draw.reset)).as_bytes());
    }
    let value = HeaderValue::from_maybe_shared::<Bytes>;
    if let (Ok(policies), Ok(states)) = (value(policies), value(states.into())) {
        headers.insert(RATELIMIT_POLICY, policies);
        headers.insert(RATELIMIT, states);
    }
}

/// Whole seconds, none too few.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
