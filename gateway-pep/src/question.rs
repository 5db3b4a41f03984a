//! The question that a request is to the PDP, and the key that stands for it.
//!
//! Both are made from the same [`Question`]: [`Question::request`] reads nothing that
//! [`Question::key`] leaves out, so equal keys are equal questions.

use std::net::IpAddr;

use authzen::{Action, EvaluationRequest, Properties, Resource, Subject};
use matchit::Params;
use serde_json::{Value, json};

use crate::cache::tokens::Swapped;
use crate::pipeline::canonical::{CanonicalRequest, decode_segment};
use crate::plan::{QuestionPlan, RoutePlan};

/// Everything that a question is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) caller: &'a Swapped,
    pub(crate) request: &'a CanonicalRequest,
    /// Index of `plan`, which never changes while a gateway runs.
    pub(crate) route: usize,
    pub(crate) route_plan: &'a RoutePlan,
    pub(crate) plan: &'a QuestionPlan,
}

/// A route's parameters do not fit its template. Cannot happen with a checked configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request does not fit its route")]
pub(crate) struct Unaskable;

impl Question<'_> {
    /// Writes the key: every part whole, its length before it where another part follows.
    pub(crate) fn key(&self, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&self.caller.subject_hash.to_le_bytes());
        into.extend_from_slice(&self.route.to_le_bytes());
        match self.request.client_ip() {
            IpAddr::V4(ip) => {
                into.push(4);
                into.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                into.push(6);
                into.extend_from_slice(&ip.octets());
            }
        }
        for part in [
            self.request.method().as_str(),
            self.request.authority().host(),
        ] {
            into.extend_from_slice(&part.len().to_le_bytes());
            into.extend_from_slice(part.as_bytes());
        }
        into.extend_from_slice(self.request.path().as_bytes());
    }

    /// The question itself. `params` are those of the request's path.
    pub(crate) fn request(&self, params: &Params<'_, '_>) -> Result<EvaluationRequest, Unaskable> {
        let request = match self.plan {
            QuestionPlan::Resource { action, resource } => EvaluationRequest {
                subject: self.caller.subject.clone(),
                action: Action::new(action),
                resource: Resource::new(resource.kind(), resource.id(params).ok_or(Unaskable)?),
                context: self.context(),
            },
            QuestionPlan::AuthzenRoute => EvaluationRequest {
                subject: Subject {
                    kind: "identity".into(),
                    ..self.caller.subject.clone()
                },
                action: Action::new(self.request.method().as_str()),
                resource: Resource {
                    properties: self.route_properties(params)?,
                    ..Resource::new("route", &*self.route_plan.template)
                },
                context: self.context(),
            },
        };
        Ok(request)
    }

    fn context(&self) -> Properties {
        let mut context = Properties::new();
        let mut put = |name: &str, value: &str| {
            context.insert(name.to_owned(), Value::String(value.to_owned()));
        };
        put("method", self.request.method().as_str());
        put("path", self.request.path());
        put("host", self.request.authority().host());
        put("scheme", "http");
        put("client_ip", &self.request.client_ip().to_string());
        context
    }

    fn route_properties(&self, params: &Params<'_, '_>) -> Result<Properties, Unaskable> {
        let mut decoded = Properties::new();
        for (name, value) in params.iter() {
            let value = decode_segment(value).ok_or(Unaskable)?;
            decoded.insert(name.to_owned(), Value::String(value.into_owned()));
        }
        let (host, path) = (self.request.authority().host(), self.request.path());
        let mut properties = Properties::new();
        for (name, value) in [
            ("uri", json!(format!("http://{host}{path}"))),
            ("schema", json!("http")),
            ("hostname", json!(host)),
            ("path", json!(path)),
            ("params", Value::Object(decoded)),
            ("ip", json!(self.request.client_ip().to_string())),
        ] {
            properties.insert(name.to_owned(), value);
        }
        Ok(properties)
    }
}
