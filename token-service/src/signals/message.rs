//! The token that tells: a security event token (RFC 8417, CAEP 1.0).

use serde_json::{Value, json};

use super::{Occurrence, Signal};
use crate::config::SubjectFormat;
use crate::core::Core;
use crate::error::Trouble;
use crate::jws::{Claims, Typ};
use crate::registry::EventReceiver;

/// CAEP 1.0 section 3.1.
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// Shared Signals Framework 1.0 section 8.1.4.
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// The same for a signal however often it is made, but for its signature.
pub(super) fn security_event(
    core: &Core,
    receiver: &EventReceiver,
    signal: &Signal,
) -> Result<String, Trouble> {
    let (event, said) = event(signal);
    let mut claims = Claims::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    // RFC 8417 section 2.2; neither `sub` nor `exp`: it must not be taken for another token.
    put("iss", core.issuer.as_str().into());
    put("aud", receiver.audience.as_str().into());
    put("iat", signal.at.as_secs().into());
    put("jti", signal.jti.as_str().into());
    put("sub_id", subject(core, receiver, signal));
    put("events", json!({ event: said }));
    core.sign(Typ::SecurityEvent, receiver.alg, &claims)
}

fn event(signal: &Signal) -> (&'static str, Value) {
    let revoked = |by: &str, why: &str| {
        json!({
            "event_timestamp": signal.at.as_secs(),
            "initiating_entity": by,
            "reason_admin": { "en": why },
        })
    };
    match &signal.what {
        Occurrence::SessionEnded { .. } => {
            (SESSION_REVOKED, revoked("user", "the login has ended"))
        }
        Occurrence::UserDisabled { .. } => {
            (SESSION_REVOKED, revoked("admin", "the user is disabled"))
        }
        Occurrence::Greeting { .. } => (VERIFICATION, json!({})),
    }
}

/// RFC 9493.
fn subject(core: &Core, receiver: &EventReceiver, signal: &Signal) -> Value {
    let user = |sub: &str| json!({ "format": "iss_sub", "iss": core.issuer.as_str(), "sub": sub });
    match (&signal.what, receiver.subject) {
        (Occurrence::Greeting { .. }, _) => json!({ "format": "opaque", "id": receiver.id }),
        (Occurrence::SessionEnded { sid, sub, .. }, SubjectFormat::Session) => json!({
            "format": "complex",
            "user": user(sub),
            "session": { "format": "opaque", "id": sid },
        }),
        (Occurrence::SessionEnded { sub, .. } | Occurrence::UserDisabled { sub }, _) => user(sub),
    }
}
