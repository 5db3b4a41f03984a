//! The configuration, compiled: upstreams and routes as requests need them, or every reason why
//! they cannot be.

mod abilities;
mod accepting;
mod api_key;
mod certificates;
mod cors;
mod discovery;
mod dpop;
mod encoded;
mod forward_auth;
mod health;
mod issuers;
mod lines;
mod locality;
mod logins;
mod matching;
mod mirror;
mod networks;
mod proxies;
mod reading;
mod resource;
mod retries;
mod rewrite;
mod routes;
mod source;
mod split;
mod timeouts;
mod transport;
mod upstreams;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use oauth::{Scope, TokenIntrospector};
use service_kit::{ConfigIssue, Secret};

pub(crate) use cors::{Admission, Cors};
pub(crate) use discovery::{CACHE_CONTROL, Discovery};
pub(crate) use dpop::Dpop;
pub(crate) use forward_auth::{ForwardAuthPlan, Names, OriginalHeaders};
pub(crate) use health::{HealthCheck, HealthPlan, Outliers};
pub(crate) use lines::{LinePlan, Masked};
pub(crate) use mirror::Mirror;
pub(crate) use reading::{Places, Reading};
pub(crate) use resource::ResourceTemplate;
pub(crate) use retries::{Retries, is_repeatable};
pub(crate) use rewrite::{Rewrite, said};
pub(crate) use source::{BodyPlace, Source};
pub(crate) use split::Split;
pub(crate) use timeouts::UpstreamTimes;
pub(crate) use transport::{Http2, Transport};
pub(crate) use upstreams::{Balancing, EndpointPlan, HashOn, UpstreamPlan};

use accepting::Accepting;
use discovery::Issuing;
pub(crate) use proxies::Proxies;

use crate::canonical::Encoded;
use crate::config::{CacheConfig, Config, DiagnosticsConfig};
use crate::headers::Reserved;
use crate::identity::accepted::Accepted;
use crate::identity::issuer::{Issuer, Kind};
use crate::login::Logins;
use crate::obligation::Abilities;
use crate::obligation::rate::RatePlan;
use crate::route::{Condition, Router};
use crate::step_up::StepUp;

/// What a gateway does, in the form in which it does it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) upstreams: Vec<UpstreamPlan>,
    pub(crate) routes: Vec<RoutePlan>,
    pub(crate) router: Router,
    /// Whose tokens are taken. The token service is among them, whether it is asked or not.
    pub(crate) issuers: Arc<[Issuer]>,
    /// Sets of them.
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) discovery: Discovery,
    /// None: tokens that are bound to a key are refused.
    pub(crate) dpop: Option<Dpop>,
    pub(crate) proxies: Proxies,
    pub(crate) forward_auth: Vec<ForwardAuthPlan>,
    /// None: nobody logs in here.
    pub(crate) logins: Option<Logins>,
    pub(crate) reserved: Arc<Reserved>,
    /// Where API keys come, beside `Authorization`.
    pub(crate) api_key_header: Option<HeaderName>,
    /// What decisions may ask for.
    pub(crate) abilities: Abilities,
    pub(crate) rates: Vec<RatePlan>,
    /// What the access log says.
    pub(crate) lines: LinePlan,
    diagnostics: DiagnosticsConfig,
    /// What `gateway.cors` says.
    cors: Option<Arc<Cors>>,
    /// Whether some route has it, or all.
    pub(crate) has_cors: bool,
    /// Seals what is shared.
    pub(crate) cache_secret: Option<Secret>,
}

/// One operation that the gateway lets through.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    /// The template: what logs and metrics call the route.
    pub(crate) template: Arc<str>,
    /// What a request has to say beside host, path and method.
    pub(crate) conditions: Vec<Condition>,
    /// The header fields by which it is told from other routes of its path.
    pub(crate) vary: Option<HeaderValue>,
    /// Index into [`Plan::upstreams`]; of several, the one that gets most.
    pub(crate) upstream: usize,
    /// None: there is no other.
    pub(crate) split: Option<Box<Split>>,
    /// Who gets copies of what is forwarded.
    pub(crate) mirror: Option<Mirror>,
    pub(crate) protection: Protection,
    /// What paths may have encoded that some readers would decode.
    pub(crate) encoded: Encoded,
    /// Whether a connection may become a WebSocket.
    pub(crate) websocket: bool,
    /// What it changes on the way there and back. None: nothing.
    pub(crate) rewrite: Option<Box<Rewrite>>,
    /// How long the upstream may take.
    pub(crate) times: UpstreamTimes,
    /// Where browsers log in: index into [`Logins::all`].
    pub(crate) login: Option<usize>,
    /// What its answers say, where it is not as everywhere.
    pub(crate) diagnostics: Option<DiagnosticsConfig>,
    /// Pages of which other origins may call. None: that is the upstream's to say.
    pub(crate) cors: Option<Arc<Cors>>,
}

