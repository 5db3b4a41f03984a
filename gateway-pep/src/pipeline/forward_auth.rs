//! The path of a question from another proxy: the same steps, for the request that the proxy asks about.
//! It ends before forwarding: the proxy is told yes, with what the upstream is to get, or no.

mod asked;
pub(crate) mod grpc;

use std::rc::Rc;

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::authorize::permitted::Permitted;
use super::record::Record;
use super::refusal::Refusal;
use super::respond;
use super::response_body::ResponseBody;
use crate::body::RequestBody;
use crate::canonical::{Ambiguity, CanonicalRequest};
use crate::config::Dialect;
use crate::headers::X_REQUEST_ID;
use crate::obligation::{Obligations, rate};
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// Answers one question.
pub(crate) async fn handle(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    listener: usize,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let core = &worker.core;
    let plan = core.plan.forward_auth.get(listener);
    let (parts, body) = request.into_parts();
    let limits = core.request_limits;
    let asked = if connection.accepts_next() {
        let trusted = plan.filter(|plan| plan.trusts(connection.client_ip()));
        trusted
            .ok_or(Refusal::UntrustedProxy)
            .and_then(|plan| asked::read(plan, parts, limits).map_err(Refusal::Ambiguous))
    } else {
        Err(Refusal::Ambiguous(Ambiguity::Wire))
    };
    // What is logged, counted and asked is of the client and not of the proxy.
    let client = asked.as_ref().map(CanonicalRequest::client_ip);
    let connection = client.map_or(connection.clone(), |client| {
        Rc::new(connection.on_behalf_of(client))
    });
    let mut record = Record::begin(worker.clone(), connection);
    record.for_proxy();
    let (body, progress) = RequestBody::new(
        body,
        Version::HTTP_11,
        limits.body_bytes,
        core.timeouts.idle_body,
    );
    record.body(progress);
    body.skip().await;
    let permitted = match asked {
        Ok(request) => permit(&worker, request, &mut record).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = match permitted {
        Ok(permitted) => approve(&permitted, &record),
        Err(refusal) => {
            let mut response = respond::refuse(core, &refusal, &mut record);
            respond::say_nonce(core, &record, response.headers_mut());
            rate::say(record.drawn(), response.headers_mut());
            if let Some(plan) = plan {
                say_in(plan.dialect, &mut response);
            }
            response
        }
    };
    if worker.is_draining() {
        respond::close_after(&mut response);
    }
    record.answered(response.status());
    response.body_mut().record(record);
    response
}

/// A permit under conditions that can be kept by whoever forwards.
async fn permit(
    worker: &Rc<Worker>,
    request: CanonicalRequest,
    record: &mut Record,
) -> Result<Permitted, Refusal> {
    record.canonical(&request);
    // Of the client's body, no proxy sends anything.
    let permitted = super::permit(worker, request, None, record).await?;
    if permitted.obligations().is_some_and(Obligations::shapes) {
        // The answer of the upstream never comes by here, and what else the proxy copies is not known.
        return Err(Refusal::Obligation);
    }
    Ok(permitted)
}

/// The yes. What the proxy is to send on in the place of the caller's credential is part of it; on a public
/// route that is nothing, and said, so that no credential passes there either.
fn approve(permitted: &Permitted, record: &Record) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(""));
    let headers = response.headers_mut();
    let caller = permitted.caller();
    let authorization = caller.and_then(|caller| caller.vouched.forwarded.clone());
    let authorization = authorization.unwrap_or(HeaderValue::from_static(""));
    headers.insert(header::AUTHORIZATION, authorization);
    headers.insert(X_REQUEST_ID, record.id.as_header());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal in the words that the proxy knows. To nginx anything but these is an error of ours, and the
/// client would see 500.
fn say_in(dialect: Dialect, response: &mut Response<ResponseBody>) {
    let status = response.status();
    if dialect == Dialect::Nginx && status.is_client_error() && status != StatusCode::UNAUTHORIZED {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
}
