//! Notifications: somebody is told that something was permitted. Nobody waits for it: a notification is handed over
//! to a queue with bounds, or the permit that needs it is none.

use serde_json::{Map, Value, json};
use service_kit::{LineSink, UnixTime};

use crate::canonical::CanonicalRequest;
use crate::identity::Identity;
use crate::names::RequestId;

/// Who has to be told of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) id: String,
    /// Indexes into `gateway.notifications`, which are in the order of their names.
    pub(crate) to: Vec<usize>,
    /// Without it there is no permit.
    pub(crate) is_required: bool,
}

/// What is told. Holds no token, no query and no body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) at: UnixTime,
    pub(crate) request_id: &'a RequestId,
    pub(crate) request: &'a CanonicalRequest,
    pub(crate) route: &'a str,
    pub(crate) caller: &'a Identity,
    pub(crate) decision_id: Option<&'a str>,
    pub(crate) policy_version: Option<&'a str>,
}

/// There was no room where there has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Notice {
    /// Hands it over. What need not arrive may be lost, and is counted where it is.
    pub(crate) fn tell(&self, sinks: &[LineSink], told: Told<'_>) -> Result<(), NoRoom> {
        let mut line = told.line(&self.id);
        line.push(b'\n');
        for to in &self.to {
            let is_taken = sinks.get(*to).is_some_and(|sink| sink.offer(&line));
            if !is_taken && self.is_required {
                return Err(NoRoom);
            }
        }
        Ok(())
    }
}

impl Told<'_> {
    fn line(&self, obligation: &str) -> Vec<u8> {
        let (request, caller) = (self.request, self.caller);
        let mut line = Map::new();
        for (name, value) in [
            ("ts", json!(self.at.rfc3339())),
            ("obligation", json!(obligation)),
            ("request_id", json!(self.request_id.as_str())),
            ("subject_type", json!(caller.subject.kind)),
            ("subject", json!(caller.subject.id)),
            ("client_id", json!(caller.vouched.facts.client_id)),
            ("issuer", json!(&*caller.issuer)),
            ("method", json!(request.method().as_str())),
            ("host", json!(request.authority().host())),
            ("path", json!(request.path())),
            ("route", json!(self.route)),
            ("client_ip", json!(request.client_ip().to_string())),
            ("decision_id", json!(self.decision_id)),
            ("policy_version", json!(self.policy_version)),
        ] {
            line.insert(name.to_owned(), value);
        }
        // A map of texts can be written.
        serde_json::to_vec(&Value::Object(line)).unwrap_or_default()
    }
}
