//! A client that has registered itself (RFC 7591), under its id; and the list of those that were
//! registered in one way, which bounds how many there are.

use serde::{Deserialize, Serialize};
use service_kit::{UnixTime, digest};

use super::Record;
use crate::client_metadata::ClientMetadata;

/// What it may have is decided when it is used: by this, within what the configuration allows then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegisteredClient {
    pub(crate) by: Registrar,
    pub(crate) metadata: ClientMetadata,
    pub(crate) secret: Option<KeptSecret>,
    /// Keyed hash of the registration access token (RFC 7592).
    pub(crate) token: String,
    pub(crate) issued: UnixTime,
    /// When it last got a token, to a day. None: it never has.
    pub(crate) used: Option<UnixTime>,
    /// It is forgotten then, where it gets no token before.
    pub(crate) exp: UnixTime,
}

/// By whose leave a client is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Registrar {
    /// An initial access token, by its name.
    Token(String),
    /// Anybody.
    Open,
}

/// The secret of a client, as its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptSecret {
    /// `sha256:…`
    pub(crate) hash: String,
    pub(crate) issued: UnixTime,
    /// None: it is good for ever.
    pub(crate) exp: Option<UnixTime>,
}

/// The clients of one registrar.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registrations {
    pub(crate) clients: Vec<ListedClient>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedClient {
    pub(crate) id: String,
    /// Before then it is not forgotten.
    pub(crate) until: UnixTime,
}

impl RegisteredClient {
    /// Whether an id is one that only a registered client can have.
    pub(crate) fn is_id(id: &str) -> bool {
        let rest = id.strip_prefix(PREFIX);
        rest.is_some_and(|rest| rest.len() == 22 && rest.bytes().all(is_id_byte))
    }

    /// A fresh one, of a random name.
    pub(crate) fn id(random: &str) -> String {
        format!("{PREFIX}{random}")
    }
}

impl Registrar {
    /// As the audit log has it.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Token(name) => name,
            Self::Open => "open",
        }
    }

    /// The id of its [`Registrations`].
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Token(name) => digest::sha256_base64url(name.as_bytes()),
            Self::Open => "open".into(),
        }
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

const PREFIX: &str = "reg_";

impl Record for RegisteredClient {
    const AREA: &'static str = "rc";
}

impl Record for Registrations {
    const AREA: &'static str = "rcs";
}
