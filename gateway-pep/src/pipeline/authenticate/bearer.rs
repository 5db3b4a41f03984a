//! What a request was known by, kept for a copy of it: its token is swapped once more, for another upstream.

use http::HeaderValue;
use service_kit::Secret;

use super::shown::Shown;
use super::{is_same, swap_at};
use crate::cache::tokens::{Place, Swap};
use crate::identity::Identity;
use crate::pipeline::authorize::permitted::Permitted;
use crate::pipeline::record::Record;
use crate::plan::Protection;
use crate::worker::Worker;
use std::rc::Rc;

/// The token of a permitted request, and whose it is. None of what has none: a certificate.
pub(in crate::pipeline) struct Bearer(Option<(Secret, Rc<Identity>, usize)>);

impl Bearer {
    pub(in crate::pipeline) fn of(permitted: &Permitted) -> Self {
        let token = permitted.shown().and_then(|shown| match shown {
            Shown::Session(shown) => Some(shown.kept.session.tokens.access.clone()),
            Shown::Certificate(_) => None,
            Shown::Token(_) | Shown::Key(_) => {
                let token = shown.token().ok()??;
                std::str::from_utf8(token).ok().map(Secret::new)
            }
        });
        let caller = permitted.granted().map(|(caller, _)| caller.clone());
        let known = token.zip(caller);
        Self(known.map(|(token, caller)| (token, caller, permitted.route())))
    }

    /// `Authorization` for an upstream. None: the token is worth nothing there, or is somebody else's.
    pub(in crate::pipeline) async fn at(
        self,
        worker: &Worker,
        upstream: usize,
        record: &Record,
    ) -> Option<HeaderValue> {
        let (token, before, route) = self.0?;
        let route = worker.core.plan.routes.get(route)?;
        let Protection::Token { accepted, .. } = route.protection else {
            return None;
        };
        let place = Place { accepted, upstream };
        let swapped = swap_at(worker, token.reveal().as_bytes(), place, record).await;
        match swapped.ok()?.0 {
            Swap::Live(now) if is_same(&now, &before) => now.vouched.forwarded.clone(),
            Swap::Live(_) | Swap::Inactive => None,
        }
    }
}
