//! A grant: what one subject allowed one client, and the family of tokens that dies with it.

use oauth::{Actor, Scope, SubjectKind};
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::Record;
use crate::config::GrantType;

/// Looked at whenever a token of the family is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) state: GrantState,
    pub(crate) subject: Subject,
    pub(crate) client_id: String,
    pub(crate) grant_type: GrantType,
    /// The most that its tokens can have.
    pub(crate) scope: Scope,
    /// As requested (RFC 8707); empty: not restricted.
    pub(crate) resources: Vec<String>,
    pub(crate) created: UnixTime,
    pub(crate) exp: UnixTime,
    /// How the user logged in; none for a client on its own behalf.
    pub(crate) authentication: Option<Authentication>,
    /// Where it came of an exchange (RFC 8693).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exchanged: Option<Exchanged>,
    /// Of an API key: its id. The rest is as it was granted to whoever made the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
}

/// What a grant was exchanged from. It dies with any of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exchanged {
    /// Who acts for the subject.
    pub(crate) act: Option<Actor>,
    /// The client whose token was the subject token.
    pub(crate) subject_client: String,
    /// Who had to be allowed to act: the exchanging client, or whose the actor token was.
    pub(crate) party: String,
    /// Handles of all access tokens that it hangs on: those of subject and actor, and what these were
    /// exchanged from.
    pub(crate) origins: Vec<String>,
}

/// Revocation is for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GrantState {
    Live,
    Revoked,
}

/// Whose grant it is: the two name spaces never mix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    User(String),
    Client(String),
}

/// One login of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Authentication {
    pub(crate) at: UnixTime,
    pub(crate) amr: Vec<String>,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acr: Option<String>,
    /// The session's public id, for ID tokens.
    pub(crate) sid: String,
}

impl Subject {
    pub(crate) fn kind(&self) -> SubjectKind {
        match self {
            Self::User(_) => SubjectKind::User,
            Self::Client(_) => SubjectKind::Client,
        }
    }

    pub(crate) fn id(&self) -> &str {
        match self {
            Self::User(id) | Self::Client(id) => id,
        }
    }
}

impl Grant {
    pub(crate) fn is_live(&self, now: UnixTime) -> bool {
        self.state == GrantState::Live && now < self.exp
    }
}

impl Record for Grant {
    const AREA: &'static str = "grant";
}
