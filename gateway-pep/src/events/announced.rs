//! What gateways announce to each other in the event log, and what a worker takes it for. No token is among it.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use service_kit::{Secret, UnixTime};

/// What no longer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Token(String),
    Grant(String),
    Client(String),
    /// Sessions with this name have ended.
    Sessions(String),
    AllTokens {
        at: UnixTime,
    },
    AllDecisions {
        at: UnixTime,
    },
    Everything {
        at: UnixTime,
    },
    /// What is remembered of something is to be forgotten.
    Purge {
        purge: Purge,
        at: UnixTime,
    },
}

/// What gateways are told. Holds no token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Purge {
    Subject(String),
    Client(String),
    /// See [`token_name`].
    Token(String),
    Route(String),
    Everything,
}

/// As it stands in the event log. Gateways that do not know this forget everything.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum CacheEvent {
    CachePurged { purge: Purge },
}

/// What is told to gateways: sessions with this name have ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum SessionEvent {
    SessionsEnded { name: String },
}

/// What a token is called in the event log: a hash, keyed with what gateways share where they share something.
pub(crate) fn token_name(secret: Option<&Secret>, token: &[u8]) -> String {
    let key = secret.map_or(&b"cedargate"[..], |secret| secret.reveal().as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    context.update(b"purged token\0");
    context.update(token);
    URL_SAFE_NO_PAD.encode(context.sign())
}
