//! The question that a request is to the PDP, and the key that stands for it.
//!
//! Both are made from the same [`Question`]: [`Question::request`] reads nothing that a whole
//! [`Question::key`] leaves out, so equal whole keys are equal questions. A key of fewer
//! [`Parts`] stands for all the questions to which a decision point gives the same answer,
//! because it has said that those parts are all that its answer can depend on.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;

use authzen::{
    Action, Asked, AskedAction, AskedEntity, EvaluationRequest, Properties, Resource, Subject, Vary,
};
use matchit::Params;
use serde::Serialize;
use serde_json::{Value, json};
use strict_json::{Arena, Json, Members};

use crate::canonical::{CanonicalRequest, decode_segment};
use crate::identity::Identity;
use crate::plan::{QuestionPlan, ResourceTemplate, RoutePlan};

/// Everything that a question is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) caller: &'a Rc<Identity>,
    pub(crate) request: &'a CanonicalRequest,
    /// Index of `plan`, which never changes while a gateway runs.
    pub(crate) route: usize,
    pub(crate) route_plan: &'a RoutePlan,
    pub(crate) plan: &'a QuestionPlan,
    /// What it says beside, or in the place of, what route and path say.
    pub(crate) particulars: Option<&'a Particulars>,
}

/// About whom a question is, and where: what purges go by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) caller: &'a Rc<Identity>,
    pub(crate) route: usize,
}

/// What a question takes from elsewhere than the route and its path. All of it is in every key.
#[derive(Debug)]
pub(crate) struct Particulars {
    said: Said,
    /// As keys have it.
    encoded: Vec<u8>,
}

/// What a question says of its own.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Said {
    /// In the place of the route's.
    pub(crate) action: Option<String>,
    /// Type and id, in the place of the route's.
    pub(crate) resource: Option<(String, String)>,
    pub(crate) resource_properties: Properties,
    /// What the token says counts more.
    pub(crate) subject_properties: Properties,
    pub(crate) context: Properties,
}

impl Said {
    fn add_to(&self, request: &mut EvaluationRequest) {
        if let Some(action) = &self.action {
            request.action = Action::new(action);
        }
        for (properties, more) in [
            (&mut request.subject.properties, &self.subject_properties),
            (&mut request.resource.properties, &self.resource_properties),
            (&mut request.context, &self.context),
        ] {
            for (name, value) in more {
                // What somebody vouches for, or the gateway has seen, no request can change.
                if !properties.contains_key(name) {
                    properties.insert(name.clone(), value.clone());
                }
            }
        }
    }
}

impl Particulars {
    pub(crate) fn new(said: Said) -> Result<Self, Unaskable> {
        let encoded = serde_json::to_vec(&said).map_err(|_| Unaskable)?;
        Ok(Self { said, encoded })
    }

    /// The question about another resource than the route's.
    pub(crate) fn of_resource(
        action: Option<&str>,
        kind: &str,
        id: &str,
    ) -> Result<Self, Unaskable> {
        Self::new(Said {
            action: action.map(str::to_owned),
            resource: Some((kind.to_owned(), id.to_owned())),
            ..Said::default()
        })
    }
}

/// What names the resource of a question, and its action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The route alone.
    Route,
    /// The route and the path.
    Path,
    /// Its particulars, which every key holds.
    Particulars,
    /// Properties made of the whole request.
    Everything,
}

/// The parts of a request that a key holds, beside the subject, whole, and the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts(u8);

impl Parts {
    /// Everything: equal keys are equal questions.
    pub(crate) const WHOLE: Self = Self(0b1_1111);
    const METHOD: Self = Self(0b0_0001);
    const PATH: Self = Self(0b0_0010);
    const HOST: Self = Self(0b0_0100);
    const CLIENT_IP: Self = Self(0b0_1000);
    /// Clients of the gateway have one, and those of a proxy that asks have another.
    const SCHEME: Self = Self(0b1_0000);

