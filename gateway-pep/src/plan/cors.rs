//! `cors:`, compiled: which origins are let in, and the fields that say so, ready to be sent.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use service_kit::ConfigIssue;

use crate::config::{AllowedOrigin, Config, CorsConfig, RouteConfig};
use crate::headers::{DPOP_NONCE, RATELIMIT, RATELIMIT_POLICY};

/// Which pages may call, and how that is said to browsers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cors {
    origins: Vec<AllowedOrigin>,
    /// Browsers may send what they have: cookies, certificates.
    pub(crate) credentials: bool,
    /// `Access-Control-Allow-Headers`
    pub(crate) headers: HeaderValue,
    /// `Access-Control-Expose-Headers`
    pub(crate) exposed: HeaderValue,
    /// `Access-Control-Max-Age`
    pub(crate) max_age: HeaderValue,
}

/// What an answer says of the origin that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission<'a> {
    /// To every origin the same.
    Any,
    Origin(&'a HeaderValue),
    No,
}

/// Pages read these of every answer: what they have to do next is in them.
const SAID: [HeaderName; 5] = [
    header::WWW_AUTHENTICATE,
    header::RETRY_AFTER,
    DPOP_NONCE,
    RATELIMIT,
    RATELIMIT_POLICY,
];

impl Cors {
    /// What `gateway.cors` says. None: pages of other origins may not call, or upstreams see to it themselves.
    pub(super) fn of_gateway(config: &Config, issues: &mut Vec<ConfigIssue>) -> Option<Arc<Self>> {
        let cors = config.gateway.cors.as_ref()?;
        let compiled = Self::compile(cors, config);
        compiled
            .map_err(|issue| issues.push(issue.within("`gateway.cors`")))
            .ok()
            .flatten()
    }

    /// What a route says, or the gateway where it says nothing.
    pub(super) fn of_route(
        route: &RouteConfig,
        (config, of_gateway): (&Config, Option<&Arc<Self>>),
    ) -> Result<Option<Arc<Self>>, ConfigIssue> {
        let cors = match &route.cors {
            None => of_gateway.cloned(),
            Some(cors) => Self::compile(cors, config).map_err(|issue| issue.within("`cors`"))?,
        };
        let set = route.response_headers.set.keys();
        let said = set.chain(&route.response_headers.remove).find(|name| {
            name.get(..15)
                .is_some_and(|start| start.eq_ignore_ascii_case("access-control-"))
        });
        if let (Some(_), Some(said)) = (&cors, said) {
            return Err(ConfigIssue::new(format!(
                "`response_headers` and `cors` both say `{said}`"
            ))
            .hint("remove it from `response_headers`, or say `cors: { origins: [] }`"));
        }
        Ok(cors)
    }

    fn compile(cors: &CorsConfig, config: &Config) -> Result<Option<Arc<Self>>, ConfigIssue> {
        if cors.origins.is_empty() {
            return Ok(None);
        }
        let is_for_any = cors.origins.contains(&AllowedOrigin::Any);
        if is_for_any && cors.origins.len() > 1 {
            return Err(ConfigIssue::new("`origins` has `*` and others")
                .hint("`*` is every origin: write it alone, or remove it"));
        }
        let has_any = |names: &[String]| names.iter().any(|name| name == "*");
        if cors.credentials
            && (is_for_any || has_any(&cors.headers) || has_any(&cors.exposed_headers))
        {
            return Err(ConfigIssue::new(
                "`credentials` and `*` cannot be together: browsers do not take it, and every page of the Internet \
                 could act as whoever looks at it",
            )
            .hint("name the origins and header fields"));
        }
        let gateway = &config.gateway;
        let mut headers = vec![header::AUTHORIZATION, header::CONTENT_TYPE];
        if !gateway.public_origins.is_empty() {
            headers.push(HeaderName::from_static("dpop"));
        }
        if let Some(name) = &gateway.api_key_header {
            // What it is wrong with is told where it is.
            headers.extend(HeaderName::try_from(name));
        }
        Ok(Some(Arc::new(Self {
            origins: cors.origins.clone(),
            credentials: cors.credentials,
            headers: list("headers", headers, &cors.headers)?,
            exposed: list("exposed_headers", SAID.to_vec(), &cors.exposed_headers)?,
            max_age: cors.max_age_secs.into(),
        })))
    }

