//! `gateway.forward_auth:` where another proxy asks whether a request may pass, and forwards it itself.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

/// One listener. Routes, tokens, decisions and caches are the gateway's; only forwarding is not.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardAuthConfig {
    /// Where the proxy asks.
    pub listen: SocketAddr,
    /// How it says which request it asks about.
    pub dialect: Dialect,
    /// The networks that it may be in: `10.0.0.0/8`. Whoever else asks is refused. Absent: this machine.
    #[serde(default = "loopback")]
    pub proxies: Vec<String>,
    /// With `dialect: envoy`, what Envoy's `path_prefix` puts before the path.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// By what clients reach the proxy, where the question cannot say it (every dialect but `envoy_grpc`): the scheme
    /// of questions to the PDP. Absent: `http`.
    #[serde(default)]
    pub scheme: Option<ClientScheme>,
}

/// By what clients reach a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientScheme {
    Http,
    Https,
}

/// How a proxy says which request it asks about. Only the headers of the dialect are believed, each there
/// once; in all of them that are HTTP the last address of `X-Forwarded-For` is the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// `auth_request` of nginx: `X-Original-Method`, `X-Original-URI` and `X-Original-Host`. Refusals are
    /// 401, 403 or an outage: nginx knows no others.
    Nginx,
    /// Forward auth of Traefik and Caddy: `X-Forwarded-Method`, `X-Forwarded-Uri` and `X-Forwarded-Host`.
    Forwarded,
    /// Envoy's external authorization over HTTP: the request's own method, path and host.
    Envoy,
    /// Envoy's external authorization over gRPC (`envoy.service.auth.v3`), HTTP/2 without TLS: everything is
    /// in the question, the client's address also.
    EnvoyGrpc,
}

fn loopback() -> Vec<String> {
    vec!["127.0.0.0/8".into(), "::1/128".into()]
}
