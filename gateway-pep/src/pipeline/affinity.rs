//! What leads a request to one endpoint of its upstream, where requests with the same value belong together.

use super::authorize::permitted::Permitted;
use crate::maglev::hash;
use crate::plan::{Balancing, HashOn, Plan, UpstreamPlan};

/// None: nothing does. Must be read before the request's headers are taken.
pub(super) fn key(plan: &Plan, upstream: &UpstreamPlan, permitted: &Permitted) -> Option<u64> {
    let Balancing::ConsistentHash(on) = &upstream.balancing else {
        return None;
    };
    let request = permitted.request();
    match on {
        HashOn::Header(name) => {
            let value = request.headers().get(name)?;
            Some(hash(value.as_bytes()))
        }
        HashOn::Path(name) => {
            let host = request.authority().host();
            let params = plan.router.params(host, request.path())?;
            Some(hash(params.get(name)?.as_bytes()))
        }
        HashOn::Subject => {
            let subject = &permitted.caller()?.subject;
            Some(hash(subject.id.as_bytes()))
        }
    }
}
