//! The gateway's part of the configuration file: `gateway`, `upstreams` and `routes`.
//!
//! Only shapes and defaults. What the values mean together is checked when [`crate::plan`]
//! compiles them.

mod access_log;
mod acme;
mod cors;
mod diagnostics;
mod dpop;
mod encoded;
mod forward_auth;
mod issuer;
mod login;
mod matching;
mod mirror;
mod proxies;
mod rate;
mod rewrite;
mod short;
mod split;
mod streams;
mod upstream;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::line_sink::LineTarget;
use service_kit::traces::Stranger;
use service_kit::{NamedTlsConfig, Secret};

pub use access_log::{AccessLogLinesConfig, LineFormat, LoggedAddress};
pub use acme::{AcmeChallenge, AcmeConfig};
pub use cors::{AllowedOrigin, CorsConfig, NoPageOrigin};
pub use diagnostics::DiagnosticsConfig;
pub use dpop::{DpopConfig, NoOrigin, PublicOrigin};
pub use encoded::EncodedCharacter;
pub use forward_auth::{ClientScheme, Dialect, ForwardAuthConfig};
pub use issuer::{
    AuthMethod, CertificateIssuerConfig, CertificateName, CertificateSubjectConfig,
    CertificateSubjectType, Forward, IntrospectionIssuerConfig, IssuerConfig, JwtIssuerConfig,
    SubjectConfig, SubjectType,
};
pub use login::{LoginConfig, SessionsConfig};
pub use matching::{ConditionConfig, WhenConfig};
pub use mirror::MirrorConfig;
pub use proxies::ProxyHeaders;
pub use rate::{Per, RateConfig};
pub use rewrite::{HeaderChangesConfig, RewriteConfig};
pub use split::RouteUpstreams;
pub use streams::StreamsConfig;
pub use upstream::{
    DnsConfig, EndpointConfig, HealthCheckConfig, HedgeConfig, Http2Config, LoadBalancing,
    OutlierDetectionConfig, Protocol, RetriesConfig, UpstreamConfig, UpstreamTimeoutsConfig,
};

/// What the token service is called among issuers.
pub(crate) const TOKEN_SERVICE: &str = "token_service";

/// Everything that a gateway is configured by.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub gateway: GatewayConfig,
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    pub routes: Vec<RouteConfig>,
}

impl Config {
    /// Whether some route takes tokens that the token service has to be asked about.
    pub fn needs_token_service(&self) -> bool {
        let mut protected = self.routes.iter().filter(|route| !route.public).peekable();
        let has = |names: &[String]| names.iter().any(|name| name == TOKEN_SERVICE);
        if protected.peek().is_none() {
            return has(&self.gateway.default_issuers);
        }
        protected.any(|route| has(self.issuers_of(route)))
    }

    /// Whose tokens a route takes, by the names of [`GatewayConfig::issuers`].
    pub fn issuers_of<'c>(&'c self, route: &'c RouteConfig) -> &'c [String] {
        let own = route.issuers.as_ref();
        own.unwrap_or(&self.gateway.default_issuers)
    }
}

