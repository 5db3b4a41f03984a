//! Step 6: to the upstream and back. Takes a [`Permitted`] and nothing else.

mod hedge;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use super::affinity;
use super::authorize::permitted::Permitted;
use super::mirror::mirror;
use super::reauthorize::{confirm, confirm_now, refusal};
use super::record::Record;
use super::refusal::Refusal;
use super::response_body::ResponseBody;
use super::rewrite::rewrite;
use super::shape;
use super::tunnel::{Handshake, switch_protocols};
use crate::body::{BodyError, RequestBody};
use crate::grpc;
use crate::headers;
use crate::plan::{RoutePlan, UpstreamPlan, UpstreamTimes};
use crate::upstream::{Exchange, Lease, Pool, UpstreamError};
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// Sends a permitted request on and brings the answer back, masked where it must be.
pub(crate) async fn forward(
    worker: &Rc<Worker>,
    connection: &Connection,
    mut permitted: Permitted,
    mut body: RequestBody,
    on_upgrade: Option<OnUpgrade>,
    record: &mut Record,
) -> Result<Response<ResponseBody>, Refusal> {
    let plan = &worker.core.plan;
    let to = permitted.upstream();
    let (route, upstream, pool) = way(worker, &permitted).ok_or(Refusal::NotFound)?;
    let is_http2 = upstream.transport.http2.is_some();
    if take_in(&mut body, route, is_http2).await.is_err() {
        return Err(broken_off(record).unwrap_or(Refusal::Ambiguous(super::Ambiguity::Wire)));
    }
    if upstream.request_trailers {
        body.pass_trailers(&plan.reserved, shape::said_to_upstream(route, &permitted));
    }
    let times = times(route.times_of(to), &permitted, &mut body, record);
    let key = affinity::key(plan, upstream, &permitted);
    record.forwards(&upstream.name);
    let target = shape::target(plan, &permitted).ok_or(Refusal::NotFound)?;
    let handshake = Handshake::of(worker, connection, permitted.request(), is_http2)?;
    let sent = (target, body);
    let mut request = shape::upstream_request(plan, upstream, &mut permitted, sent, record);
    if let Some(handshake) = &handshake {
        handshake.ask(&mut request);
    }
    mirror(worker, &permitted, &request, record);
    record.permit(permitted);
    let sent = Instant::now();
    let mut exchange = pool.exchange(request, key, times);
    let answered = send(worker, &mut exchange, record).await;
    observe(worker, to, &answered, sent, record);
    let (response, lease) = answered?;
    confirm(worker, record).await?;
    if let Some(handshake) = agreed(handshake, &response)? {
        let upstream = (response, lease, times.idle_body);
        return tunnel(worker, connection, *handshake, upstream, on_upgrade, record);
    }
    let permitted = record.permitted().ok_or(Refusal::NotFound)?;
    let (mut parts, incoming) = response.into_parts();
    shape::answer_headers(plan, permitted, &mut parts.headers);
    if let Some(vary) = &route.vary {
        parts.headers.append(header::VARY, vary.clone());
    }
    parts.extensions = http::Extensions::new();
    parts.version = http::Version::HTTP_11;
    let mut body = ResponseBody::stream(incoming, times.idle_body, Some(lease));
    if let Some(end) = times.total.and_then(|total| sent.checked_add(total)) {
        body.ends_by(end);
    }
    let Some(obligations) = permitted.obligations() else {
        return Ok(Response::from_parts(parts, body));
    };
    headers::set_all(&mut parts.headers, &obligations.response_headers);
    if obligations.rewrites() {
        let head = (parts.status, &parts.headers);
        body = rewrite(worker, record, head, body).await?;
        // After what policies set: what is made for one caller is nobody else's.
        shape::masked_response_headers(&mut parts.headers);
    }
    Ok(Response::from_parts(parts, body))
}

/// What a request goes by, and where to.
fn way<'w>(
    worker: &'w Worker,
    permitted: &Permitted,
) -> Option<(&'w RoutePlan, &'w UpstreamPlan, &'w Rc<Pool>)> {
    let plan = &worker.core.plan;
    Some((
        plan.routes.get(permitted.route())?,
        plan.upstreams.get(permitted.upstream())?,
        worker.pools.get(permitted.upstream())?,
    ))
}

/// What is there of a body already, without waiting for more: all of it, where it is short.
async fn take_in(
    body: &mut RequestBody,
    route: &RoutePlan,
    even_known: bool,
) -> Result<(), BodyError> {
    body.gather(even_known).await?;
    match &route.mirror {
        Some(mirror) => body.gather_short(mirror.body_bytes).await,
        None => Ok(()),
    }
}

/// What came of it is counted and said in its span.
fn observe(
    worker: &Worker,
    upstream: usize,
    answered: &Result<(Response<Incoming>, Lease), Refusal>,
    sent: Instant,
    record: &mut Record,
) {
    let took = sent.elapsed();
    let status = answered
        .as_ref()
        .ok()
        .map(|(response, _)| response.status());
    if let Some(metrics) = worker.core.metrics.upstream(upstream) {
        let error = record.proxy_error();
        metrics
            .durations
            .observe(record.method(), status, error, took);
    }
    record.forwarded(status);
    if status.is_some() {
        record.upstream_took(upstream, took);
    }
}

