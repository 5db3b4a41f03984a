//! The API keys of one subject: one list, so that how many there are is bounded, and nothing is searched for.
//! What a key is worth is said by the access token and the grant of its name, as of every token.

use oauth::Scope;
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Record, Subject, id_of};

/// See above.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiKeys {
    pub(crate) keys: Vec<ApiKey>,
}

/// One of them, without the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiKey {
    /// In URLs, decisions and the audit log.
    pub(crate) id: String,
    /// What its maker calls it.
    pub(crate) name: String,
    /// The client through which it was made: the key ends with it.
    pub(crate) client_id: String,
    pub(crate) scope: Scope,
    pub(crate) resources: Vec<String>,
    pub(crate) created: UnixTime,
    pub(crate) exp: UnixTime,
    /// The handle of its [`super::AccessToken`].
    pub(crate) handle: String,
    /// Its [`super::Grant`].
    pub(crate) grant: String,
}

impl ApiKeys {
    /// Of whom.
    pub(crate) fn id(subject: &Subject) -> String {
        id_of(subject.kind().as_str(), subject.id())
    }
}

impl Record for ApiKeys {
    const AREA: &'static str = "keys";
}