/// `gateway:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Clients connect by TLS. A request is answered where the certificate of its connection is the one
    /// that a connection for its host would get; else it is 421.
    pub tls: Option<NamedTlsConfig>,
    /// Certificates that the gateway gets itself, for names that lead to it. Needs `tls`.
    pub acme: Option<AcmeConfig>,
    /// Without TLS, clients may begin with HTTP/2, too (prior knowledge). By TLS they always may.
    pub h2c: bool,
    /// The networks of proxies in front of the gateway: `10.0.0.0/8`. What they say of a request's client is taken:
    /// address, scheme and `X-Request-Id`. Of others, nothing is.
    pub proxies: Vec<String>,
    pub proxy_headers: ProxyHeaders,
    /// These proxies pass on the bytes of connections, and begin each with whose they are (PROXY protocol, version 1 or 2).
    /// A connection of theirs without that is closed. Of others, nothing of the kind is taken.
    pub proxy_protocol: bool,
    /// Where other proxies ask whether a request may pass, which they forward themselves.
    pub forward_auth: Vec<ForwardAuthConfig>,
    /// Where it runs: endpoints of upstreams that are in the same `zone` get its requests first.
    pub zone: Option<String>,
    /// Worker threads; 0 means one for each core.
    pub workers: usize,
    /// The `realm` of `WWW-Authenticate` challenges.
    pub realm: String,
    /// Issuers that give out tokens for what is protected here. With them, the gateway says so to
    /// clients that look (RFC 9728): of each upstream that has a `resource`, which then is the URL
    /// under which clients reach it.
    pub authorization_servers: Vec<String>,
    /// Who gives out tokens that are taken beside those of the token service, by name.
    pub issuers: BTreeMap<String, IssuerConfig>,
    /// Whose tokens are taken on routes that do not say: names of `issuers`, and `token_service`.
    pub default_issuers: Vec<String>,
    /// How clients reach the gateway: `https://api.example.org`. With them, tokens that are bound to
    /// a key are taken, beside a proof of the key (DPoP, RFC 9449): the proof names one of these, and
    /// the path.
    pub public_origins: Vec<PublicOrigin>,
    pub dpop: DpopConfig,
    /// A header in which API keys are taken: `X-API-Key`. Without it they come, as access tokens do, in
    /// `Authorization: Bearer`. An upstream never sees it.
    pub api_key_header: Option<String>,
    /// Where people with a browser log in, by name. Routes choose one by `login`. Needs `public_origins`.
    pub logins: BTreeMap<String, LoginConfig>,
    pub sessions: SessionsConfig,
    /// Header names that only the gateway may set towards an upstream, beside the built-in ones.
    /// A name that ends in `-` stands for every name that begins so.
    pub reserved_headers: Vec<String>,
    /// What becomes of the trace that a client says its request is in (`traceparent`): it goes on, or, where clients
    /// are not to say what is recorded, another begins, with a link to theirs.
    pub client_traces: Stranger,
    /// A line for each request.
    pub access_log: LineTarget,
    pub access_log_lines: AccessLogLinesConfig,
    /// What answers say about how they came to be, on routes that do not say otherwise. Default: nothing.
    pub diagnostics: DiagnosticsConfig,
    /// Pages of which other origins may call, on routes that do not say otherwise. Default: of none, as far as upstreams
    /// do not see to it themselves.
    pub cors: Option<CorsConfig>,
    pub limits: LimitsConfig,
    pub timeouts: TimeoutsConfig,
    pub streams: StreamsConfig,
    /// Limits that decisions name (obligation `rate`).
    pub rates: BTreeMap<String, RateConfig>,
    /// Who is told, by the names that decisions have for them (obligation `notify`): JSON lines, one a notification.
    pub notifications: BTreeMap<String, LineTarget>,
    pub cache: CacheConfig,
}

/// `gateway.limits:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Request line and header fields together; longer is 431.
    pub head_bytes: usize,
    /// Header fields; more is 431.
    pub headers: usize,
    /// Path and query; longer is 414.
    pub target_bytes: usize,
    /// Request body; longer is 413.
    pub body_bytes: u64,
    /// Bytes a second with which a client must send a body, on average; 0: no matter how few. The time that it is
    /// waited for beyond that is `timeouts.idle_body_secs` in all, and comes back with what it sends. Time in which
    /// the upstream takes nothing does not count, nor do tunnels.
    pub body_bytes_per_sec: u64,
    /// A response that must be masked or filtered; longer is 502.
    pub masked_body_bytes: usize,
    /// Elements of a response that must be filtered; more is 502.
    pub filtered_elements: usize,
    /// A request body that a question is made of; longer is 413.
    pub question_body_bytes: usize,
    /// Resources that one request names; more is 400.
    pub question_resources: usize,
    /// Open connections of one worker, also those that a stream of HTTP/2 has become; more are closed at once. Fewer, where the limit of open files of the
    /// process does not hold as many.
    pub connections: usize,
    /// Of these, connections that one client address may have (an IPv6 network of 64 bits counts as one);
    /// more are closed at once. 0: as many as there are.
    pub connections_per_address: usize,
    /// Requests that one HTTP/2 connection may have in flight; more wait at the client.
    pub streams: u32,
}

/// `gateway.timeouts:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsConfig {
    /// A client gets this long to send a request head, and to shake hands; also how long an idle one is
    /// kept.
    pub head_secs: u64,
    /// Connecting to an upstream.
    pub connect_ms: u64,
    /// From the request to the upstream's response head.
    pub response_secs: u64,
    /// Between two pieces of a body, either way; and a client that takes nothing of its answer for so long gets
    /// no more. So with a WebSocket, one side of which takes nothing, or does not end when the other has.
    pub idle_body_secs: u64,
    /// The whole of a body that a question is made of; later is 408.
    pub question_body_secs: u64,
    /// One question to the token service or the PDP.
    pub ask_ms: u64,
    /// At shutdown, connections stay open this long for clients that are about to send.
    pub linger_ms: u64,
}

