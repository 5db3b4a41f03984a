//! Who calls by the certificate of the connection, where a route takes that and no other credential
//! came.

use std::rc::Rc;

use http::header::{self, HeaderMap};

use super::credential::has_token_in_query;
use crate::cache::Source;
use crate::cache::tokens::Place;
use crate::identity::Identity;
use crate::identity::accepted::Accepted;
use crate::identity::issuer::Kind;
use crate::login::browser::is_of_own_site;
use crate::metrics::SwapOutcome;
use crate::pipeline::canonical::CanonicalRequest;
use crate::pipeline::record::Record;
use crate::pipeline::respond::Refusal;
use crate::worker::Worker;

/// None: somebody else has to say who calls, or nobody does.
pub(super) fn known(
    worker: &Worker,
    request: &CanonicalRequest,
    place: Place,
    record: &mut Record,
) -> Result<Option<Rc<Identity>>, Refusal> {
    let accepted = worker.core.plan.accepted.get(place.accepted);
    let Some(issuer) = accepted.and_then(Accepted::by_certificate) else {
        return Ok(None);
    };
    let Some(identity) = shown(worker, request, issuer, record) else {
        return Ok(None);
    };
    // SECURITY: browsers show certificates for whichever page makes them send something.
    if is_of_browser(request.headers()) {
        let (scheme, authority) = (request.scheme().as_str(), request.authority().as_str());
        if !is_of_own_site(request, &format!("{scheme}://{authority}")) {
            return Err(Refusal::CrossSite);
        }
    }
    record.authenticated(identity.clone(), Source::L1);
    Ok(Some(identity))
}

fn shown(
    worker: &Worker,
    request: &CanonicalRequest,
    index: usize,
    record: &Record,
) -> Option<Rc<Identity>> {
    let plan = &worker.core.plan;
    // SECURITY: whoever brings a token wants to be known by it. A bad one is no reason to look further.
    let headers = request.headers();
    let api_key = plan.api_key_header.as_ref();
    if headers.contains_key(header::AUTHORIZATION)
        || api_key.is_some_and(|name| headers.contains_key(name))
        || has_token_in_query(request.query())
    {
        return None;
    }
    let issuer = plan.issuers.get(index)?;
    let Kind::Certificate(rules) = &issuer.kind else {
        return None;
    };
    let shown = record.certificate()?;
    let identity = record.connection().identity(index, &shown, || {
        worker.tokens.vouched(index, rules.vouch(&shown)?)
    });
    let outcome = match identity {
        Some(_) => SwapOutcome::Live,
        None => SwapOutcome::Inactive,
    };
    worker.core.metrics.swapped(index, Source::L1, outcome);
    identity
}

fn is_of_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}
