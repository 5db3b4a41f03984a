//! A device's request (RFC 8628), under the keyed hash of its device code; and the user code that
//! leads to it, under its own. How fast the device polls is kept apart, under the same name as the
//! request: an answer must not have to race with a device that is in a hurry.

use std::time::Duration;

use oauth::Scope;
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Authentication, Record, keep_until};

/// What the device asked for, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceCode {
    pub(crate) state: DeviceState,
    pub(crate) client_id: String,
    /// Requested, and within what the client may have.
    pub(crate) scope: Scope,
    /// As requested (RFC 8707); empty: not restricted.
    pub(crate) resources: Vec<String>,
    pub(crate) exp: UnixTime,
}

/// Goes one way: a person answers once, and what they approved buys one family of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeviceState {
    Pending,
    Approved(Approval),
    Denied,
    /// Got this grant.
    Used {
        grant: String,
    },
}

/// Who approved what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approval {
    pub(crate) sub: String,
    pub(crate) scope: Scope,
    pub(crate) authentication: Authentication,
}

/// How fast a device polls. There is none before its first poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevicePace {
    /// How long it has to wait between two polls; grows when it does not.
    pub(crate) interval_secs: u64,
    pub(crate) polled: UnixTime,
}

/// A user code in use. Gone as soon as somebody has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserCodeUse {
    /// Handle of the device code.
    pub(crate) device: String,
}

/// A device that polls seldom shall still hear that its code has expired.
const REMEMBERED: Duration = Duration::from_mins(10);

impl DeviceCode {
    /// How long the store keeps it.
    pub(crate) fn keep(&self, now: UnixTime) -> Duration {
        keep_until(self.exp.plus(REMEMBERED), now)
    }
}

impl Record for DeviceCode {
    const AREA: &'static str = "dc";
}

impl Record for DevicePace {
    const AREA: &'static str = "dp";
}

impl Record for UserCodeUse {
    const AREA: &'static str = "uc";
}
