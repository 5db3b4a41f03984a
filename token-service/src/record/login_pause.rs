//! Too many wrong passwords: for a while, nobody is asked for another one.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::Record;

/// Under what was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginPause {
    pub(crate) exp: UnixTime,
}

impl Record for LoginPause {
    const AREA: &'static str = "pause";
}
