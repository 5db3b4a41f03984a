//! Rates: how often somebody may do something, by the name of a limit that is configured; counted in the store that
//! gateways share, or in this gateway alone.

use std::sync::Arc;
use std::time::Duration;

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
    pub(crate) rate: Rate,
    pub(crate) per: Per,
    pub(crate) is_shared: bool,
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
    rate: Rate,
    pub(crate) draw: Draw,
}

impl Limiter {
    /// Takes one. An `Err`: nobody knows how many there were.
    pub(crate) async fn draw(
        &self,
        plan: &RatePlan,
        caller: &Identity,
    ) -> Result<Drawn, StoreError> {
        let key = key(plan, caller);
        let draw = if plan.is_shared {
            let drawing = self.shared.draw(&key, &plan.rate);
            let drawing = tokio::time::timeout(self.patience, drawing).await;
            drawing.unwrap_or(Err(StoreError::Timeout))?
        } else {
            self.own.draw(&key, &plan.rate)
        };
        Ok(Drawn {
            name: plan.name.clone(),
            rate: plan.rate,
            draw,
        })
    }
}

/// Of fixed length, whoever calls, and nothing of them can be read in it.
fn key(plan: &RatePlan, caller: &Identity) -> String {
    let (subject, client) = (&caller.subject, &caller.vouched.facts.client_id);
    let whose = match plan.per {
        Per::Subject => format!("s\0{}\0{}", subject.kind, subject.id),
        Per::Client => format!("c\0{client}"),
        Per::SubjectAndClient => format!("b\0{}\0{}\0{client}", subject.kind, subject.id),
    };
    let whose = digest::sha256_base64url(whose.as_bytes());
    format!("gateway-rate:{}:{whose}", plan.name)
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), of every limit that counted.
pub(crate) fn say(drawn: &[Drawn], headers: &mut HeaderMap) {
    if drawn.is_empty() {
        return;
    }
    let list = |text: &dyn Fn(&Drawn) -> String| {
        let texts: Vec<String> = drawn.iter().map(text).collect();
        HeaderValue::try_from(texts.join(", "))
    };
    let policy = list(&|drawn| {
        let Rate { quota, window, .. } = drawn.rate;
        format!("\"{}\";q={quota};w={}", drawn.name, window.as_secs())
    });
    let state = list(&|drawn| {
        let Draw {
            remaining, reset, ..
        } = drawn.draw;
        format!("\"{}\";r={remaining};t={}", drawn.name, seconds(reset))
    });
    if let (Ok(policy), Ok(state)) = (policy, state) {
        headers.insert(RATELIMIT_POLICY, policy);
        headers.insert(RATELIMIT, state);
    }
}

/// Whole seconds, none too few.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
