//! Upstreams, compiled: what each is called, where it runs, and which of its endpoints gets a request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use oauth::ResourceId;
use service_kit::ConfigIssue;
use url::Url;

use super::health::HealthPlan;
use super::locality;
use super::reading::is_said_by_clients;
use super::retries::Retries;
use super::source::has_parameter;
use super::timeouts;
use super::transport::Transport;
use crate::config::{Config, EndpointConfig, LoadBalancing, UpstreamConfig};
use crate::headers::Reserved;

/// Where requests go.
#[derive(Debug)]
pub(crate) struct UpstreamPlan {
    pub(crate) name: Arc<str>,
    /// `Host` towards it; none sends the client's.
    pub(crate) host_header: Option<HeaderValue>,
    pub(crate) resource: ResourceId,
    pub(crate) transport: Transport,
    /// Whether what clients say after a body goes on.
    pub(crate) request_trailers: bool,
    /// Where it runs: one at least.
    pub(crate) endpoints: Vec<EndpointPlan>,
    /// Their names are resolved so often. None: when they are connected to.
    pub(crate) refresh: Option<Duration>,
    pub(crate) balancing: Balancing,
    pub(crate) health: HealthPlan,
    /// None: nothing is sent to another endpoint.
    pub(crate) retries: Option<Retries>,
    /// Reads that are not answered after so long are asked of another endpoint, too.
    pub(crate) hedge: Option<Duration>,
    /// Where fewer percent of the endpoints that are near are up, others get requests, too.
    pub(crate) near_percent: u8,
    pub(crate) idle_connections: usize,
    pub(crate) idle: Duration,
    /// Of one worker.
    pub(crate) connections: usize,
    pub(crate) pending: usize,
    pub(crate) pending_for: Duration,
}

/// One place where an upstream runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointPlan {
    /// `host:port`, as logs and metrics have it.
    pub(crate) name: Arc<str>,
    /// Without the brackets of an IPv6 address: resolvers want it so.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) weight: u32,
    /// In the zone of the gateway.
    pub(crate) is_near: bool,
    /// Of one worker, under way at once. None: as many as the upstream may have.
    pub(crate) most: Option<u32>,
}

/// Which endpoint gets a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Balancing {
    RoundRobin,
    LeastRequest,
    ConsistentHash(HashOn),
}

/// What of a request leads to its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HashOn {
    Header(HeaderName),
    /// A parameter of the route's template.
    Path(String),
    /// Who calls.
    Subject,
}

/// Every upstream that can be.
pub(super) fn compile(
    (config, base): (&Config, &Path),
    reserved: &Reserved,
    issues: &mut Vec<ConfigIssue>,
) -> Vec<UpstreamPlan> {
    let mut plans = Vec::with_capacity(config.upstreams.len());
    for (name, upstream) in &config.upstreams {
        match UpstreamPlan::compile(name, upstream, (config, reserved), base) {
            Ok(plan) => plans.push(plan),
            Err(issue) => issues.push(issue),
        }
    }
    plans
}