/// `gateway.cache:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Swapped tokens that one worker remembers; 0 asks every time.
    pub tokens: usize,
    /// Decisions that one worker remembers; 0 asks every time.
    pub decisions: usize,
    /// Longest time that a swapped token is used without asking again.
    pub token_ttl_secs: u64,
    /// Time that an inactive token is remembered as such.
    pub inactive_ttl_secs: u64,
    /// Longest time that a decision is used without asking again.
    pub decision_ttl_secs: u64,
    /// Life of entries in the shared store.
    pub shared_ttl_secs: u64,
    /// How far the clocks of gateways that share a store may differ.
    pub clock_skew_secs: u64,
    /// Caches are bypassed when the event log was not heard for longer.
    pub max_event_lag_ms: u64,
    /// Seals entries in the shared store; at least 32 characters, the same for every gateway.
    /// Without it nothing is shared.
    pub secret: Option<Secret>,
    /// A file with `secret`.
    pub secret_file: Option<PathBuf>,
}

/// One of `routes:`.
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the file")]
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Path template: `/records/{id}`, `/files/{*rest}`.
    #[serde(rename = "match")]
    pub matches: String,
    /// Methods, or `["*"]`. `GET` includes `HEAD`.
    pub methods: Vec<String>,
    /// Only for this host, or for every name with one label before a domain (`*.example.org`); without it for every host.
    #[serde(default)]
    pub host: Option<String>,
    /// What paths may have percent-encoded here, beside what changes no meaning: the upstream takes `%2F`, say, for a
    /// part of a name. Elsewhere such a path is 400.
    #[serde(default)]
    pub encoded_characters: Vec<EncodedCharacter>,
    /// A connection may become a WebSocket here. Elsewhere the wish is 403.
    #[serde(default)]
    pub websocket: bool,
    /// What else a request must say. Of several routes for one path, the most specific one whose conditions hold.
    #[serde(default)]
    pub when: WhenConfig,
    /// Of several routes for one path and method that a request fits, that with the highest. Default: 0.
    #[serde(default)]
    pub priority: i32,
    /// Name of one of `upstreams`, or several names with weights, of which one gets each request.
    pub upstream: RouteUpstreams,
    /// With several upstreams: `subject` (who calls) or `header:name`; the same value leads to the same one. A request
    /// that has none gets any of them, as all do where nothing is said.
    #[serde(default)]
    pub sticky_on: Option<String>,
    /// A second upstream that gets copies of permitted requests, and whose answers nobody sees.
    #[serde(default)]
    pub mirror: Option<MirrorConfig>,
    /// How the upstream is asked, where that is not as the client has asked.
    #[serde(default)]
    pub rewrite: RewriteConfig,
    /// Header fields that the upstream gets, or does not get.
    #[serde(default)]
    pub request_headers: HeaderChangesConfig,
    /// Header fields of the upstream's answers that the client gets, or does not get.
    #[serde(default)]
    pub response_headers: HeaderChangesConfig,
    /// AuthZEN action name.
    #[serde(default)]
    pub action: Option<String>,
    /// AuthZEN resource: `Type/id`, in which `{name}` stands for a path parameter, `{query:name}`, `{header:name}`,
    /// `{body:/pointer}` (JSON) and `{claim:name}` for what is there. `{query:name*}` (repeated), `{query:name,}` (with
    /// commas) and `{body:/items/*/id}` name several resources, all of which must be permitted.
    #[serde(default)]
    pub resource: Option<String>,
    /// Properties of the resource, by where they are: `path:name`, `query:name`, `header:name`, `body:/pointer`,
    /// `claim:name`.
    #[serde(default)]
    pub resource_properties: BTreeMap<String, String>,
    /// Properties of the subject, beside those that its token says, which count more.
    #[serde(default)]
    pub subject_properties: BTreeMap<String, String>,
    /// Members of the context, beside those that the gateway says.
    #[serde(default)]
    pub context: BTreeMap<String, String>,
    /// Scopes, separated by spaces, that the token must have before the PDP is asked.
    #[serde(default)]
    pub scope: Option<String>,
    /// Who calls must have logged in by one of these (RFC 9470): the `acr` of the token.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// Who calls must have logged in no longer ago (RFC 9470), in seconds.
    #[serde(default)]
    pub max_age_secs: Option<u64>,
    /// Whose tokens are taken here, and nobody else's: names of `gateway.issuers`, and
    /// `token_service`. Default: `gateway.default_issuers`.
    #[serde(default)]
    pub issuers: Option<Vec<String>>,
    /// Only tokens that are bound to a key are taken (RFC 9449), each with a proof of the key.
    #[serde(default)]
    pub dpop_bound_access_tokens_required: bool,
    /// Only tokens that are bound to the certificate of the connection are taken (RFC 8705).
    #[serde(default)]
    pub certificate_bound_access_tokens_required: bool,
    /// One of `gateway.logins`: browsers without a session are sent there to log in, and a session's
    /// access token counts as one that was sent. Tokens of other clients are taken as ever.
    #[serde(default)]
    pub login: Option<String>,
    /// Anyone may pass: nothing is asked, and credentials are not forwarded.
    #[serde(default)]
    pub public: bool,
    /// How a request becomes a question.
    #[serde(default)]
    pub mapping: Mapping,
    /// When the PDP cannot be reached, its last answer to the same question may be used for so
    /// long. Default: never.
    #[serde(default)]
    pub stale_decision_secs: Option<u64>,
    /// How long the upstream may take here, where that is not as its own `timeouts` have it.
    #[serde(default)]
    pub timeouts: UpstreamTimeoutsConfig,
    /// What answers say about how they came to be. Default: what `gateway.diagnostics` says.
    #[serde(default)]
    pub diagnostics: Option<DiagnosticsConfig>,
    /// Pages of which other origins may call. Default: what `gateway.cors` says.
    #[serde(default)]
    pub cors: Option<CorsConfig>,
}

