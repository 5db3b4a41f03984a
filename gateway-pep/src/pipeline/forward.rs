//! Step 6: to the upstream and back. Takes a [`Permitted`] and nothing else.

use std::rc::Rc;

use http::{HeaderMap, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::authorize::Permitted;
use super::canonical::Upgrade;
use super::record::Record;
use super::respond::Refusal;
use super::response_body::ResponseBody;
use super::shape;
use crate::body::{BodyError, RequestBody};
use crate::headers;
use crate::obligation::mask::Mask;
use crate::upstream::{Place, UpstreamError};
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
    let (mut response, lease) = match pool.send(request).await {
        Ok(answered) => answered,
        Err(error) => return Err(failure(&error, record)),
    };
    let took = record.moment.instant.elapsed();
    record.upstream_took(took);
    if let Some(metrics) = worker.core.metrics.upstream(route.upstream) {
        metrics.duration.observe(took.as_secs_f64());
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // The lease ends here: an upgraded connection never goes back to the pool.
        let upgrade = permitted.request().upgrade();
        let place = lease.upgraded();
        return switch_protocols(
            worker,
            connection,
            upgrade,
            (&mut response, place),
            on_upgrade,
        );
    }
    let is_head = permitted.request().method() == http::Method::HEAD;
    let idle = worker.core.timeouts.idle_body;
    let (mut parts, incoming) = response.into_parts();
    shape::response_headers(&mut parts.headers);
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

/// The body with its fields masked; an answer that cannot be masked is not passed on.
async fn masked(
    mask: &Mask,
    is_head: bool,
    headers: &HeaderMap,
    body: ResponseBody,
    limit: usize,
) -> Result<ResponseBody, Refusal> {
    use http_body::Body as _;
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
        BodyError::Idle | BodyError::Broken => Refusal::UpstreamFailed,
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

/// Joins the two connections, if both sides mean the same.
fn switch_protocols(
    worker: &Rc<Worker>,
    connection: &Connection,
    asked: Upgrade,
    (response, place): (&mut Response<Incoming>, Place),
    on_upgrade: Option<OnUpgrade>,
) -> Result<Response<ResponseBody>, Refusal> {
    let agreed = asked == Upgrade::WebSocket
        && headers::has_token(response.headers(), &header::UPGRADE, "websocket")
        && headers::has_token(response.headers(), &header::CONNECTION, "upgrade");
    let (true, Some(downstream)) = (agreed, on_upgrade) else {
        return Err(Refusal::UpstreamFailed);
    };
    let upstream = hyper::upgrade::on(&mut *response);
    connection.enter_tunnel();
    let closing = worker.closing();
    tokio::task::spawn_local(async move {
        let _place = place;
        let Ok((downstream, upstream)) = futures_util::future::try_join(downstream, upstream).await
        else {
            return;
        };
        let (mut downstream, mut upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
        tokio::select! {
            () = closing.cancelled() => {}
            // How a tunnel ends is between the two ends.
            _ = tokio::io::copy_bidirectional(&mut downstream, &mut upstream) => {}
        }
    });
    let mut switched = Response::new(ResponseBody::whole(""));
    *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *switched.headers_mut() = std::mem::take(response.headers_mut());
    shape::response_headers(switched.headers_mut());
    shape::set_upgrade(switched.headers_mut());
    Ok(switched)
}

fn failure(error: &UpstreamError, record: &mut Record) -> Refusal {
    if let Some(refusal) = broken_off(record) {
        return refusal;
    }
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(request_id = record.id.as_str(), %error, source, "upstream failed");
    match error {
        UpstreamError::Full => Refusal::UpstreamFull,
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
    }
}