impl RoutePlan {
    /// Whether requests can be sent there.
    pub(crate) fn leads_to(&self, upstream: usize) -> bool {
        let split = self.split.as_ref();
        self.upstream == upstream || split.is_some_and(|split| split.leads_to(upstream))
    }

    /// How long one of its upstreams may take.
    pub(crate) fn times_of(&self, upstream: usize) -> UpstreamTimes {
        let split = self.split.as_ref();
        split
            .and_then(|split| split.times(upstream))
            .unwrap_or(self.times)
    }
}

/// What it takes to pass.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are few routes, and each is looked at often"
)]
pub(crate) enum Protection {
    Public,
    Token {
        /// Whose tokens are taken: index into [`Plan::accepted`].
        accepted: usize,
        scope: Scope,
        /// What is wanted of the login, if anything.
        step_up: Option<StepUp>,
        binding: Binding,
        question: QuestionPlan,
        /// What it takes from the request, beside the path.
        reading: Option<Reading>,
        /// How old an answer may be when the PDP cannot be reached.
        stale: Option<Duration>,
    },
}

/// What a token must be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// To whatever it is, or to nothing.
    Any,
    /// A key that signs proofs (RFC 9449).
    Key,
    /// The certificate of the connection (RFC 8705).
    Certificate,
}

impl Protection {
    /// What a token must be bound to. None: none is wanted.
    pub(crate) fn binding(&self) -> Option<Binding> {
        match self {
            Self::Public => None,
            Self::Token { binding, .. } => Some(*binding),
        }
    }
}

/// How a request becomes a question.
#[derive(Debug)]
pub(crate) enum QuestionPlan {
    Resource {
        action: String,
        resource: ResourceTemplate,
    },
    AuthzenRoute,
}

impl Plan {
    /// Compiles, or says everything that is wrong.
    ///
    /// `introspector`: the token service, where there is one.
    pub(crate) fn compile(
        config: &Config,
        base: &Path,
        introspector: Option<Arc<dyn TokenIntrospector>>,
    ) -> Result<Self, Vec<ConfigIssue>> {
        let mut issues = Vec::new();
        let issuers = issuers::compile(config, base, introspector, &mut issues);
        let reserved = Arc::new(reserved(config));
        let mut accepting = Accepting::new(config, &issuers, &reserved);
        let upstreams = upstreams::compile((config, base), &reserved, &mut issues);
        let cors = Cors::of_gateway(config, &mut issues);
        let (routes, router) =
            routes::compile((config, cors.as_ref()), &mut accepting, &mut issues);
        let accepted = accepting.sets;
        let dpop = Dpop::compile(config, base, &routes, &mut issues);
        let issuing = Issuing {
            issuers: &issuers,
            sets: &accepted,
        };
        let discovery = Discovery::compile(
            config,
            &upstreams,
            (&routes, dpop.as_ref()),
            issuing,
            &mut issues,
        );
        let proxies = Proxies::compile(&config.gateway, &mut issues);
        let forward_auth = ForwardAuthPlan::compile(config, &mut issues);
        let (abilities, rates) = abilities::compile(&config.gateway, &reserved, &mut issues);
        let api_key_header = api_key::compile(config, &mut issues);
        let logins = logins::compile(config, base, &mut issues);
        let lines = LinePlan::compile(config, &mut issues);
        check_limits(config, &mut issues);
        certificates::check(config, &mut issues);
        let cache_secret = cache_secret(&config.gateway.cache, base).unwrap_or_else(|issue| {
            issues.push(issue);
            None
        });
        if !issues.is_empty() {
            return Err(issues);
        }
        let has_cors = cors.is_some() || routes.iter().any(|route| route.cors.is_some());
        Ok(Self {
            upstreams,
            routes,
            router,
            issuers,
            accepted,
            discovery,
            dpop,
            proxies,
            forward_auth,
            logins,
            reserved,
            api_key_header,
            abilities,
            rates,
            lines,
            diagnostics: config.gateway.diagnostics,
            cors,
            has_cors,
            cache_secret,
        })
    }
}

