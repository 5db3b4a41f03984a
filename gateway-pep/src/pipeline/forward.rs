//! Step 6: to the upstream and back. Takes a [`Permitted`] and nothing else.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;

use super::authorize::Permitted;
use super::reauthorize::{Unknown, reauthorize, refusal};
use super::record::Record;
use super::respond::Refusal;
use super::response_body::ResponseBody;
use super::shape;
use super::tunnel::switch_protocols;
use crate::body::{BodyError, LONG, RequestBody};
use crate::obligation::mask::Mask;
use crate::upstream::UpstreamError;
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
    let route = plan
        .routes
        .get(permitted.route())
        .ok_or(Refusal::NotFound)?;
    let upstream = plan
        .upstreams
        .get(route.upstream)
        .ok_or(Refusal::NotFound)?;
    let pool = worker.pools.get(route.upstream).ok_or(Refusal::NotFound)?;
    if body.gather().await.is_err() {
        return Err(broken_off(record).unwrap_or(Refusal::Ambiguous(super::Ambiguity::Wire)));
    }
    let request = shape::upstream_request(plan, upstream, connection, &mut permitted, body, record);
    let has_body = !request.body().is_end_stream();
    record.permit(permitted);
    let answered = if has_body {
        watched(record, pool.send(request)).await?
    } else {
        pool.send(request).await
    };
    let (mut response, lease) = match answered {
        Ok(answered) => answered,
        Err(error) => return Err(failure(&error, record)),
    };
    let took = record.moment.instant.elapsed();
    record.upstream_took(took);
    if let Some(metrics) = worker.core.metrics.upstream(route.upstream) {
        metrics.duration.observe(took.as_secs_f64());
    }
    if took > LONG {
        confirm(worker, record).await?;
    }
    let permitted = record.permitted().ok_or(Refusal::NotFound)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // The lease ends here: an upgraded connection never goes back to the pool.
        let upgrade = permitted.request().upgrade();
        return switch_protocols(worker, connection, upgrade, &mut response, on_upgrade);
    }
    let is_head = permitted.request().method() == http::Method::HEAD;
    let idle = worker.core.timeouts.idle_body;
    let (mut parts, incoming) = response.into_parts();
    shape::response_headers(plan, &mut parts.headers);
    parts.extensions = http::Extensions::new();
    parts.version = http::Version::HTTP_11;
    let body = ResponseBody::stream(incoming, idle, Some(lease));
    let body = match permitted.mask() {
        None => body,
        Some(mask) => {
            let masked = masked(
                mask,
                is_head,
                &parts.headers,
                body,
                worker.core.masked_body_bytes,
            );
            let body = masked.await?;
            shape::masked_response_headers(&mut parts.headers);
            body
        }
    };
    Ok(Response::from_parts(parts, body))
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

/// An answer that was long in coming is passed on only where it would be permitted now, too.
async fn confirm(worker: &Rc<Worker>, record: &mut Record) -> Result<(), Refusal> {
    let Some(held) = record.hold().cloned() else {
        return Ok(());
    };
    if held.stands() {
        return Ok(());
    }
    match reauthorize(worker, &held).await {
        Ok(standing) => {
            held.stand(standing);
            Ok(())
        }
        Err(Unknown::No(withdrawn, _)) => Err(refusal(withdrawn)),
        Err(Unknown::Unanswered) => Err(Refusal::DecisionPointUnavailable),
    }
}

/// The body with its fields masked; an answer that cannot be masked is not passed on.
async fn masked(
    mask: &Mask,
    is_head: bool,
    headers: &HeaderMap,
    body: ResponseBody,
    limit: usize,
) -> Result<ResponseBody, Refusal> {
    if is_head || body.is_end_stream() {
        return Ok(ResponseBody::whole(""));
    }
    let encoded = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded || !is_json(headers) {
        return Err(Refusal::Unmaskable("the response is not plain JSON"));
    }
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(Refusal::Unmaskable("the response is too large"));
    }
    let document = body.collect(limit).await.map_err(|error| match error {
        BodyError::TooLarge => Refusal::Unmaskable("the response is too large"),
        BodyError::Idle | BodyError::Broken | BodyError::Withdrawn(_) => Refusal::UpstreamFailed,
    })?;
    let document = mask
        .apply(&document)
        .map_err(|_| Refusal::Unmaskable("the response is not JSON"))?;
    Ok(ResponseBody::whole(document))
}

/// `application/json` or any `+json`, one `Content-Type` only.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn failure(error: &UpstreamError, record: &mut Record) -> Refusal {
    if let Some(refusal) = broken_off(record) {
        return refusal;
    }
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(request_id = record.id.as_str(), %error, source, "upstream failed");
    match error {
        UpstreamError::Connect(_) | UpstreamError::Exchange(_) | UpstreamError::Missing => {
            Refusal::UpstreamFailed
        }
        UpstreamError::ConnectTimeout | UpstreamError::ResponseTimeout => Refusal::UpstreamTimeout,
    }
}

/// Where the client broke off, not the upstream.
fn broken_off(record: &Record) -> Option<Refusal> {
    match record.body_failure()? {
        BodyError::TooLarge => Some(Refusal::Ambiguous(super::Ambiguity::BodyTooLarge)),
        BodyError::Idle => Some(Refusal::RequestTimeout),
        BodyError::Broken => Some(Refusal::Ambiguous(super::Ambiguity::Wire)),
        BodyError::Withdrawn(withdrawn) => Some(refusal(withdrawn)),
    }
}