    /// The parts that an answer can depend on, by what the answer says. One that says nothing
    /// can depend on everything.
    pub(crate) fn of(named: NamedBy, vary: Option<&Vary>) -> Self {
        let mut parts = match named {
            NamedBy::Route | NamedBy::Particulars => Self(0),
            NamedBy::Path => Self::PATH,
            NamedBy::Everything => return Self::WHOLE,
        };
        let Some(vary) = vary else {
            return Self::WHOLE;
        };
        for name in &vary.context {
            parts = match name.as_str() {
                "method" => parts.with(Self::METHOD),
                "path" => parts.with(Self::PATH),
                "host" => parts.with(Self::HOST),
                "client_ip" => parts.with(Self::CLIENT_IP),
                "scheme" => parts.with(Self::SCHEME),
                // The same in every request, or never sent.
                _ => parts,
            };
        }
        parts
    }

    /// Whether every part of `other` is one of these.
    pub(crate) fn cover(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The parts of both.
    pub(crate) fn joined(self, other: Self) -> Self {
        self.with(other)
    }

    fn have(self, part: Self) -> bool {
        self.cover(part)
    }

    fn with(self, part: Self) -> Self {
        Self(self.0 | part.0)
    }
}

/// A route's parameters do not fit its template. Cannot happen with a checked configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request does not fit its route")]
pub(crate) struct Unaskable;

/// Beside the parts of a key that has particulars.
const PARTICULAR: u8 = 0x80;

impl<'a> Question<'a> {
    pub(crate) fn whose(&self) -> Whose<'a> {
        Whose {
            caller: self.caller,
            route: self.route,
        }
    }
}

