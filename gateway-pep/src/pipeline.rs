//! The path of a request, a step a file: canonical → route → authenticate → particulars →
//! authorize → shape → forward → respond. [`record`] goes along and is logged at the end.
//!
//! Where another proxy forwards, [`forward_auth`] takes the same steps as far as that.
//!
//! Each step takes what the step before made, and only that: a request that was not authorized
//! cannot be forwarded, because nothing else makes a `Permitted`.

mod affinity;
pub(crate) mod authenticate;
pub(crate) mod authorize;
mod cors;
mod diagnostics;
mod discover;
mod encoded;
pub(crate) mod explain;
pub(crate) mod forward;
pub(crate) mod forward_auth;
mod forwarded;
pub(crate) mod held;
pub(crate) mod login;
mod mirror;
pub(crate) mod particulars;
pub(crate) mod presented;
pub(crate) mod reauthorize;
pub(crate) mod record;
pub(crate) mod refusal;
pub(crate) mod respond;
pub(crate) mod response_body;
mod rewrite;
mod shape;
pub(crate) mod traced;
mod tunnel;

use std::rc::Rc;

use http::header::{self, HeaderMap};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::body::RequestBody;
use crate::canonical::{Ambiguity, Arrival, CanonicalRequest, Upgrade};
use crate::core::Core;
use crate::login::Reserved;
use crate::obligation::rate;
use crate::route::{Lookup, Routed};
use crate::worker::Worker;
use crate::worker::connection::Connection;
use authenticate::authenticate;
use authorize::authorize;
use authorize::permitted::Permitted;
use discover::discover;
use forward::forward;
use record::Record;
use refusal::Refusal;
pub(crate) use response_body::ResponseBody;

/// Answers one request. Every way out is a response, and is recorded.
pub(crate) async fn handle(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let mut record = Record::begin(worker.clone(), connection.clone());
    record.by_method(request.method());
    let origin = cors::origin(&worker.core, request.headers());
    let answer = if connection.accepts_next() {
        answer(&worker, &connection, request, &mut record).await
    } else {
        Err(Refusal::Ambiguous(Ambiguity::Wire))
    };
    let (mut response, status) = match answer {
        Ok(mut response) => {
            // What the gateway itself says, to everybody or to its own pages, is of no route.
            if record.route().is_some() {
                let headers = response.headers_mut();
                cors::say(&worker.core, &record, origin.as_ref(), headers);
            }
            let status = response.status();
            (response, status)
        }
        Err(refusal) => {
            let mut response = respond::refuse(&worker.core, &refusal, &mut record);
            let headers = response.headers_mut();
            diagnostics::say_error(&worker.core, &refusal, &record, headers);
            cors::say(&worker.core, &record, origin.as_ref(), headers);
            (response, refusal.status())
        }
    };
    diagnostics::say(&worker.core, &record, response.headers_mut());
    respond::say_nonce(&worker.core, &record, response.headers_mut());
    respond::vary_by_key(&worker.core, response.headers_mut());
    rate::say(record.drawn(), response.headers_mut());
    if worker.is_draining() && !connection.is_http2() {
        respond::close_after(&mut response);
    }
    record.answered(status);
    response.body_mut().record(record);
    response
}

