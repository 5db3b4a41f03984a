//! A read that is slow at one endpoint is asked of another one, too. The first answer is the answer; the other one is
//! given up.

use std::pin::pin;
use std::rc::Rc;

use http::Response;
use hyper::body::Incoming;
use tokio::time::sleep;

use crate::pipeline::reauthorize::confirm_now;
use crate::pipeline::record::Record;
use crate::pipeline::refusal::Refusal;
use crate::upstream::{Exchange, Hedge, Lease, UpstreamError};
use crate::worker::Worker;

type Answered = Result<(Response<Incoming>, Lease), UpstreamError>;

/// One try, or two of them side by side.
pub(super) async fn attempt(
    worker: &Rc<Worker>,
    exchange: &mut Exchange,
    record: &mut Record,
) -> Result<Answered, Refusal> {
    let Some(Hedge {
        after,
        mut other,
        retried,
    }) = exchange.hedge()
    else {
        return Ok(exchange.attempt().await);
    };
    let answered = {
        let mut first = pin!(exchange.attempt());
        tokio::select! {
            biased;
            answered = &mut first => return Ok(answered),
            () = sleep(after) => {}
        }
        // SECURITY: nobody's request is sent once more who may not make it any more.
        tokio::select! {
            biased;
            answered = &mut first => return Ok(answered),
            confirmed = confirm_now(worker, record) => confirmed?,
        }
        if !other.begins() {
            return Ok(first.await);
        }
        let mut second = pin!(other.attempt());
        let (answered, is_first) = tokio::select! {
            biased;
            answered = &mut first => (answered, true),
            answered = &mut second => (answered, false),
        };
        let is_one = |answered: &Answered| {
            let answer = answered.as_ref().ok();
            answer.is_some_and(|(response, _)| !retried.contains(&response.status()))
        };
        if is_one(&answered) {
            return Ok(answered);
        }
        let later = if is_first { second.await } else { first.await };
        // What another endpoint may have a better answer for is still better than none.
        if answered.is_err() || is_one(&later) {
            later
        } else {
            answered
        }
    };
    exchange.join(other);
    Ok(answered)
}
