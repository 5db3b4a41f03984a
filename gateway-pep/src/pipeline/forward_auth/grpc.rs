//! Envoy's external authorization over gRPC (`envoy.service.auth.v3.Authorization`): the same steps as for a
//! request that is forwarded here, and the headers that it would have had as what is to be changed.
//!
//! OK is never said without a decision: whatever is wrong with a call has a status that Envoy takes for an error.

mod answer;
mod messages;
mod question;
mod wire;

use std::rc::Rc;

use http::{HeaderMap, Request, Response, request};
use hyper::body::Incoming;
use prost::Message as _;

use super::permit;
use crate::body::RequestBody;
use crate::canonical::Ambiguity;
use crate::obligation::rate;
use crate::pipeline::authorize::permitted::Permitted;
use crate::pipeline::record::Record;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::respond;
use crate::pipeline::shape;
use crate::worker::Worker;
use crate::worker::connection::Connection;
use messages::{CheckRequest, CheckResponse, HealthCheckRequest, HealthCheckResponse, Serving};
use question::{Bounds, Question};
use wire::{Code, Fault};

pub(crate) use wire::CallBody;

/// Answers one call at a listener of the plan.
pub(crate) async fn handle(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    listener: usize,
    request: Request<Incoming>,
) -> Response<CallBody> {
    let (head, body) = request.into_parts();
    if let Err(status) = wire::is_call(&head) {
        return wire::status(status);
    }
    let plan = worker.core.plan.forward_auth.get(listener);
    let answered = if plan.is_some_and(|plan| plan.trusts(connection.client_ip())) {
        in_time(&worker, &connection, &head, body).await
    } else {
        Err(refuse_peer(&worker, connection))
    };
    answered.unwrap_or_else(wire::fault)
}

fn refuse_peer(worker: &Rc<Worker>, connection: Rc<Connection>) -> Fault {
    let mut record = Record::begin(worker.clone(), connection);
    record.for_proxy();
    let refusal = respond::refuse(&worker.core, &Refusal::UntrustedProxy, &mut record);
    record.answered(refusal.status());
    Fault::new(
        Code::PermissionDenied,
        "whoever asks is not in `proxies` of this listener",
    )
}

/// Nobody waits for an answer after the deadline: what was begun ends with it.
async fn in_time(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    head: &request::Parts,
    body: Incoming,
) -> Result<Response<CallBody>, Fault> {
    let timeouts = &worker.core.timeouts;
    let deadline = wire::deadline(&head.headers)?.unwrap_or(timeouts.response);
    let answering = async {
        let limit = u64::try_from(wire::MAX_MESSAGE_BYTES + wire::HEAD_BYTES).unwrap_or(u64::MAX);
        let (body, _) = RequestBody::new(body, head.version, limit, timeouts.idle_body);
        match head.uri.path() {
            CHECK => check(worker, connection, body).await,
            HEALTH => health(worker, body).await,
            _ => Err(Fault::new(Code::Unimplemented, "there is no such method")),
        }
    };
    let answered = tokio::time::timeout(deadline.min(timeouts.response), answering).await;
    answered.unwrap_or(Err(Fault::new(Code::DeadlineExceeded, "too late")))
}

async fn check(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    body: RequestBody,
) -> Result<Response<CallBody>, Fault> {
    let question = match ask(worker, body).await {
        Ok(question) => question,
        Err(fault) => {
            let mut record = Record::begin(worker.clone(), connection.clone());
            record.for_proxy();
            let refusal = Refusal::Ambiguous(Ambiguity::Asked);
            let refusal = respond::refuse(&worker.core, &refusal, &mut record);
            record.answered(refusal.status());
            return Err(fault);
        }
    };
    // What is logged, counted and asked is of the client and not of the proxy.
    let connection = Rc::new(connection.on_behalf_of(question.client_ip));
    let mut record = Record::begin(worker.clone(), connection);
    record.for_proxy();
    let answer = decide(worker, question, &mut record).await;
    let mut response = wire::answer(&answer);
    response.body_mut().record(record);
    Ok(response)
}

async fn ask(worker: &Worker, body: RequestBody) -> Result<Question, Fault> {
    let core = &worker.core;
    let message = CheckRequest::decode(wire::message(body).await?)
        .map_err(|_| Fault::new(Code::InvalidArgument, "the message is malformed"))?;
    let bounds = Bounds {
        headers: core.max_headers,
        head_bytes: core.head_bytes,
        limits: core.request_limits,
    };
    Question::read(message, bounds)
}

async fn decide(worker: &Rc<Worker>, question: Question, record: &mut Record) -> CheckResponse {
    let Question { request, sent, .. } = question;
    let permitted = match request {
        Ok(request) => permit(worker, request, record).await,
        Err(ambiguity) => Err(Refusal::Ambiguous(ambiguity)),
    };
    let wanted = permitted.and_then(|permitted| shaped(worker, permitted, record));
    let refusal = match wanted {
        Ok(wanted) => {
            let mut for_client = HeaderMap::new();
            respond::say_nonce(&worker.core, record, &mut for_client);
            rate::say(record.drawn(), &mut for_client);
            record.answered(http::StatusCode::OK);
            return answer::yes(&sent, &wanted, &for_client);
        }
        Err(refusal) => refusal,
    };
    let mut refused = respond::refuse(&worker.core, &refusal, record);
    respond::say_nonce(&worker.core, record, refused.headers_mut());
    rate::say(record.drawn(), refused.headers_mut());
    record.answered(refused.status());
    let (head, body) = refused.into_parts();
    // Our own words, and few of them.
    let body = body
        .collect(MAX_REFUSAL_BYTES, None)
        .await
        .unwrap_or_default();
    answer::no(&Response::from_parts(head, ()), &body)
}

/// The headers that the upstream would get from here.
fn shaped(
    worker: &Worker,
    mut permitted: Permitted,
    record: &mut Record,
) -> Result<HeaderMap, Refusal> {
    let plan = &worker.core.plan;
    let upstream = plan.upstreams.get(permitted.upstream());
    let upstream = upstream.ok_or(Refusal::NotFound)?;
    let headers = shape::upstream_headers(plan, upstream, &mut permitted, record);
    Ok(headers)
}

/// `grpc.health.v1.Health/Check`.
async fn health(worker: &Worker, body: RequestBody) -> Result<Response<CallBody>, Fault> {
    let message = HealthCheckRequest::decode(wire::message(body).await?)
        .map_err(|_| Fault::new(Code::InvalidArgument, "the message is malformed"))?;
    if !["", SERVICE].contains(&&*message.service) {
        return Err(Fault::new(Code::NotFound, "there is no such service"));
    }
    let status = if worker.is_draining() {
        Serving::No
    } else {
        Serving::Yes
    };
    Ok(wire::answer(&HealthCheckResponse {
        status: status.into(),
    }))
}

const SERVICE: &str = "envoy.service.auth.v3.Authorization";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const MAX_REFUSAL_BYTES: usize = 64 << 10;
