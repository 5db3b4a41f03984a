//! Whether a path may have encoded what some readers would decode: where the route that it leads to takes that,
//! and nowhere else.

use super::record::Record;
use super::refusal::Refusal;
use crate::canonical::{Ambiguity, CanonicalRequest, Encoded};
use crate::core::Core;
use crate::route::Lookup;

/// SECURITY: before anything is asked about a request. Nearly none has any.
pub(super) fn check(
    core: &Core,
    request: &CanonicalRequest,
    found: &Lookup<'_>,
    record: &Record,
) -> Result<(), Refusal> {
    let encoded = request.encoded();
    if encoded == Encoded::NONE {
        return Ok(());
    }
    let route = match found {
        Lookup::Route { route } => Some(*route),
        Lookup::MethodNotAllowed { .. } | Lookup::Unread(_) | Lookup::NotFound => None,
    };
    let plan = route.and_then(|route| core.plan.routes.get(route));
    let is_taken = plan.is_some_and(|plan| plan.encoded.cover(encoded));
    if !record.is_aside() {
        core.metrics.ambiguous.encoded(route, encoded, is_taken);
    }
    if is_taken {
        Ok(())
    } else {
        Err(Refusal::Ambiguous(Ambiguity::EncodedDelimiter))
    }
}
