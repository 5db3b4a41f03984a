//! Sends one token to whom it is for, and understands the answer.

use http::StatusCode;
use serde::Deserialize;
use service_kit::outbound;

use super::{Signal, message};
use crate::core::Core;
use crate::error::Trouble;
use crate::push::Message;
use crate::registry::EventReceiver;

/// What came of telling somebody.
#[derive(Debug)]
pub(super) enum Outcome {
    Taken,
    /// It will never be taken.
    Refused(String),
    /// Worth another try.
    Failed(String),
}

/// So much of a refusal is read.
const LONGEST_REFUSAL: usize = 4096;

/// RFC 8935 section 2.4. What is no word of these is not repeated in the log.
const CODES: [&str; 6] = [
    "invalid_request",
    "invalid_key",
    "invalid_issuer",
    "invalid_audience",
    "authentication_failed",
    "access_denied",
];

/// Tells a receiver of a signal.
pub(super) async fn tell(
    core: &Core,
    receiver: &EventReceiver,
    signal: &Signal,
) -> Result<Outcome, Trouble> {
    let message = Message {
        to: &receiver.endpoint,
        content_type: "application/secevent+jwt",
        secret: receiver.secret.as_ref(),
        body: message::security_event(core, receiver, signal)?,
    };
    Ok(match core.push.send(message).await {
        Ok(response) => understood(response).await,
        Err(error) => Outcome::Failed(error.to_string()),
    })
}

async fn understood(mut response: reqwest::Response) -> Outcome {
    let status = response.status();
    if status.is_success() {
        return Outcome::Taken;
    }
    if status == StatusCode::BAD_REQUEST
        && let Some(code) = refusal(&mut response).await
    {
        return Outcome::Refused(format!("it answers 400 `{code}`"));
    }
    Outcome::Failed(format!("it answers {}", status.as_u16()))
}

/// The code of an answer of RFC 8935 section 2.3; none where it is no such answer.
async fn refusal(response: &mut reqwest::Response) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Refusal {
        err: String,
    }
    let body = outbound::body(response, LONGEST_REFUSAL).await.ok()?;
    let refusal: Refusal = serde_json::from_slice(&body).ok()?;
    let known = CODES.into_iter().find(|code| *code == refusal.err);
    Some(known.unwrap_or("another code"))
}