    /// What is said to a page of this origin; `origin`: what the request says once, and no more.
    pub(crate) fn admits<'a>(&self, origin: Option<&'a HeaderValue>) -> Admission<'a> {
        if self.origins.contains(&AllowedOrigin::Any) {
            return Admission::Any;
        }
        let known = origin.filter(|origin| {
            let said = origin.to_str();
            said.is_ok_and(|said| self.origins.iter().any(|it| it.covers(said)))
        });
        known.map_or(Admission::No, Admission::Origin)
    }
}

fn list(
    key: &str,
    mut names: Vec<HeaderName>,
    more: &[String],
) -> Result<HeaderValue, ConfigIssue> {
    let mut text = String::new();
    for name in more {
        if name == "*" {
            "*".clone_into(&mut text);
            continue;
        }
        let name = HeaderName::try_from(name).map_err(|_| {
            ConfigIssue::new(format!("`{key}`: `{name}` is no name of a header field"))
        })?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    // `*` stands for all but `Authorization`, so names stay beside it.
    for name in &names {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name.as_str());
    }
    HeaderValue::try_from(text)
        .map_err(|_| ConfigIssue::new(format!("`{key}` cannot be said in a header field")))
}

#[cfg(test)]
mod tests {

    /// What is wrong with routes that are like this, beside what every route has.
    fn refused(gateway: &str, routes: &[&str]) -> Vec<String> {
        let route = |it: &&str| {
            format!("  - {{ match: /x, methods: [GET], upstream: a, public: true{it} }}\n")
        };
        let routes: String = routes.iter().map(route).collect();
        let text = format!(
            "gateway: {{ {gateway} }}\nupstreams: {{ a: 'http://127.0.0.1:9000' }}\nroutes:\n{routes}"
        );
        super::super::tests::compile(&text).map_or_else(|issues| issues, |_| Vec::new())
    }

    #[test]
    fn what_cannot_be_said_to_browsers_is_a_mistake() {
        for (gateway, routes, wanted) in [
            (
                "",
                &[", cors: { origins: ['*', 'https://a.test'] }"][..],
                "has `*` and others",
            ),
            (
                "",
                &[", cors: { origins: ['*'], credentials: true }"],
                "`credentials` and `*`",
            ),
            (
                "",
                &[", cors: { origins: ['https://a.test'], headers: ['*'], credentials: true }"],
                "`credentials` and `*`",
            ),
            (
                "",
                &[", cors: { origins: ['https://a.test'], headers: ['a b'] }"],
                "no name of a header field",
            ),
            (
                "cors: { origins: ['*'], exposed_headers: [''] }",
                &[""],
                "`gateway.cors`",
            ),
            (
                "cors: { origins: ['*'] }",
                &[", response_headers: { set: { Access-Control-Allow-Origin: x } }"],
                "both say `Access-Control-Allow-Origin`",
            ),
            (
                "",
                &[
                    ", cors: { origins: ['https://a.test'] }, when: { headers: { V: { exact: '1' } } }",
                    ", when: { headers: { V: { exact: '2' } } }",
                ],
                "have one path and method, and another `cors`",
            ),
        ] {
            let issues = refused(gateway, routes);
            assert_eq!(issues.len(), 1, "{issues:?}");
            assert!(issues[0].contains(wanted), "{wanted}: {issues:?}");
        }
        for (gateway, route) in [
            (
                "",
                ", response_headers: { set: { Access-Control-Allow-Origin: '*' } }",
            ),
            (
                "cors: { origins: ['https://a.test'] }",
                ", cors: { origins: [] }, response_headers: { remove: [Access-Control-Allow-Origin] }",
            ),
        ] {
            assert_eq!(refused(gateway, &[route]), Vec::<String>::new());
        }
    }
}