impl Plan {
    /// What answers say of themselves, on a route or where there is none.
    pub(crate) fn diagnostics(&self, route: Option<usize>) -> DiagnosticsConfig {
        let route = route.and_then(|route| self.routes.get(route));
        let own = route.and_then(|route| route.diagnostics);
        own.unwrap_or(self.diagnostics)
    }

    /// Pages of which other origins may call, on a route or where there is none.
    pub(crate) fn cors(&self, route: Option<usize>) -> Option<&Cors> {
        match route {
            None => self.cors.as_deref(),
            Some(route) => self.routes.get(route)?.cors.as_deref(),
        }
    }

    /// Whether it is the token service that has this index among issuers.
    pub(crate) fn is_token_service(&self, issuer: usize) -> bool {
        let issuer = self.issuers.get(issuer);
        issuer.is_some_and(|issuer| matches!(issuer.kind, Kind::TokenService(_)))
    }
}

/// What names credentials is among them: no upstream may see one.
fn reserved(config: &Config) -> Reserved {
    let gateway = &config.gateway;
    let mut names = gateway.reserved_headers.clone();
    names.extend(gateway.api_key_header.clone());
    Reserved::new(&names)
}

fn check_limits(config: &Config, issues: &mut Vec<ConfigIssue>) {
    let limits = &config.gateway.limits;
    let timeouts = &config.gateway.timeouts;
    // The parser's own floor.
    if limits.head_bytes < 8192 {
        issues.push(ConfigIssue::new(
            "`gateway.limits.head_bytes` must be at least 8192",
        ));
    }
    for (name, zero) in [
        ("limits.headers", limits.headers == 0),
        ("limits.target_bytes", limits.target_bytes == 0),
        ("limits.connections", limits.connections == 0),
        ("limits.streams", limits.streams == 0),
        ("limits.filtered_elements", limits.filtered_elements == 0),
        ("limits.question_resources", limits.question_resources == 0),
        ("timeouts.head_secs", timeouts.head_secs == 0),
        ("timeouts.connect_ms", timeouts.connect_ms == 0),
        ("timeouts.response_secs", timeouts.response_secs == 0),
        ("timeouts.idle_body_secs", timeouts.idle_body_secs == 0),
        (
            "timeouts.question_body_secs",
            timeouts.question_body_secs == 0,
        ),
        ("timeouts.ask_ms", timeouts.ask_ms == 0),
        ("streams.questions", config.gateway.streams.questions == 0),
        (
            "cache.max_event_lag_ms",
            config.gateway.cache.max_event_lag_ms == 0,
        ),
    ] {
        if zero {
            issues.push(ConfigIssue::new(format!("`gateway.{name}` must not be 0")));
        }
    }
}

fn cache_secret(config: &CacheConfig, base: &Path) -> Result<Option<Secret>, ConfigIssue> {
    if config.secret.is_none() && config.secret_file.is_none() {
        return Ok(None);
    }
    let (inline, file) = (config.secret.clone(), config.secret_file.as_ref());
    key_secret("gateway.cache.secret", inline, file, base).map(Some)
}

/// A secret that keys are made of: no word that somebody has thought up.
pub(crate) fn key_secret(
    name: &str,
    inline: Option<Secret>,
    file: Option<&PathBuf>,
    base: &Path,
) -> Result<Secret, ConfigIssue> {
    let secret = Secret::from_config(name, inline, file, base)?;
    if secret.reveal().len() < 32 {
        return Err(
            ConfigIssue::new(format!("`{name}` is shorter than 32 characters"))
                .hint("make one: `openssl rand -base64 32`"),
        );
    }
    Ok(secret)
}

#[cfg(test)]
pub(crate) mod tests;