impl Question<'_> {
    /// Writes the key: which parts it has, then every part whole, its length before it where
    /// another part may follow.
    pub(crate) fn key(&self, parts: Parts, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&self.caller.subject_hash.to_le_bytes());
        into.extend_from_slice(&self.route.to_le_bytes());
        match self.particulars {
            None => into.push(parts.0),
            Some(particulars) => {
                into.push(parts.0 | PARTICULAR);
                into.extend_from_slice(&particulars.encoded.len().to_le_bytes());
                into.extend_from_slice(&particulars.encoded);
            }
        }
        if parts.have(Parts::CLIENT_IP) {
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
        }
        for (part, text) in [
            (Parts::METHOD, self.request.method().as_str()),
            (Parts::HOST, self.request.authority().host()),
            (Parts::SCHEME, self.request.scheme().as_str()),
        ] {
            if parts.have(part) {
                into.extend_from_slice(&text.len().to_le_bytes());
                into.extend_from_slice(text.as_bytes());
            }
        }
        if parts.have(Parts::PATH) {
            into.extend_from_slice(self.request.path().as_bytes());
        }
    }

    /// How the resource is named.
    pub(crate) fn named(&self) -> NamedBy {
        let names_all = |it: &Particulars| {
            it.said.resource.is_some() && (self.is_plain() || it.said.action.is_some())
        };
        match self.plan {
            _ if self.particulars.is_some_and(names_all) => NamedBy::Particulars,
            QuestionPlan::Resource { resource, .. } if resource.is_constant() => NamedBy::Route,
            QuestionPlan::Resource { .. } => NamedBy::Path,
            QuestionPlan::AuthzenRoute => NamedBy::Everything,
        }
    }

    /// The question itself. `params` are those of the request's path.
    pub(crate) fn request(&self, params: &Params<'_, '_>) -> Result<EvaluationRequest, Unaskable> {
        let mut request = match self.plan {
            QuestionPlan::Resource { action, resource } => {
                self.about_resource(params, (action, resource), |asked| asked.to_request())?
            }
            QuestionPlan::AuthzenRoute => EvaluationRequest {
                subject: Subject {
                    kind: "identity".into(),
                    ..self.caller.subject.clone()
                },
                action: Action::new(self.request.method().as_str()),
                resource: match self.other_resource() {
                    Some((kind, id)) => Resource::new(kind, id),
                    None => Resource {
                        properties: self.route_properties(params)?,
                        ..Resource::new("route", &*self.route_plan.template)
                    },
                },
                context: self
                    .context(&self.client_ip(), &Arena::new())
                    .to_properties(),
            },
        };
        if let Some(Particulars { said, .. }) = self.particulars {
            said.add_to(&mut request);
        }
        Ok(request)
    }

    /// Hands on the same, copied nowhere if it can be.
    pub(crate) fn ask<T>(
        &self,
        params: &Params<'_, '_>,
        ask: impl FnOnce(&Asked<'_>) -> T,
    ) -> Result<T, Unaskable> {
        match (self.plan, self.particulars) {
            (QuestionPlan::Resource { action, resource }, None) => {
                self.about_resource(params, (action, resource), ask)
            }
            _ => Ok(ask(&self.request(params)?.lend(&Arena::new()).asked())),
        }
    }

    /// What a route with an action and a resource asks, but for particulars beside the resource.
    fn about_resource<T>(
        &self,
        params: &Params<'_, '_>,
        (action, resource): (&str, &ResourceTemplate),
        ask: impl FnOnce(&Asked<'_>) -> T,
    ) -> Result<T, Unaskable> {
        let subject = &self.caller.subject;
        let (kind, id) = match self.other_resource() {
            Some((kind, id)) => (kind, Cow::from(id)),
            None => (
                resource.kind(),
                resource.id(params).ok_or(Unaskable)?.into(),
            ),
        };
        let (arena, client_ip) = (Arena::new(), self.client_ip());
        Ok(ask(&Asked {
            subject: AskedEntity {
                kind: &subject.kind,
                id: &subject.id,
                properties: &Members::lent(&subject.properties, &arena),
                text: None,
            },
            action: AskedAction {
                name: action,
                properties: &Members::NONE,
            },
            resource: AskedEntity {
                kind,
                id: &id,
                properties: &Members::NONE,
                text: None,
            },
            context: &self.context(&client_ip, &arena),
        }))
    }

    /// Type and id of the resource that stands in the place of the route's.
    fn other_resource(&self) -> Option<(&str, &str)> {
        let other = self.particulars?.said.resource.as_ref();
        other.map(|(kind, id)| (kind.as_str(), id.as_str()))
    }

    /// Whether the route names the action.
    fn is_plain(&self) -> bool {
        matches!(self.plan, QuestionPlan::Resource { .. })
    }

    fn client_ip(&self) -> String {
        self.request.client_ip().to_string()
    }

    fn context<'a>(&'a self, client_ip: &'a str, arena: &'a Arena) -> Members<'a> {
        let context = [
            ("method", self.request.method().as_str()),
            ("path", self.request.path()),
            ("host", self.request.authority().host()),
            ("scheme", self.request.scheme().as_str()),
            ("client_ip", client_ip),
        ];
        Members::of(
            context.map(|(name, value)| (name, Json::Text(value))),
            arena,
        )
    }

    fn route_properties(&self, params: &Params<'_, '_>) -> Result<Properties, Unaskable> {
        let mut decoded = Properties::new();
        for (name, value) in params.iter() {
            let value = decode_segment(value).ok_or(Unaskable)?;
            decoded.insert(name.to_owned(), Value::String(value.into_owned()));
        }
        let (host, path) = (self.request.authority().host(), self.request.path());
        let scheme = self.request.scheme().as_str();
        let mut properties = Properties::new();
        for (name, value) in [
            ("uri", json!(format!("{scheme}://{host}{path}"))),
            ("schema", json!(scheme)),
            ("hostname", json!(host)),
            ("path", json!(path)),
            ("params", Value::Object(decoded)),
            ("ip", json!(self.client_ip())),
        ] {
            properties.insert(name.to_owned(), value);
        }
        Ok(properties)
    }
}
