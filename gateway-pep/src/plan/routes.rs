//! Routes, compiled: what it takes to pass each one, and which requests name it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use oauth::Scope;
use service_kit::ConfigIssue;

use super::accepting::Accepting;
use super::encoded;
use super::split::Destinations;
use super::{
    Binding, Cors, Mirror, Protection, QuestionPlan, Reading, ResourceTemplate, Rewrite, RoutePlan,
    matching, timeouts,
};
use crate::canonical::Encoded;
use crate::config::{Config, Mapping, RouteConfig};
use crate::route::{Named, Router};
use crate::step_up::StepUp;

/// Every route that can be, and where each is found.
pub(super) fn compile(
    (config, cors): (&Config, Option<&Arc<Cors>>),
    accepting: &mut Accepting<'_>,
    issues: &mut Vec<ConfigIssue>,
) -> (Vec<RoutePlan>, Router) {
    let logins: Vec<&String> = config.gateway.logins.keys().collect();
    let (mut routes, mut places) = (Vec::new(), Vec::new());
    let mut router = Router::default();
    for (index, route) in config.routes.iter().enumerate() {
        let at = place(index, route);
        match RoutePlan::compile(route, (config, &logins, cors), accepting) {
            Ok(plan) => {
                let methods = parse_methods(&route.methods, &at, issues);
                let inserted = router.insert(Named {
                    route: routes.len(),
                    host: route.host.as_deref(),
                    template: &route.matches,
                    methods: &methods,
                    priority: route.priority,
                    conditions: plan.conditions.clone(),
                });
                if let Err(message) = inserted {
                    issues.push(ConfigIssue::new(format!("{at}: {message}")));
                }
                routes.push(plan);
                places.push(at);
            }
            Err(found) => issues.extend(found.into_iter().map(|issue| issue.within(&at))),
        }
    }
    for tie in router.finish() {
        let [one, other] = [tie.one, tie.other].map(|route| places.get(route));
        let (Some(one), Some(other)) = (one, other) else {
            continue;
        };
        let issue = ConfigIssue::new(format!("{one} and {other}: {}", tie.cause));
        issues.push(issue.hint(tie.cause.hint()));
    }
    check_preflights(&router, (&routes, &places), issues);
    for (route, names) in router.told_by() {
        if let Some(route) = routes.get_mut(route) {
            route.vary = HeaderValue::try_from(names.join(", ")).ok();
        }
    }
    (routes, router)
}

/// A preflight says path and method, and nothing by which a request would tell further routes apart.
fn check_preflights(
    router: &Router,
    (routes, places): (&[RoutePlan], &[String]),
    issues: &mut Vec<ConfigIssue>,
) {
    for mut together in router.of_one_method() {
        // As they are written: what holds for one method may hold for another, and is said once.
        together.sort_unstable();
        let known = together
            .iter()
            .filter_map(|route| Some((routes.get(*route)?, places.get(*route)?)));
        let mut known = known.map(|(route, place)| (&route.cors, place));
        let Some((cors, one)) = known.next() else {
            continue;
        };
        if let Some((_, other)) = known.find(|(it, _)| *it != cors) {
            let issue = ConfigIssue::new(format!(
                "{one} and {other}: have one path and method, and another `cors`; what a browser asks before it sends a \
                 request does not say which of them the request is for"
            ));
            let issue = issue.hint("say the same at both, or at `gateway.cors` alone");
            if !issues.contains(&issue) {
                issues.push(issue);
            }
        }
    }
}

pub(super) fn place(index: usize, route: &RouteConfig) -> String {
    format!("`routes[{index}]` (`{}`)", route.matches)
}

impl RoutePlan {
    fn compile(
        route: &RouteConfig,
        (config, logins, of_gateway): (&Config, &[&String], Option<&Arc<Cors>>),
        accepting: &mut Accepting<'_>,
    ) -> Result<Self, Vec<ConfigIssue>> {
        let mut issues = Vec::new();
        if let Err(issue) = timeouts::check("timeouts", &route.timeouts) {
            issues.push(issue);
        }
        let protection = Protection::compile(route, accepting).unwrap_or_else(|issue| {
            issues.push(issue);
            Protection::Public
        });
        let login = login(route, logins).unwrap_or_else(|issue| {
            issues.push(issue);
            None
        });
        let encoded = encoded::compile(route, &protection).unwrap_or_else(|issue| {
            issues.push(issue);
            Encoded::NONE
        });
        let conditions = matching::compile(route, accepting.reserved).unwrap_or_else(|issue| {
            issues.push(issue);
            Vec::new()
        });
        let rewrite = Rewrite::compile(route, accepting.reserved).unwrap_or_else(|issue| {
            issues.push(issue);
            None
        });
        let mirror = Mirror::compile(route, config).unwrap_or_else(|issue| {
            issues.push(issue);
            None
        });
        let cors = Cors::of_route(route, (config, of_gateway)).unwrap_or_else(|issue| {
            issues.push(issue);
            None
        });
        let to = Destinations::compile(route, config, accepting.reserved);
        let to = to.map_err(|found| issues.extend(found));
        match to {
            Ok(to) if issues.is_empty() => Ok(Self {
                template: route.matches.as_str().into(),
                conditions,
                vary: None,
                rewrite,
                upstream: to.main,
                split: to.split,
                mirror,
                times: to.times,
                protection,
                encoded,
                websocket: route.websocket,
                login,
                diagnostics: route.diagnostics,
                cors,
            }),
            _ => Err(issues),
        }
    }
}

