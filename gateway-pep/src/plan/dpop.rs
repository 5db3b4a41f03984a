//! How tokens that are bound to a key are taken (RFC 9449): under which URL a request must have been
//! signed, and whether proofs repeat nonces.

use std::path::Path;

use oauth::DpopNonces;
use service_kit::ConfigIssue;

use super::routes::place;
use super::{Binding, RoutePlan, key_secret};
use crate::canonical::CanonicalRequest;
use crate::config::{Config, PublicOrigin};

/// What proofs are held against. Where there is none, bound tokens are refused.
#[derive(Debug)]
pub(crate) struct Dpop {
    origins: Vec<PublicOrigin>,
    /// There is but one, and no route that a host alone leads to: whatever the request calls us, it
    /// is the operation of this origin's URL.
    is_only: bool,
    /// None: they are not wanted.
    pub(crate) nonces: Option<DpopNonces>,
}

impl Dpop {
    pub(super) fn compile(
        config: &Config,
        base: &Path,
        routes: &[RoutePlan],
        issues: &mut Vec<ConfigIssue>,
    ) -> Option<Self> {
        let origins = &config.gateway.public_origins;
        let nonces = nonces(config, base).unwrap_or_else(|issue| {
            issues.push(issue);
            None
        });
        let needs = |route: &RoutePlan| route.protection.binding() == Some(Binding::Key);
        if origins.is_empty() {
            for (key, is_set) in [
                (
                    "`dpop_bound_access_tokens_required` of a route",
                    routes.iter().any(needs),
                ),
                (
                    "`gateway.dpop.require_nonce`",
                    config.gateway.dpop.require_nonce,
                ),
            ] {
                if is_set {
                    issues.push(
                        ConfigIssue::new(format!("{key} needs `gateway.public_origins`")).hint(
                            "list how clients reach the gateway, such as \
                             `https://api.example.org`: proofs name it",
                        ),
                    );
                }
            }
            return None;
        }
        check_told_apart(origins, issues);
        check_hosts(config, origins, issues);
        Some(Self {
            is_only: origins.len() == 1 && config.routes.iter().all(|route| route.host.is_none()),
            origins: origins.clone(),
            nonces,
        })
    }

    /// The URL of a request, as whoever signed it must have written it, without a query. None: it
    /// came by a name that is none of ours.
    ///
    /// SECURITY: the request picks among configured origins and brings in none. A host that leads to
    /// another operation must lead to another URL.
    pub(crate) fn url(&self, request: &CanonicalRequest) -> Option<String> {
        let authority = request.authority();
        let (host, port) = (authority.host(), authority.port());
        let mut origins = self.origins.iter();
        let origin = if self.is_only {
            origins.next()
        } else {
            origins.find(|origin| origin.is_named_by(host, port))
        };
        Some(format!("{}{}", origin?.as_str(), request.path()))
    }
}

fn nonces(config: &Config, base: &Path) -> Result<Option<DpopNonces>, ConfigIssue> {
    let dpop = &config.gateway.dpop;
    if !dpop.require_nonce {
        return Ok(None);
    }
    let (inline, file) = (dpop.nonce_secret.clone(), dpop.nonce_secret_file.as_ref());
    let secret = key_secret("gateway.dpop.nonce_secret", inline, file, base)?;
    Ok(Some(DpopNonces::new(secret.reveal().as_bytes())))
}

/// A request names host and port, and no scheme.
fn check_told_apart(origins: &[PublicOrigin], issues: &mut Vec<ConfigIssue>) {
    for (index, origin) in origins.iter().enumerate() {
        let before = origins.iter().take(index);
        for other in before.filter(|other| other.is_like(origin)) {
            issues.push(
                ConfigIssue::new(format!(
                    "`gateway.public_origins`: a request does not tell `{other}` and `{origin}` apart"
                ))
                .hint("keep one"),
            );
        }
    }
}

