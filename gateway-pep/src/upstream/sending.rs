//! One request on one connection: what comes back, and what that says of whether it may be sent again.

use std::pin::pin;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::ext::Protocol;
use tokio::time::{Instant, timeout_at};

use super::UpstreamError;
use super::connections::{Sender, Wanted};
use crate::body::RequestBody;

pub(super) type Answered = (Response<Incoming>, Sender);
/// Why there is no answer, and the request, where nothing of it has left.
pub(super) type Unanswered = (UpstreamError, Option<Box<Request<RequestBody>>>);

/// Sends it, and waits for the head of its response.
pub(super) async fn exchange(
    sender: Sender,
    request: Box<Request<RequestBody>>,
    deadline: Instant,
) -> Result<Answered, Unanswered> {
    match sender {
        Sender::Http1(mut connection) => {
            let answering = pin!(connection.sender.try_send_request(*request));
            let response = told(connection.timeouts.until(deadline, answering).await)?;
            Ok((response, Sender::Http1(connection)))
        }
        Sender::Http2(stream) => {
            let is_for_tunnel = Wanted::by(&request) == Wanted::ForTunnel;
            if is_for_tunnel && !stream.takes_tunnels(deadline).await {
                let is_late = deadline <= Instant::now();
                let error = if is_late {
                    UpstreamError::ResponseTimeout
                } else {
                    UpstreamError::NoTunnel
                };
                return Err((error, Some(request)));
            }
            let answering = pin!(stream.sender().try_send_request(*request));
            match told(timeout_at(deadline, answering).await.ok()) {
                Ok(response) => Ok((response, Sender::Http2(stream))),
                Err((error, _)) if is_for_tunnel && is_no_agreement(&error) => {
                    Err((UpstreamError::NoTunnel, None))
                }
                Err(failed) => {
                    if has_ended(&failed.0) {
                        stream.leave();
                    }
                    Err(failed)
                }
            }
        }
    }
}

fn told(
    answered: Option<Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
) -> Result<Response<Incoming>, Unanswered> {
    match answered {
        Some(Ok(response)) => Ok(response),
        Some(Err(mut failed)) => {
            let unsent = failed.take_message().map(Box::new);
            Err((UpstreamError::Exchange(failed.into_error()), unsent))
        }
        None => Err((UpstreamError::ResponseTimeout, None)),
    }
}

/// Whether it is the connection that has failed, or has come to its end, and not the one request on it.
pub(super) fn has_ended(error: &UpstreamError) -> bool {
    let UpstreamError::Exchange(error) = error else {
        return false;
    };
    !of_http2(error).is_some_and(h2::Error::is_reset)
}

/// Whether an endpoint says that it has not begun on a request (RFC 9113 sections 6.8 and 8.7): it was beyond the last
/// one that it does before it goes, or was refused.
pub(super) fn is_unprocessed(error: &UpstreamError) -> bool {
    let UpstreamError::Exchange(error) = error else {
        return false;
    };
    of_http2(error).is_some_and(|said| {
        let is_refused = said.is_reset() && said.reason() == Some(h2::Reason::REFUSED_STREAM);
        said.is_remote() && (said.is_go_away() || is_refused)
    })
}

/// Whether the library below had something against an answer to a wish for a tunnel: with a body, `200` is none that
/// agrees. Its endpoint is as well as it was.
fn is_no_agreement(error: &UpstreamError) -> bool {
    let UpstreamError::Exchange(error) = error else {
        return false;
    };
    let is_own = |error: &h2::Error| !error.is_remote() && !error.is_library() && !error.is_io();
    of_http2(error)
        .is_some_and(|error| is_own(error) && error.reason() == Some(h2::Reason::INTERNAL_ERROR))
}

fn of_http2(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// The same request once more. None: its body is not at hand.
pub(super) fn copy(request: &Request<RequestBody>) -> Option<Box<Request<RequestBody>>> {
    let mut copy = Box::new(Request::new(request.body().copy()?));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    if let Some(protocol) = request.extensions().get::<Protocol>() {
        copy.extensions_mut().insert(protocol.clone());
    }
    Some(copy)
}
