//! What the gateway says of the resources that it protects (RFC 9728): who gives out tokens for them,
//! and which scopes there are. Made once, from configuration alone; nothing of a request is in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderValue;
use oauth::{Scope, dpop_algorithms};
use serde::Serialize;
use serde_json::{Value, json};
use service_kit::ConfigIssue;
use url::Url;

use super::{Binding, Dpop, Protection, RoutePlan, UpstreamPlan, certificates};
use crate::config::{Config, UpstreamConfig};
use crate::identity::accepted::Accepted;
use crate::identity::issuer::{Issuer, Kind};

/// The documents, where they are found, and what challenges say of them.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// By path; the resources of several hosts may share one.
    documents: BTreeMap<String, Vec<Document>>,
    /// By upstream: where its document is.
    urls: Vec<Option<String>>,
}

#[derive(Debug)]
struct Document {
    host: String,
    body: Bytes,
}

/// What is said of a resource (RFC 9728 section 2).
#[derive(Serialize)]
struct Metadata<'a> {
    resource: &'a str,
    authorization_servers: &'a [&'a str],
    scopes_supported: Vec<&'a str>,
    bearer_methods_supported: [&'a str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    dpop_signing_alg_values_supported: Option<[&'a str; 5]>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dpop_bound_access_tokens_required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_client_certificate_bound_access_tokens: bool,
}

/// RFC 9728 section 3: between the host and the path of the resource.
pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Whose tokens routes accept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Issuing<'a> {
    pub(super) issuers: &'a [Issuer],
    pub(super) sets: &'a [Accepted],
}

impl<'a> Issuing<'a> {
    /// Who gives out tokens for some route to an upstream. Whose those of the token service are,
    /// `of_token_service` says.
    fn servers(
        self,
        of_token_service: &'a [String],
        routes: &[RoutePlan],
        upstream: usize,
    ) -> Vec<&'a str> {
        let to_it = routes.iter().filter(|route| route.leads_to(upstream));
        let sets = to_it.filter_map(|route| match route.protection {
            Protection::Token { accepted, .. } => self.sets.get(accepted),
            Protection::Public => None,
        });
        let mut sets = sets.peekable();
        if sets.peek().is_none() {
            return of_token_service.iter().map(String::as_str).collect();
        }
        let indices = sets.flat_map(Accepted::indices);
        let issuers = indices.filter_map(|index| self.issuers.get(index));
        let named = issuers.flat_map(|issuer| match issuer.kind {
            Kind::TokenService(_) => of_token_service.iter().map(String::as_str).collect(),
            Kind::Jwt(_) | Kind::Introspection(_) | Kind::Certificate(_) => {
                issuer.url().into_iter().collect::<Vec<_>>()
            }
        });
        let mut servers: Vec<&str> = Vec::new();
        for server in named {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        servers
    }
}

impl Discovery {
    /// Nothing is said where no authorization server is known.
    pub(super) fn compile(
        config: &Config,
        upstreams: &[UpstreamPlan],
        (routes, dpop): (&[RoutePlan], Option<&Dpop>),
        issuing: Issuing<'_>,
        issues: &mut Vec<ConfigIssue>,
    ) -> Self {
        let servers = &config.gateway.authorization_servers;
        for server in servers {
            if !Url::parse(server).is_ok_and(|url| is_web(&url) && url.query().is_none()) {
                issues.push(ConfigIssue::new(format!(
                    "`gateway.authorization_servers`: `{server}` is no issuer: a URL without query \
                     and fragment"
                )));
            }
        }
        let mut discovery = Self::default();
        for (index, upstream) in upstreams.iter().enumerate() {
            let written = config.upstreams.get(&*upstream.name);
            let of_routes = issuing.servers(servers, routes, index);
            let announced = match of_routes.as_slice() {
                [] => None,
                // Nobody asked for it here, so a resource that cannot be announced is no mistake.
                _ if servers.is_empty() => announced(&upstream.name, written, &mut Vec::new()),
                _ => announced(&upstream.name, written, issues),
            };
            let url = match announced {
                Some(resource) => {
                    let scope = scope_of(routes, index);
                    let metadata = Metadata {
                        resource: upstream.resource.as_str(),
                        authorization_servers: &of_routes,
                        scopes_supported: scope.iter().collect(),
                        bearer_methods_supported: ["header"],
                        dpop_signing_alg_values_supported: dpop.map(|_| dpop_algorithms()),
                        dpop_bound_access_tokens_required: needs_key(routes, index),
                        tls_client_certificate_bound_access_tokens: certificates::are_asked_for(
                            config,
                        ),
                    };
                    Some(discovery.add(&resource, &json!(metadata)))
                }
                None => None,
            };
            discovery.urls.push(url);
        }
        discovery
    }