impl UpstreamPlan {
    fn compile(
        name: &str,
        config: &UpstreamConfig,
        (all, reserved): (&Config, &Reserved),
        base: &Path,
    ) -> Result<Self, ConfigIssue> {
        let wrong = |why: &str| {
            ConfigIssue::new(format!("upstream `{name}`: `{}` {why}", config.url))
                .hint("write `http://host:port` or `https://host:port`")
        };
        if config.connections == 0 {
            return Err(ConfigIssue::new(format!(
                "`upstreams.{name}.connections` must not be 0"
            )));
        }
        timeouts::check(&format!("upstreams.{name}.timeouts"), &config.timeouts)?;
        let url = Url::parse(&config.url).map_err(|error| wrong(&format!("is no url: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("must begin with `http://` or `https://`"));
        }
        let (Some(host), true) = (url.host_str(), is_bare(&url)) else {
            return Err(wrong("must be a host and a port only"));
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let header =
            HeaderValue::try_from(&authority).map_err(|_| wrong("has an unusable host"))?;
        let resource = config
            .resource
            .clone()
            .unwrap_or_else(|| format!("{}://{authority}", url.scheme()));
        let endpoints = endpoints(name, (config, all), EndpointPlan::new(host, port, 1))?;
        let retries = Retries::compile(&format!("upstreams.{name}.retries"), &config.retries)?;
        let transport = Transport::compile(name, config, (&url, &authority), base)?;
        Ok(Self {
            name: name.into(),
            host_header: (!config.preserve_host).then(|| header.clone()),
            resource: ResourceId::new(resource),
            transport,
            request_trailers: config.request_trailers,
            endpoints,
            refresh: refresh(name, config)?,
            health: HealthPlan::compile(name, config, &header)?,
            hedge: hedge(name, config, retries.as_ref())?,
            near_percent: locality::threshold(name, config)?,
            retries,
            balancing: balancing(name, config, (all, reserved))?,
            idle_connections: config.idle_connections,
            idle: Duration::from_secs(config.idle_secs),
            connections: config.connections,
            pending: config.pending,
            pending_for: Duration::from_millis(config.pending_ms),
        })
    }
}

impl EndpointPlan {
    fn new(host: &str, port: u16, weight: u32) -> Self {
        Self {
            name: format!("{host}:{port}").into(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            weight,
            is_near: true,
            most: None,
        }
    }

    /// None: it is no `host:port`.
    fn parse(config: &EndpointConfig) -> Option<Self> {
        let (_, port) = config.address.rsplit_once(':')?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
        let url = Url::parse(&format!("http://{}", config.address)).ok()?;
        let host = url.host_str().filter(|_| is_bare(&url))?;
        // The port of the scheme is not told by the URL.
        let is_whole = url.port().is_none_or(|known| known == port) && url.path() == "/";
        let is_written = config.address.trim_end_matches('/') == config.address;
        (is_whole && is_written).then(|| Self::new(host, port, config.weight))
    }
}

fn is_bare(url: &Url) -> bool {
    matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// The largest weight: sums of all of them stay far from any end.
const HEAVIEST: u32 = 1_000;

/// So many endpoints that choosing among them costs nothing that counts.
const MOST: usize = 256;

fn endpoints(
    name: &str,
    (config, all): (&UpstreamConfig, &Config),
    own: EndpointPlan,
) -> Result<Vec<EndpointPlan>, ConfigIssue> {
    if config.endpoints.is_empty() {
        return Ok(vec![own]);
    }
    let at = format!("upstreams.{name}.endpoints");
    if config.endpoints.len() > MOST {
        return Err(ConfigIssue::new(format!(
            "`{at}` has more than {MOST} endpoints"
        )));
    }
    let mut plans = Vec::<EndpointPlan>::with_capacity(config.endpoints.len());
    for endpoint in &config.endpoints {
        let address = &endpoint.address;
        let mut plan = EndpointPlan::parse(endpoint).ok_or_else(|| {
            ConfigIssue::new(format!("`{at}`: `{address}` is no address"))
                .hint("write `host:port`, without a scheme and a path")
        })?;
        if !(1..=HEAVIEST).contains(&endpoint.weight) {
            return Err(ConfigIssue::new(format!(
                "`{at}`: the weight of `{address}` must be from 1 to {HEAVIEST}"
            ))
            .hint("leave out an endpoint that is to get nothing"));
        }
        if endpoint.connections == Some(0) {
            return Err(ConfigIssue::new(format!(
                "`{at}`: `connections` of `{address}` must not be 0"
            ))
            .hint("leave out an endpoint that is to get nothing"));
        }
        plan.most = endpoint.connections;
        plan.is_near = locality::is_near(&at, endpoint, all)?;
        if plans.iter().any(|known| known.name == plan.name) {
            return Err(
                ConfigIssue::new(format!("`{at}`: `{address}` is there twice"))
                    .hint("give it a larger `weight`"),
            );
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// None: whoever is slow is waited for.
fn hedge(
    name: &str,
    config: &UpstreamConfig,
    retries: Option<&Retries>,
) -> Result<Option<Duration>, ConfigIssue> {
    let at = format!("upstreams.{name}.hedge");
    let Some(hedge) = &config.hedge else {
        return Ok(None);
    };
    if hedge.after_ms == 0 {
        return Err(ConfigIssue::new(format!("`{at}.after_ms` must not be 0"))
            .hint("write what nearly every answer takes less than"));
    }
    if retries.is_none() {
        return Err(ConfigIssue::new(format!(
            "`{at}` means nothing where `retries.attempts` is 0"
        ))
        .hint("what is asked of another endpoint is one of them"));
    }
    if config.endpoints.len() < 2 && config.dns.is_none() {
        return Err(
            ConfigIssue::new(format!("`{at}` means nothing where there is one endpoint"))
                .hint("name others by `endpoints`, or have its addresses found by `dns`"),
        );
    }
    Ok(Some(Duration::from_millis(hedge.after_ms)))
}

fn refresh(name: &str, config: &UpstreamConfig) -> Result<Option<Duration>, ConfigIssue> {
    match &config.dns {
        Some(dns) if !(1..=86_400).contains(&dns.refresh_secs) => Err(ConfigIssue::new(format!(
            "`upstreams.{name}.dns.refresh_secs` must be from 1 to 86400"
        ))),
        dns => Ok(dns
            .as_ref()
            .map(|dns| Duration::from_secs(dns.refresh_secs))),
    }
}

impl UpstreamPlan {
    /// Whether endpoints can come and go.
    pub(crate) fn is_kept(&self) -> bool {
        self.health.is_any() || self.refresh.is_some()
    }
}

fn balancing(
    name: &str,
    config: &UpstreamConfig,
    (all, reserved): (&Config, &Reserved),
) -> Result<Balancing, ConfigIssue> {
    let at = format!("upstreams.{name}.hash_on");
    match (config.load_balancing, &config.hash_on) {
        (LoadBalancing::RoundRobin, None) => Ok(Balancing::RoundRobin),
        (LoadBalancing::LeastRequest, None) => Ok(Balancing::LeastRequest),
        (LoadBalancing::ConsistentHash, Some(on)) => {
            let on = hash_on(on, name, (all, reserved))
                .map_err(|why| ConfigIssue::new(format!("`{at}`: {why}")).hint(HASH_ON))?;
            Ok(Balancing::ConsistentHash(on))
        }
        (LoadBalancing::ConsistentHash, None) => Err(ConfigIssue::new(format!(
            "`upstreams.{name}`: `consistent_hash` needs `hash_on`"
        ))
        .hint(HASH_ON)),
        (_, Some(_)) => Err(ConfigIssue::new(format!(
            "`{at}` means nothing without `load_balancing: consistent_hash`"
        ))
        .hint("say so, or remove it")),
    }
}

const HASH_ON: &str = "write `header:name`, `path:name` or `subject`";

fn hash_on(
    text: &str,
    upstream: &str,
    (config, reserved): (&Config, &Reserved),
) -> Result<HashOn, String> {
    if text == "subject" {
        return Ok(HashOn::Subject);
    }
    match text.split_once(':') {
        Some(("header", name)) => {
            let name = HeaderName::try_from(name)
                .map_err(|_| format!("`{name}` is no name of a header"))?;
            if !is_said_by_clients(&name, reserved) {
                return Err(format!("`header:{name}` is not the client's to say"));
            }
            Ok(HashOn::Header(name))
        }
        Some(("path", name)) => {
            let mut routes = config.routes.iter();
            let is_known = routes.any(|route| {
                route.upstream.leads_to(upstream) && has_parameter(&route.matches, name)
            });
            if !is_known {
                return Err(format!(
                    "no route to this upstream has a parameter `{name}`"
                ));
            }
            Ok(HashOn::Path(name.to_owned()))
        }
        _ => Err(format!("`{text}` is nothing of a request")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::compile;
    use super::*;

    fn one(settings: &str) -> Result<UpstreamPlan, String> {
        let text = format!(
            "upstreams: {{ a: {{ url: 'http://x', {settings} }} }}\n\
             routes: [{{ match: '/t/{{tenant}}', methods: [GET], upstream: a, public: true }}]\n"
        );
        let plan = compile(&text).map_err(|issues| issues.join("\n"))?;
        plan.upstreams
            .into_iter()
            .next()
            .ok_or_else(|| "none".to_owned())
    }

    #[test]
    fn an_upstream_without_endpoints_is_where_its_url_says() {
        let plan = one("").unwrap();
        assert_eq!(plan.endpoints, [EndpointPlan::new("x", 80, 1)]);
        assert_eq!(plan.balancing, Balancing::RoundRobin);
    }

    #[test]
    fn endpoints_share_what_the_upstream_is_called_and_whom_tokens_are_for() {
        let plan = one("endpoints: ['10.0.0.1:9000', { address: '[::1]:80', weight: 3 }]").unwrap();
        let names: Vec<_> = plan.endpoints.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["10.0.0.1:9000", "[::1]:80"]);
        assert_eq!(plan.endpoints[1].host, "::1");
        assert_eq!(plan.endpoints[1].weight, 3);
        assert_eq!(plan.host_header.unwrap(), "x");
        assert_eq!(plan.resource.as_str(), "http://x");
    }

    #[test]
    fn what_leads_to_an_endpoint_is_read_and_checked() {
        let on = |text: &str| {
            one(&format!(
                "load_balancing: consistent_hash, hash_on: '{text}'"
            ))
        };
        for (text, expected) in [
            (
                "header:X-Tenant",
                HashOn::Header(HeaderName::from_static("x-tenant")),
            ),
            ("path:tenant", HashOn::Path("tenant".into())),
            ("subject", HashOn::Subject),
        ] {
            let plan = on(text).unwrap();
            assert_eq!(plan.balancing, Balancing::ConsistentHash(expected));
        }
        for (text, expected) in [
            ("header:authorization", "is not the client's to say"),
            ("header:x-forwarded-for", "is not the client's to say"),
            ("header:a b", "is no name of a header"),
            ("path:id", "no route to this upstream"),
            ("cookie", "is nothing of a request"),
        ] {
            let error = on(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (settings, expected) in [
            ("endpoints: ['a']", "`a` is no address"),
            ("endpoints: ['a:0']", "`a:0` is no address"),
            ("endpoints: ['a:1/']", "`a:1/` is no address"),
            ("endpoints: ['http://a:1']", "`http://a:1` is no address"),
            ("endpoints: ['u@a:1']", "`u@a:1` is no address"),
            ("endpoints: ['a:1', 'A:1']", "`A:1` is there twice"),
            (
                "endpoints: [{ address: 'a:1', weight: 0 }]",
                "must be from 1 to 1000",
            ),
            ("load_balancing: consistent_hash", "needs `hash_on`"),
            ("hash_on: subject", "means nothing without"),
            (
                "endpoints: [{ address: 'a:1', connections: 0 }]",
                "`connections` of `a:1` must not be 0",
            ),
            (
                "endpoints: [{ address: 'a:1', zone: b }]",
                "`zone: b` means nothing without `gateway.zone`",
            ),
            ("zone_threshold_percent: 101", "must be from 0 to 100"),
            ("dns: {}, hedge: { after_ms: 0 }", "after_ms` must not be 0"),
            ("hedge: { after_ms: 9 }", "means nothing where there is one"),
            (
                "dns: {}, hedge: { after_ms: 9 }, retries: { attempts: 0 }",
                "means nothing where `retries.attempts` is 0",
            ),
            ("dns: { refresh_secs: 0 }", "must be from 1 to 86400"),
            ("panic_threshold_percent: 101", "must be from 0 to 100"),
            (
                "outlier_detection: { statuses: [404] }",
                "`404` is not from 500 to 599",
            ),
            (
                "outlier_detection: { ejection_secs: 400 }",
                "nor more than `max_ejection_secs`",
            ),
            (
                "retries: { per_try_timeout_ms: 0 }",
                "per_try_timeout_ms` must not be 0",
            ),
            (
                "retries: { budget_percent: 101 }",
                "budget_percent` must be from 0 to 100",
            ),
            ("retries: { statuses: [429] }", "`429` is not from 500"),
            ("health_check: { path: healthz }", "`healthz` is no path"),
            ("health_check: { path: '//x/y z' }", "is no path"),
            (
                "health_check: { path: /, timeout_ms: 0 }",
                "timeout_ms` must not be 0",
            ),
        ] {
            let error = one(settings).unwrap_err();
            assert!(error.contains(expected), "{settings}: {error}");
        }
    }
}
