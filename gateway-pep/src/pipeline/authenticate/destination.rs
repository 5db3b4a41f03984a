//! Where a request goes, of several upstreams: settled before its token is swapped, since its JWT is cut for one.

use crate::cache::tokens::Place;
use crate::canonical::CanonicalRequest;
use crate::identity::Identity;
use crate::pipeline::record::Record;
use crate::plan::{RoutePlan, Split};

/// A place where a token is shown, and what may still change it.
#[derive(Debug)]
pub(in crate::pipeline) struct Destination<'p> {
    pub(super) place: Place,
    /// Who calls decides, and is not known yet.
    pub(super) by_subject: Option<&'p Split>,
}

impl<'p> Destination<'p> {
    pub(super) fn of(route: &'p RoutePlan, request: &CanonicalRequest, record: &Record) -> Self {
        // A proxy that asks knows one upstream, and not which of several is meant.
        let split = route.split.as_deref().filter(|_| !record.is_of_proxy());
        let by_subject = split.filter(|split| split.is_by_subject());
        let at_once = split.filter(|split| !split.is_by_subject());
        let chosen = at_once.and_then(|split| split.of_request(request.headers()));
        Self {
            place: Place {
                accepted: 0,
                upstream: chosen.unwrap_or(route.upstream),
            },
            by_subject,
        }
    }

    /// Once it is known who calls. True where they are led elsewhere than the place was.
    pub(super) fn settle(&mut self, caller: &Identity) -> bool {
        let Some(split) = self.by_subject.take() else {
            return false;
        };
        let chosen = split.of_subject(&caller.subject.id);
        let chosen = chosen.unwrap_or(self.place.upstream);
        std::mem::replace(&mut self.place.upstream, chosen) != chosen
    }
}
