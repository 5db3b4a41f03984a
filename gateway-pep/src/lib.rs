//! The Policy Enforcement Point: a reverse proxy that lets a request through only when an issuer that
//! the route accepts vouches for the caller's token, and the PDP permits exactly this request.
//!
//! The path of a request is the list of files in `pipeline/`. The gateway never sees a policy,
//! keeps a token in clear only while what it was shown for lasts, and treats "not known" as a refusal.

mod access_log;
mod acme;
mod body;
mod cache;
mod canonical;
mod capacity;
mod config;
mod core;
mod error;
mod events;
mod explain;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
mod grpc;
mod guard;
mod headers;
mod identity;
mod inspect;
mod listed;
mod login;
mod maglev;
mod metrics;
mod names;
mod obligation;
mod parting;
mod pipeline;
mod plan;
mod probes;
mod proofs;
mod purge;
mod question;
mod route;
mod seal;
mod serve;
mod session;
mod step_up;
mod streams;
mod subject;
mod upstream;
mod values;
mod withdrawn;
mod worker;

pub use acme::Acme;
pub use config::{AccessLogLinesConfig, DiagnosticsConfig, LineFormat, LoggedAddress};
pub use config::{
    AcmeChallenge, AcmeConfig, AllowedOrigin, AuthMethod, CacheConfig, CertificateIssuerConfig,
    CertificateName, CertificateSubjectConfig, CertificateSubjectType, ClientScheme,
    ConditionConfig, Config, CorsConfig, Dialect, DnsConfig, DpopConfig, EncodedCharacter,
    EndpointConfig, Forward, ForwardAuthConfig, GatewayConfig, HeaderChangesConfig,
    HealthCheckConfig, HedgeConfig, Http2Config, IntrospectionIssuerConfig, IssuerConfig,
    JwtIssuerConfig, LimitsConfig, LoadBalancing, LoginConfig, Mapping, MirrorConfig, NoOrigin,
    NoPageOrigin, OutlierDetectionConfig, Per, Protocol, ProxyHeaders, PublicOrigin, RateConfig,
    RetriesConfig, RewriteConfig, RouteConfig, RouteUpstreams, SessionsConfig, StreamsConfig,
    SubjectConfig, SubjectType, TimeoutsConfig, UpstreamConfig, UpstreamTimeoutsConfig, WhenConfig,
};
pub use error::GatewayError;
pub use explain::{
    ExplainRequest, ExplainedCaller, ExplainedDecision, ExplainedOutcome, ExplainedRequest,
    ExplainedRoute, Explainer, Explanation, Stopping,
};
pub use gateway::{Gateway, GatewayParts, Prepared, RunningGateway};
pub use inspect::{EndpointState, Inspector, UpstreamState};
pub use listed::RouteState;
pub use purge::{CacheCounts, CacheState, Caches, PurgeError, PurgeRequest};