/// How a request becomes a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// `action` and `resource` of the route.
    #[default]
    Resource,
    /// As AuthZEN's API gateway profile has it: subject `identity`, action = method, resource
    /// `route` = the path template.
    AuthzenRoute,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            tls: None,
            acme: None,
            h2c: false,
            proxies: Vec::new(),
            proxy_headers: ProxyHeaders::default(),
            proxy_protocol: false,
            forward_auth: Vec::new(),
            zone: None,
            workers: 0,
            realm: "cedargate".into(),
            authorization_servers: Vec::new(),
            issuers: BTreeMap::new(),
            default_issuers: vec![TOKEN_SERVICE.into()],
            public_origins: Vec::new(),
            dpop: DpopConfig::default(),
            api_key_header: None,
            logins: BTreeMap::new(),
            sessions: SessionsConfig::default(),
            reserved_headers: Vec::new(),
            client_traces: Stranger::default(),
            access_log: LineTarget::default(),
            access_log_lines: AccessLogLinesConfig::default(),
            diagnostics: DiagnosticsConfig::default(),
            cors: None,
            limits: LimitsConfig::default(),
            timeouts: TimeoutsConfig::default(),
            streams: StreamsConfig::default(),
            rates: BTreeMap::new(),
            notifications: BTreeMap::new(),
            cache: CacheConfig::default(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            head_bytes: 32 << 10,
            headers: 100,
            target_bytes: 8 << 10,
            body_bytes: 16 << 20,
            body_bytes_per_sec: 240,
            masked_body_bytes: 1 << 20,
            filtered_elements: 1_000,
            question_body_bytes: 64 << 10,
            question_resources: 100,
            connections: 10_000,
            streams: 100,
            connections_per_address: 2_000,
        }
    }
}

impl Default for TimeoutsConfig {
    fn default() -> Self {
        Self {
            head_secs: 60,
            connect_ms: 2_000,
            response_secs: 30,
            idle_body_secs: 120,
            question_body_secs: 10,
            ask_ms: 3_000,
            linger_ms: 300,
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            tokens: 20_000,
            decisions: 100_000,
            token_ttl_secs: 300,
            inactive_ttl_secs: 5,
            decision_ttl_secs: 60,
            shared_ttl_secs: 30,
            clock_skew_secs: 2,
            max_event_lag_ms: 3_000,
            secret: None,
            secret_file: None,
        }
    }
}
