//! Who calls by the certificate of the connection, where a route takes that and no other credential
//! came.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{self, HeaderMap};
use service_kit::ClientCertificate;

use super::credential::has_token_in_query;
use super::destination::Destination;
use super::shown::{Shown, ShownCertificate};
use crate::cache::Source;
use crate::cache::tokens::Place;
use crate::canonical::CanonicalRequest;
use crate::identity::Identity;
use crate::identity::accepted::Accepted;
use crate::identity::issuer::Kind;
use crate::login::browser::is_of_own_site;
use crate::metrics::SwapOutcome;
use crate::pipeline::cors;
use crate::pipeline::record::Record;
use crate::pipeline::refusal::Refusal;
use crate::worker::Worker;

/// Who it is, by which certificate.
type Found = (Rc<Identity>, Arc<ClientCertificate>);

/// None: somebody else has to say who calls, or nobody does.
pub(super) fn known(
    worker: &Worker,
    request: &CanonicalRequest,
    to: &mut Destination<'_>,
    record: &mut Record,
) -> Result<Option<(Rc<Identity>, Shown)>, Refusal> {
    let accepted = worker.core.plan.accepted.get(to.place.accepted);
    let Some(issuer) = accepted.and_then(Accepted::by_certificate) else {
        return Ok(None);
    };
    let Some((identity, certificate)) = shown(worker, request, issuer, record) else {
        return Ok(None);
    };
    // SECURITY: browsers show certificates for whichever page makes them send something.
    if is_of_browser(request.headers()) {
        let (scheme, authority) = (request.scheme().as_str(), request.authority().as_str());
        if !is_of_own_site(request, &format!("{scheme}://{authority}"))
            && !cors::vouches(&worker.core, request, record)
        {
            return Err(Refusal::CrossSite);
        }
    }
    // There is nothing to swap.
    to.settle(&identity);
    record.authenticated(identity.clone(), Source::L1);
    let shown = ShownCertificate {
        connection: record.connection().clone(),
        issuer,
        certificate,
    };
    Ok(Some((identity, Shown::Certificate(shown))))
}

/// Whether the route takes certificates, and one was shown.
pub(super) fn counts(worker: &Worker, place: Place, record: &Record) -> bool {
    let accepted = worker.core.plan.accepted.get(place.accepted);
    accepted.and_then(Accepted::by_certificate).is_some()
        && record.certificate().is_some_and(|shown| shown.is_trusted)
}

/// The same, for what has begun with it and lasts: the certificate must still be good.
pub(super) fn still(
    worker: &Worker,
    shown: &ShownCertificate,
    record: &Record,
) -> Result<Rc<Identity>, Refusal> {
    let found = of_connection(worker, shown.issuer, record);
    found
        .map(|(identity, _)| identity)
        .ok_or(Refusal::NoCredentials)
}

fn shown(
    worker: &Worker,
    request: &CanonicalRequest,
    index: usize,
    record: &Record,
) -> Option<Found> {
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
    of_connection(worker, index, record)
}

fn of_connection(worker: &Worker, index: usize, record: &Record) -> Option<Found> {
    let issuer = worker.core.plan.issuers.get(index)?;
    let Kind::Certificate(rules) = &issuer.kind else {
        return None;
    };
    let shown = record.certificate()?;
    let identity = record.connection().identity(index, &shown, || {
        let vouched = rules.vouch(&shown)?;
        let lasts = (Rc::default(), vouched.ends);
        worker.tokens.vouched(index, vouched, lasts)
    });
    let outcome = match identity {
        Some(_) => SwapOutcome::Live,
        None => SwapOutcome::Inactive,
    };
    worker.core.metrics.swapped(index, Source::L1, outcome);
    Some((identity?, shown))
}

fn is_of_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}
