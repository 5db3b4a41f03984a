//! Routes as whoever operates a gateway sees them.

use std::sync::Arc;

use serde::Serialize;

use crate::config::{Config, EncodedCharacter, RouteConfig, RouteUpstreams, WhenConfig};

/// A route in force.
#[derive(Debug, Clone, Serialize)]
pub struct RouteState {
    /// As metrics and logs call it.
    #[serde(rename = "match")]
    pub template: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    pub methods: Vec<String>,
    #[serde(skip_serializing_if = "WhenConfig::is_empty")]
    pub when: WhenConfig,
    /// Among routes that a request fits, too.
    pub priority: i32,
    /// Of several, each with its weight.
    pub upstream: RouteUpstreams,
    /// The path that it gets, if that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewritten_to: Option<String>,
    pub is_public: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whose tokens are taken. Nobody's where it is public.
    pub issuers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// A connection may become one.
    pub websocket: bool,
    /// What may be encoded in the path, beside what means the same decoded.
    pub encoded_characters: Vec<EncodedCharacter>,
}

/// Of a configuration.
pub(crate) fn routes(config: &Config) -> Arc<[RouteState]> {
    let routes = config.routes.iter();
    routes.map(|route| RouteState::of(config, route)).collect()
}

impl RouteState {
    fn of(config: &Config, route: &RouteConfig) -> Self {
        let issuers = if route.public {
            Vec::new()
        } else {
            config.issuers_of(route).to_vec()
        };
        Self {
            template: route.matches.clone(),
            host: route.host.clone(),
            methods: route.methods.clone(),
            when: route.when.clone(),
            priority: route.priority,
            upstream: route.upstream.clone(),
            rewritten_to: route.rewrite.path.clone(),
            is_public: route.public,
            action: route.action.clone(),
            resource: route.resource.clone(),
            scope: route.scope.clone(),
            issuers,
            login: route.login.clone(),
            websocket: route.websocket,
            encoded_characters: route.encoded_characters.clone(),
        }
    }
}
