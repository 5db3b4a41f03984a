//! Copies of permitted requests for a second upstream. Nobody waits for them, nobody sees what comes of them, and there
//! are never more than may be: what is beyond that is dropped and counted.

use std::rc::Rc;

use http::Request;
use http::header::{self, HeaderValue};

use super::authenticate::Bearer;
use super::authorize::permitted::Permitted;
use super::record::Record;
use super::response_body::ResponseBody;
use super::shape;
use crate::body::RequestBody;
use crate::canonical::Upgrade;
use crate::plan::{Mirror, Plan};
use crate::worker::Worker;

/// Of an answer, so much is read: its connection is good for more then.
const READ: usize = 64 << 10;

/// Sends a copy of what is about to be forwarded, if the route has a mirror and this one is in the sample.
///
/// `forwarded`: as the upstream gets it, reserved fields scrubbed and ours set.
pub(super) fn mirror(
    worker: &Rc<Worker>,
    permitted: &Permitted,
    forwarded: &Request<RequestBody>,
    record: &Record,
) {
    let route = worker.core.plan.routes.get(permitted.route());
    let Some(mirror) = route.and_then(|route| route.mirror.as_ref()) else {
        return;
    };
    if permitted.request().upgrade() != Upgrade::No || fastrand::u8(..100) >= mirror.percent {
        return;
    }
    let metrics = &worker.core.metrics.mirror;
    let is_short = |body: &RequestBody| body.is_within(mirror.body_bytes);
    let Some(body) = forwarded.body().copy().filter(is_short) else {
        metrics.body.inc();
        return;
    };
    let Some(place) = Place::take(worker, mirror) else {
        metrics.dropped.inc();
        return;
    };
    let Some(request) = copy(&worker.core.plan, mirror, forwarded, body) else {
        return;
    };
    let bearer = mirror.has_jwt.then(|| Bearer::of(permitted));
    let record = Record::again(worker.clone(), record.connection().clone(), record.id);
    let route = permitted.route();
    tokio::task::spawn_local(async move {
        let worker = place.0.clone();
        let sent = send(&worker, route, (request, bearer), &record).await;
        let metrics = &worker.core.metrics.mirror;
        if sent.is_some() {
            metrics.sent.inc();
        } else {
            metrics.failed.inc();
        }
    });
}

/// The same request for another upstream, without a credential.
fn copy(
    plan: &Plan,
    mirror: &Mirror,
    forwarded: &Request<RequestBody>,
    body: RequestBody,
) -> Option<Box<Request<RequestBody>>> {
    let upstream = plan.upstreams.get(mirror.upstream)?;
    let mut headers = forwarded.headers().clone();
    // SECURITY: what stands there is cut for the upstream of the route, and for nobody else.
    headers.remove(header::AUTHORIZATION);
    // It may be spoken to in another way than the upstream of the route.
    for of_hop in [header::TE, header::TRAILER, header::CONNECTION] {
        headers.remove(of_hop);
    }
    let host = match &upstream.host_header {
        Some(host) => host.clone(),
        None => whose(forwarded)?,
    };
    headers.insert(header::HOST, host);
    let target = forwarded.uri().path_and_query()?.clone();
    let mut copy = Box::new(Request::new(body));
    *copy.method_mut() = forwarded.method().clone();
    *copy.headers_mut() = headers;
    shape::address(&mut copy, upstream, target);
    Some(copy)
}

/// By a header or, in HTTP/2, by what it names.
fn whose(forwarded: &Request<RequestBody>) -> Option<HeaderValue> {
    let named = forwarded.uri().authority();
    let named = named.and_then(|it| HeaderValue::from_str(it.as_str()).ok());
    forwarded.headers().get(header::HOST).cloned().or(named)
}

/// None: it was not answered, or not sent.
async fn send(
    worker: &Rc<Worker>,
    route: usize,
    (mut request, bearer): (Box<Request<RequestBody>>, Option<Bearer>),
    record: &Record,
) -> Option<()> {
    let plan = &worker.core.plan;
    let mirror = plan.routes.get(route)?.mirror.as_ref()?;
    if let Some(bearer) = bearer {
        let jwt: HeaderValue = bearer.at(worker, mirror.upstream, record).await?;
        request.headers_mut().insert(header::AUTHORIZATION, jwt);
    }
    let pool = worker.pools.get(mirror.upstream)?;
    let (response, lease) = pool
        .exchange(request, None, mirror.times)
        .attempt()
        .await
        .ok()?;
    let (_, incoming) = response.into_parts();
    let body = ResponseBody::stream(incoming, mirror.times.idle_body, Some(lease));
    // However long it is, and whether it comes whole: it was answered.
    let read = tokio::time::timeout(mirror.times.response, body.collect(READ, None));
    let _ = read.await;
    Some(())
}

/// One of the copies that a worker may have under way.
struct Place(Rc<Worker>);

impl Place {
    fn take(worker: &Rc<Worker>, mirror: &Mirror) -> Option<Self> {
        let under_way = worker.mirrored.get();
        (under_way < mirror.in_flight).then(|| {
            worker.mirrored.set(under_way + 1);
            Self(worker.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let worker = &self.0;
        worker.mirrored.set(worker.mirrored.get().saturating_sub(1));
    }
}