/// The login of a route, by its index.
fn login(route: &RouteConfig, logins: &[&String]) -> Result<Option<usize>, ConfigIssue> {
    let Some(name) = &route.login else {
        return Ok(None);
    };
    if binding(route)? != Binding::Any {
        return Err(ConfigIssue::new(
            "`login` and `dpop_bound_access_tokens_required` (or `certificate_…`) cannot be together: a \
             session has no key",
        )
        .hint("remove one"));
    }
    let login = logins.iter().position(|login| *login == name);
    login.map(Some).ok_or_else(|| {
        ConfigIssue::new(format!("there is no login `{name}`"))
            .hint("name it under `gateway.logins`")
    })
}

impl Protection {
    fn compile(route: &RouteConfig, accepting: &mut Accepting<'_>) -> Result<Self, ConfigIssue> {
        if route.public {
            return public(route);
        }
        let scope = Scope::parse(route.scope.as_deref().unwrap_or_default())
            .map_err(|error| ConfigIssue::new(format!("`scope`: {error}")))?;
        let question = match (route.mapping, &route.action, &route.resource) {
            (Mapping::AuthzenRoute, None, None) => QuestionPlan::AuthzenRoute,
            (Mapping::AuthzenRoute, ..) => {
                return Err(ConfigIssue::new(
                    "`mapping: authzen_route` makes action and resource from the request",
                )
                .hint("remove `action` and `resource`"));
            }
            (Mapping::Resource, Some(action), Some(resource)) => QuestionPlan::Resource {
                action: action.clone(),
                resource: ResourceTemplate::parse(resource, &route.matches)
                    .map_err(ConfigIssue::new)?,
            },
            (Mapping::Resource, ..) => {
                return Err(ConfigIssue::new("`action` and `resource` are both needed")
                    .hint("add them, or say `public: true`"));
            }
        };
        let reading = Reading::compile(route, &question, accepting.reserved)?;
        Ok(Self::Token {
            reading,
            accepted: accepting.of(route)?,
            scope,
            step_up: StepUp::compile(route)?,
            binding: binding(route)?,
            question,
            stale: route.stale_decision_secs.map(Duration::from_secs),
        })
    }
}

/// Nothing that is asked of a caller has a meaning where nobody is asked.
fn public(route: &RouteConfig) -> Result<Protection, ConfigIssue> {
    let places = [
        &route.context,
        &route.subject_properties,
        &route.resource_properties,
    ];
    let is_asked = route.action.is_some()
        || route.resource.is_some()
        || route.login.is_some()
        || !route.acr_values.is_empty()
        || route.max_age_secs.is_some()
        || route.dpop_bound_access_tokens_required
        || route.certificate_bound_access_tokens_required
        || route.issuers.is_some()
        || route.scope.is_some()
        || route.mapping == Mapping::AuthzenRoute
        || places.iter().any(|places| !places.is_empty());
    if is_asked {
        return Err(ConfigIssue::new(
            "`public` lets everyone pass, so `action`, `resource`, `scope`, `mapping`, \
             `context`, `subject_properties`, `resource_properties`, \
             `acr_values`, `max_age_secs`, `issuers`, `login` and `dpop_bound_access_tokens_required` \
             (or `certificate_…`) would mean nothing",
        )
        .hint("remove them, or remove `public`"));
    }
    Ok(Protection::Public)
}

fn binding(route: &RouteConfig) -> Result<Binding, ConfigIssue> {
    match (
        route.dpop_bound_access_tokens_required,
        route.certificate_bound_access_tokens_required,
    ) {
        (false, false) => Ok(Binding::Any),
        (true, false) => Ok(Binding::Key),
        (false, true) => Ok(Binding::Certificate),
        (true, true) => Err(ConfigIssue::new(
            "`dpop_bound_access_tokens_required` and `certificate_bound_access_tokens_required` cannot \
             be together: a token is bound to one thing",
        )
        .hint("remove one")),
    }
}

/// `None` stands for every method.
fn parse_methods(
    written: &[String],
    at: &str,
    issues: &mut Vec<ConfigIssue>,
) -> Vec<Option<Method>> {
    if written.is_empty() {
        issues.push(
            ConfigIssue::new(format!("{at}: `methods` is empty"))
                .hint("list them, or write `[\"*\"]`"),
        );
    }
    let mut methods = Vec::with_capacity(written.len());
    for word in written {
        if word == "*" {
            methods.push(None);
            continue;
        }
        match Method::from_bytes(word.as_bytes()) {
            Ok(method)
                if word
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
                    && !matches!(method, Method::CONNECT | Method::TRACE) =>
            {
                methods.push(Some(method));
            }
            _ => issues.push(
                ConfigIssue::new(format!("{at}: `{word}` is no method that can be routed"))
                    .hint("methods are upper case: `GET`, `POST` …"),
            ),
        }
    }
    methods
}