/// What was asked for, if the upstream agrees to it. To what nobody has asked for it cannot.
fn agreed(
    handshake: Option<Box<Handshake>>,
    response: &Response<Incoming>,
) -> Result<Option<Box<Handshake>>, Refusal> {
    let status = response.status();
    match handshake {
        Some(handshake) if handshake.is_agreed(response) => Ok(Some(handshake)),
        Some(handshake) if handshake.would_agree(status) => Err(Refusal::UpstreamFailed),
        _ if status == StatusCode::SWITCHING_PROTOCOLS => Err(Refusal::UpstreamFailed),
        _ => Ok(None),
    }
}

/// The lease ends here: an upgraded connection never goes back to the pool.
fn tunnel(
    worker: &Rc<Worker>,
    connection: &Connection,
    handshake: Handshake,
    (mut response, lease, idle): (Response<Incoming>, Lease, Duration),
    on_upgrade: Option<OnUpgrade>,
    record: &Record,
) -> Result<Response<ResponseBody>, Refusal> {
    let permitted = record.permitted().ok_or(Refusal::NotFound)?;
    let upstream = (&mut response, lease.upgraded(), idle);
    let mut switched = switch_protocols(worker, connection, handshake, upstream, on_upgrade)?;
    if let Some(obligations) = permitted.obligations() {
        headers::set_all(switched.headers_mut(), &obligations.response_headers);
    }
    Ok(switched)
}

/// How long it may take. A call of gRPC says how long its caller waits, and may have nothing to say for long.
fn times(
    of_route: UpstreamTimes,
    permitted: &Permitted,
    body: &mut RequestBody,
    record: &Record,
) -> UpstreamTimes {
    if !record.is_call() {
        return of_route;
    }
    body.wait_for(of_route.idle_body);
    of_route.within(grpc::deadline(permitted.request().headers()))
}

/// As often as it takes: what cannot be answered at one endpoint may be at another.
async fn send(
    worker: &Rc<Worker>,
    exchange: &mut Exchange,
    record: &mut Record,
) -> Result<(Response<Incoming>, Lease), Refusal> {
    loop {
        let answered = if exchange.has_body() {
            watched(record, exchange.attempt()).await?
        } else if exchange.is_hedged() {
            // It is large, and few upstreams want it.
            Box::pin(hedge::attempt(worker, exchange, record)).await?
        } else {
            exchange.attempt().await
        };
        match answered {
            Ok((response, lease)) if !exchange.wants_another(&response) => {
                return Ok((response, lease));
            }
            Ok(_) => {}
            Err(error) if !exchange.goes_on() => return Err(failure(&error, record)),
            Err(error) => {
                tracing::debug!(request_id = record.id.as_str(), %error, "another try");
            }
        }
        // SECURITY: nobody's request is sent once more who may not make it any more.
        confirm_now(worker, record).await?;
    }
}

/// Sends a request with a body. One that takes long is broken off where it may not go on.
async fn watched<T>(record: &mut Record, sending: impl Future<Output = T>) -> Result<T, Refusal> {
    let progress = record.progress().cloned();
    let mut sending = pin!(sending);
    poll_fn(|context| {
        if let Poll::Ready(answered) = sending.as_mut().poll(context) {
            return Poll::Ready(Ok(answered));
        }
        if progress
            .as_ref()
            .is_some_and(|progress| progress.is_long(context))
        {
            record.hold();
        }
        match record.withdrawn(context) {
            None => Poll::Pending,
            Some(withdrawn) => {
                record.broke_off(BodyError::Withdrawn(withdrawn));
                Poll::Ready(Err(refusal(withdrawn)))
            }
        }
    })
    .await
}

fn failure(error: &UpstreamError, record: &mut Record) -> Refusal {
    if let Some(refusal) = broken_off(record) {
        return refusal;
    }
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(request_id = record.id.as_str(), %error, source, "upstream failed");
    record.upstream_failed(error.proxy_error());
    match error {
        UpstreamError::Full => Refusal::UpstreamFull,
        UpstreamError::NoEndpoint => Refusal::UpstreamUnhealthy,
        UpstreamError::Connect(_)
        | UpstreamError::Exchange(_)
        | UpstreamError::Client
        | UpstreamError::NoTunnel
        | UpstreamError::Missing => Refusal::UpstreamFailed,
        UpstreamError::ConnectTimeout | UpstreamError::ResponseTimeout => Refusal::UpstreamTimeout,
    }
}

/// Where the client broke off, not the upstream.
fn broken_off(record: &Record) -> Option<Refusal> {
    record.body_failure().map(of_body)
}

/// What whoever sent a body that ended early is told.
pub(super) fn of_body(error: BodyError) -> Refusal {
    match error {
        BodyError::TooLarge => Refusal::Ambiguous(super::Ambiguity::BodyTooLarge),
        BodyError::Idle => Refusal::RequestTimeout,
        BodyError::Broken | BodyError::Overdue => Refusal::Ambiguous(super::Ambiguity::Wire),
        BodyError::Withdrawn(withdrawn) => refusal(withdrawn),
    }
}