async fn answer(
    worker: &Rc<Worker>,
    connection: &Connection,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Response<ResponseBody>, Refusal> {
    let core = &worker.core;
    let (mut parts, body) = request.into_parts();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let version = parts.version;
    record.arrived(&parts.method, &parts.headers);
    let is_waiting = parts.headers.contains_key(header::EXPECT);
    // By what the connection itself has shown.
    let is_admitted = record.is_admitted();
    let arrival = arrived(core, connection, &parts.headers, record);
    let arrival = arrival.map_err(Refusal::Ambiguous)?;
    let request =
        CanonicalRequest::new(parts, arrival, core.request_limits).map_err(Refusal::Ambiguous)?;
    record.canonical(&request);
    if !connection.stands_for(request.authority().host()) || !is_admitted {
        return Err(Refusal::Misdirected);
    }
    let (mut body, progress) = RequestBody::new(
        body,
        version,
        core.request_limits.body_bytes,
        core.body_pace,
    );
    record.body(progress);
    // SECURITY: an answer of our own would say that a stream has become a WebSocket.
    let is_stream_to_become = connection.is_http2() && request.upgrade() != Upgrade::No;
    if let Some(answer) = discover(&core.plan.discovery, &request) {
        return if is_stream_to_become {
            Err(Refusal::UpgradeNotAllowed)
        } else {
            answer
        };
    }
    if let Some(logins) = &core.plan.logins {
        let reserved = logins.reserved(request.path());
        if reserved != Reserved::No {
            if is_stream_to_become {
                return Err(Refusal::UpgradeNotAllowed);
            }
            return login::serve(worker, (logins, reserved), &request, body, record).await;
        }
    }
    if let Some(answer) = cors::preflight(core, &request, record) {
        return answer;
    }
    match permit(worker, request, Some(&mut body), record).await {
        Ok(permitted) => forward(worker, connection, permitted, body, on_upgrade, record).await,
        Err(refusal) => {
            // Whoever waits to be asked for it has not sent it (RFC 9110 section 10.1.1).
            // Of an HTTP/2 connection the stream alone ends.
            if !is_waiting && !connection.is_http2() {
                body.skip().await;
            }
            Err(refusal)
        }
    }
}

/// How it has come, by what its connection says, or the proxy in front.
fn arrived(
    core: &Core,
    connection: &Connection,
    headers: &HeaderMap,
    record: &mut Record,
) -> Result<Arrival, Ambiguity> {
    let arrival = connection.arrival();
    if connection.is_unnamed() {
        return Ok(arrival);
    }
    let Some(spoken) = forwarded::read(&core.plan.proxies, arrival, headers)? else {
        return Ok(arrival);
    };
    record.spoken_for(&spoken);
    Ok(spoken.arrival)
}

async fn permit(
    worker: &Rc<Worker>,
    request: CanonicalRequest,
    body: Option<&mut RequestBody>,
    record: &mut Record,
) -> Result<Permitted, Refusal> {
    // SECURITY: whoever asks and whatever routes say, what is the gateway's own reaches no upstream.
    let logins = worker.core.plan.logins.as_ref();
    if logins.is_some_and(|logins| logins.reserved(request.path()) != Reserved::No) {
        return Err(Refusal::NotFound);
    }
    let routed = find_route(worker, request, record)?;
    record.routed(routed.route);
    let authenticated = authenticate(worker, routed, record).await?;
    let particulars = particulars::read(worker, &authenticated, body).await?;
    authorize(worker, authenticated, particulars, record).await
}

fn find_route(
    worker: &Worker,
    request: CanonicalRequest,
    record: &Record,
) -> Result<Routed, Refusal> {
    let router = &worker.core.plan.router;
    let found = router.find((&request).into());
    let routes = &worker.core.plan.routes;
    let takes_websocket = |route: usize| routes.get(route).is_some_and(|route| route.websocket);
    encoded::check(&worker.core, &request, &found, record)?;
    match found {
        // SECURITY: of what is said on a connection that has become something else, nothing is decided.
        Lookup::Route { route } if request.upgrade() != Upgrade::No && !takes_websocket(route) => {
            Err(Refusal::UpgradeNotAllowed)
        }
        Lookup::Route { route } => Ok(Routed { request, route }),
        Lookup::MethodNotAllowed { allow } => Err(Refusal::MethodNotAllowed {
            allow: allow.clone(),
        }),
        Lookup::Unread(unread) => Err(unread.into()),
        Lookup::NotFound => Err(Refusal::NotFound),
    }
}