    fn add(&mut self, resource: &Url, document: &Value) -> String {
        let host = resource.host_str().unwrap_or_default().to_owned();
        let path = resource.path().trim_end_matches('/');
        let path = format!("{WELL_KNOWN}{path}");
        let url = format!("{}{path}", resource.origin().ascii_serialization());
        let documents = self.documents.entry(path).or_default();
        if !documents.iter().any(|known| known.host == host) {
            let body = document.to_string().into();
            documents.push(Document { host, body });
        }
        url
    }

    /// The document at a path. Of several hosts' it is the one of `host`; a single one is found by
    /// whatever name the gateway is called.
    pub(crate) fn document(&self, host: &str, path: &str) -> Option<&Bytes> {
        let documents = self.documents.get(path)?;
        let found = match documents.as_slice() {
            [only] => Some(only),
            several => several.iter().find(|document| document.host == host),
        };
        found.map(|document| &document.body)
    }

    /// Whether anything is said at all: a look that costs nothing.
    pub(crate) fn is_asked(&self, path: &str) -> bool {
        !self.documents.is_empty() && path.starts_with(WELL_KNOWN)
    }

    /// Where the document of an upstream's resource is.
    pub(crate) fn url(&self, upstream: usize) -> Option<&str> {
        self.urls.get(upstream)?.as_deref()
    }
}

/// The configuration changes seldom.
pub(crate) const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The resource that may be announced: one that was written, since the URL of an upstream is the
/// inside's own business.
fn announced(
    name: &str,
    written: Option<&UpstreamConfig>,
    issues: &mut Vec<ConfigIssue>,
) -> Option<Url> {
    let resource = written?.resource.as_deref()?;
    match Url::parse(resource) {
        Ok(url) if is_web(&url) && url.query().is_none() => Some(url),
        _ => {
            issues.push(
                ConfigIssue::new(format!(
                    "upstream `{name}`: `resource: {resource}` cannot be announced to clients"
                ))
                .hint(
                    "with `gateway.authorization_servers`, it is the URL under which clients reach \
                     the resource, without query and fragment (RFC 9728)",
                ),
            );
            None
        }
    }
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http") && url.has_host() && url.fragment().is_none()
}

/// Whether no route to an upstream takes a token that is not bound to a key.
fn needs_key(routes: &[RoutePlan], upstream: usize) -> bool {
    let to_it = routes.iter().filter(|route| route.leads_to(upstream));
    let mut wanted = to_it.filter_map(|route| route.protection.binding());
    // Where nothing is protected, nothing is required.
    wanted.next() == Some(Binding::Key) && wanted.all(|binding| binding == Binding::Key)
}

/// Every scope that some route to an upstream wants.
fn scope_of(routes: &[RoutePlan], upstream: usize) -> Scope {
    let to_it = routes.iter().filter(|route| route.leads_to(upstream));
    to_it.fold(Scope::empty(), |all, route| match &route.protection {
        Protection::Token { scope, .. } => all.union(scope),
        Protection::Public => all,
    })
}