/// A route that only a host leads to has a URL of that host.
fn check_hosts(config: &Config, origins: &[PublicOrigin], issues: &mut Vec<ConfigIssue>) {
    for (index, route) in config.routes.iter().enumerate() {
        let Some(host) = route.host.as_ref().filter(|_| !route.public) else {
            continue;
        };
        let domain = host.strip_prefix("*.");
        let leads_here = |origin: &PublicOrigin| match domain {
            None => origin.host() == host,
            Some(domain) => {
                let parts = origin.host().split_once('.');
                parts.is_some_and(|(_, rest)| rest == domain)
            }
        };
        if !origins.iter().any(leads_here) {
            let example = domain.map_or_else(|| host.clone(), |domain| format!("api.{domain}"));
            issues.push(
                ConfigIssue::new(format!(
                    "{}: no origin of `gateway.public_origins` has the host `{host}`",
                    place(index, route)
                ))
                .hint(format!(
                    "add it, such as `https://{example}`: proofs name it"
                )),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::canonical::{Arrival, Limits, UrlScheme};
    use crate::plan::tests::compile;

    const ROUTE: &str = "match: /a, methods: [GET], upstream: a, action: x, resource: R/x";

    /// The URL of a request for `/%61%20b?c` that names `host`.
    fn url(origins: &str, routes: &str, host: &str) -> Option<String> {
        let plan = compile(&format!(
            "gateway: {{ public_origins: [{origins}] }}\nupstreams: {{ a: 'http://x' }}\n\
             routes: [{routes}]\n"
        ))
        .unwrap();
        let request = Request::get("/%61%20b?c").header("host", host);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let limits = Limits {
            target_bytes: 100,
            body_bytes: 0,
            fields: 100,
        };
        let arrival = Arrival::direct([127, 0, 0, 1].into(), UrlScheme::Http);
        let request = CanonicalRequest::new(parts, arrival, limits).ok()?;
        plan.dpop.unwrap().url(&request)
    }

    #[test]
    fn a_single_origin_is_that_of_every_request_but_where_hosts_lead_elsewhere() {
        let routes = format!("{{ {ROUTE} }}");
        for host in ["a.example", "10.0.0.1:8080", "evil.example"] {
            let found = url("'https://a.example'", &routes, host);
            assert_eq!(found.as_deref(), Some("https://a.example/a%20b"), "{host}");
        }
        let hosted = format!("{{ {ROUTE} }}, {{ {ROUTE}, host: a.example }}");
        for (host, is_known) in [
            ("a.example", true),
            ("A.example.", true),
            ("a.example:443", true),
            ("a.example:8080", false),
            ("10.0.0.1", false),
        ] {
            let found = url("'https://a.example'", &hosted, host);
            assert_eq!(found.is_some(), is_known, "{host}");
        }
    }

    #[test]
    fn of_several_origins_it_is_the_one_that_the_request_names() {
        let routes = format!("{{ {ROUTE} }}");
        let origins = "'https://a.example', 'http://b.example:8080'";
        for (host, expected) in [
            ("a.example", Some("https://a.example/a%20b")),
            ("b.example:8080", Some("http://b.example:8080/a%20b")),
            ("b.example", None),
            ("c.example", None),
        ] {
            assert_eq!(url(origins, &routes, host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn what_could_not_be_proven_is_refused_before_anything_starts() {
        let issues = compile(&format!(
            "upstreams: {{ a: 'http://x' }}\n\
             gateway: {{ dpop: {{ require_nonce: true }} }}\n\
             routes:\n\
             - {{ {ROUTE}, dpop_bound_access_tokens_required: true }}\n\
             - {{ match: /b, methods: [GET], upstream: a, public: true, dpop_bound_access_tokens_required: true }}\n"
        ))
        .unwrap_err();
        for expected in [
            "`gateway.dpop.nonce_secret` is missing",
            "`dpop_bound_access_tokens_required` of a route needs `gateway.public_origins`",
            "`gateway.dpop.require_nonce` needs `gateway.public_origins`",
            "`public` lets everyone pass",
        ] {
            let found = issues.iter().filter(|issue| issue.contains(expected));
            assert_eq!(found.count(), 1, "{expected}: {issues:?}");
        }
        let issues = compile(&format!(
            "upstreams: {{ a: 'http://x' }}\n\
             gateway:\n\
             \x20 public_origins: ['https://a.example', 'http://a.example', 'https://a.example:8443']\n\
             \x20 dpop: {{ require_nonce: true, nonce_secret: short }}\n\
             routes: [{{ {ROUTE}, host: b.example }}]\n"
        ))
        .unwrap_err();
        for expected in [
            "does not tell `https://a.example` and `http://a.example` apart",
            "no origin of `gateway.public_origins` has the host `b.example`",
            "`gateway.dpop.nonce_secret` is shorter than 32",
        ] {
            let found = issues.iter().filter(|issue| issue.contains(expected));
            assert_eq!(found.count(), 1, "{expected}: {issues:?}");
        }
        assert_eq!(issues.len(), 3, "{issues:?}");
    }
}
