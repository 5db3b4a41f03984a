//! A login in a browser, under the keyed hash of its cookie.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Authentication, Record};

/// Who is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) sub: String,
    pub(crate) authentication: Authentication,
    pub(crate) exp: UnixTime,
    /// Where they have logged in, if not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<Upstream>,
}

/// A login at an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upstream {
    pub(crate) provider: String,
    /// The provider has said when it saw them; else only that it has.
    pub(crate) is_dated: bool,
    /// The ID token, sealed: it is shown to the provider again at logout.
    pub(crate) id_token: String,
}

impl Record for Session {
    const AREA: &'static str = "ss";
}
