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
}

impl Record for Session {
    const AREA: &'static str = "ss";
}
