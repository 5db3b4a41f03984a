//! What a route's question takes from the request, beside what its path says.

use std::collections::BTreeMap;

use http::header::{self, HeaderName};
use service_kit::ConfigIssue;

use super::source::Source;
use super::{QuestionPlan, ResourceTemplate};
use crate::config::RouteConfig;
use crate::headers::Reserved;
use crate::subject::OWN_PROPERTIES;

/// Properties by name, and where each is.
pub(crate) type Places = Vec<(String, Source)>;

/// What has to be read of a request before anybody is asked.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Whether the id of the resource is there.
    pub(crate) names_resource: bool,
    pub(crate) resource: Places,
    pub(crate) subject: Places,
    pub(crate) context: Places,
    pub(crate) needs_body: bool,
}

/// What is a credential, or frames and addresses the message.
static NOT_SAID: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
];

/// What the gateway itself says of a request.
const OWN_CONTEXT: [&str; 5] = ["method", "path", "host", "scheme", "client_ip"];

impl Reading {
    /// None: path and route say it all.
    pub(super) fn compile(
        route: &RouteConfig,
        question: &QuestionPlan,
        reserved: &Reserved,
    ) -> Result<Option<Self>, ConfigIssue> {
        let template = match question {
            QuestionPlan::Resource { resource, .. } => resource.sources(),
            QuestionPlan::AuthzenRoute => Vec::new(),
        };
        let places = |key: &str, written: &BTreeMap<String, String>, own: &[&str]| {
            places(written, own, &route.matches)
                .map_err(|why| ConfigIssue::new(format!("`{key}`: {why}")))
        };
        let reading = Self {
            names_resource: !template.is_empty(),
            resource: places("resource_properties", &route.resource_properties, &[])?,
            subject: places(
                "subject_properties",
                &route.subject_properties,
                &OWN_PROPERTIES,
            )?,
            context: places("context", &route.context, &OWN_CONTEXT)?,
            needs_body: false,
        };
        let all = template.iter().copied().chain(reading.all());
        let all: Vec<&Source> = all.collect();
        for source in &all {
            // SECURITY: what a client sends under such a name goes no further, so it can say nothing.
            if let Source::Header(name) = source
                && !is_said_by_clients(name, reserved)
            {
                return Err(ConfigIssue::new(format!(
                    "`header:{name}` is not the client's to say"
                )));
            }
        }
        let needs_body = all.iter().any(|source| source.is_body());
        let is_any = !all.is_empty();
        Ok(is_any.then_some(Self {
            needs_body,
            ..reading
        }))
    }

    fn all(&self) -> impl Iterator<Item = &Source> {
        let places = [&self.resource, &self.subject, &self.context];
        places.into_iter().flatten().map(|(_, source)| source)
    }
}

/// Whether a header is the client's to say, and goes further as it came.
pub(super) fn is_said_by_clients(name: &HeaderName, reserved: &Reserved) -> bool {
    !(reserved.covers(name.as_str()) || NOT_SAID.contains(name))
}

fn places(written: &BTreeMap<String, String>, own: &[&str], path: &str) -> Result<Places, String> {
    let place = |(name, text): (&String, &String)| {
        if own.contains(&name.as_str()) {
            return Err(format!("`{name}` is said by the gateway itself"));
        }
        let source = Source::parse(text, path)?;
        if source.is_list() {
            return Err(format!(
                "`{text}` has several values; only `resource` takes those"
            ));
        }
        Ok((name.clone(), source))
    };
    written.iter().map(place).collect()
}

impl ResourceTemplate {
    fn sources(&self) -> Vec<&Source> {
        self.pieces()
            .filter_map(super::resource::Piece::source)
            .collect()
    }
}
