//! What lines of the access log say, compiled.

use http::{HeaderName, header};
use serde_json::Value;
use service_kit::ConfigIssue;

use crate::config::{Config, LineFormat, LoggedAddress, RouteConfig};

/// What a line looks like, and what of a request it may say.
#[derive(Debug, Default)]
pub(crate) struct LinePlan {
    pub(crate) format: LineFormat,
    /// None: no query is logged.
    pub(crate) query: Option<Vec<String>>,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) address: LoggedAddress,
    /// By route: which segments of its path are not said. Empty: all are, on every route.
    pub(crate) masked: Vec<Vec<Masked>>,
    /// Every route as JSON writes it, where lines are JSON.
    pub(crate) routes: Vec<Box<str>>,
}

/// A part of a path that is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Masked {
    /// Counted from 0.
    Segment(usize),
    /// It and all behind it.
    From(usize),
}

/// Parts of names of what holds credentials.
const SECRETIVE: [&str; 16] = [
    "apikey",
    "assertion",
    "auth",
    "cookie",
    "credential",
    "dpop",
    "jwt",
    "key",
    "passw",
    "pwd",
    "secret",
    "session",
    "signature",
    "token",
    "client-cert",
    "tls-client",
];

/// Whole names of query parameters that do.
const SECRETS: [&str; 9] = [
    "code", "nonce", "otp", "pass", "pin", "sid", "sig", "state", "ticket",
];

impl LinePlan {
    pub(super) fn compile(config: &Config, issues: &mut Vec<ConfigIssue>) -> Self {
        let lines = &config.gateway.access_log_lines;
        let mut plan = Self {
            format: lines.format,
            query: lines.query.clone(),
            headers: Vec::new(),
            address: lines.client_address,
            masked: Vec::new(),
            routes: Vec::new(),
        };
        let mut refuse = |what: String, hint: &str| {
            let issue = ConfigIssue::new(format!("`gateway.access_log_lines.{what}"));
            issues.push(issue.hint(hint));
        };
        for name in lines.query.iter().flatten() {
            if may_be_secret(name) || SECRETS.contains(&&*name.to_ascii_lowercase()) {
                let what = format!("query`: `{name}` may hold a credential");
                refuse(what, "leave it out: it is logged as `***`");
            }
        }
        let own = config.gateway.api_key_header.as_deref();
        for name in &lines.headers {
            let is_own = own.is_some_and(|own| own.eq_ignore_ascii_case(name));
            if is_own || may_be_secret(name) {
                let what = format!("headers`: `{name}` may hold a credential");
                refuse(what, "leave it out");
            } else if let Ok(name) = name.parse() {
                plan.headers.push(name);
            } else {
                refuse(format!("headers`: `{name}` is no name of a header"), "");
            }
        }
        if lines.format == LineFormat::Combined && !lines.headers.is_empty() {
            let hint = "leave them out, or say `format: json`";
            refuse("headers`: `combined` has no place for them".into(), hint);
        }
        for name in &lines.masked_path_parameters {
            if !config
                .routes
                .iter()
                .any(|route| !masked(route, std::slice::from_ref(name)).is_empty())
            {
                let what = format!("masked_path_parameters`: no route has a `{{{name}}}`");
                refuse(what, "write it as it stands in `match`, without braces");
            }
        }
        if !lines.masked_path_parameters.is_empty() {
            let names = &lines.masked_path_parameters;
            let routes = config.routes.iter();
            plan.masked = routes.map(|route| masked(route, names)).collect();
        }
        if lines.format == LineFormat::Json {
            let routes = config.routes.iter();
            let written = routes.map(|route| Value::from(&*route.matches).to_string());
            plan.routes = written.map(String::into_boxed_str).collect();
        }
        // What is always in a combined line.
        if lines.format == LineFormat::Combined {
            plan.headers.push(header::REFERER);
        }
        plan
    }

    /// What is not said of a path. `route`: where it led, if anywhere.
    pub(crate) fn masked(&self, route: Option<usize>) -> &[Masked] {
        let masked = route.and_then(|route| self.masked.get(route));
        masked.map_or(&[], Vec::as_slice)
    }
}

fn may_be_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    SECRETIVE.iter().any(|part| name.contains(part))
}

fn masked(route: &RouteConfig, names: &[String]) -> Vec<Masked> {
    let segments = route.matches.split('/').skip(1).enumerate();
    let masked = segments.filter_map(|(at, segment)| {
        let (_, after) = segment.split_once('{')?;
        let (name, _) = after.split_once('}')?;
        let (name, masked) = match name.strip_prefix('*') {
            Some(name) => (name, Masked::From(at)),
            None => (name, Masked::Segment(at)),
        };
        names.iter().any(|it| it == name).then_some(masked)
    });
    masked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::compile;

    #[test]
    fn lines_that_would_say_too_much_are_refused() {
        let check = |lines: &str, expected: &[&str]| {
            let text = format!(
                "gateway: {{ api_key_header: X-Mine, access_log_lines: {{ {lines} }} }}\nupstreams: {{ a: 'http://x' }}\n\
                 routes:\n- {{ match: '/a/{{id}}/{{*rest}}', methods: [GET], upstream: a, public: true }}\n"
            );
            let issues = compile(&text).err().unwrap_or_default();
            assert_eq!(issues.len(), expected.len(), "{lines}: {issues:?}");
            for (issue, expected) in issues.iter().zip(expected) {
                assert!(issue.contains(expected), "{issue}");
            }
        };
        check(
            "query: [page], headers: [Referer], masked_path_parameters: [id, rest]",
            &[],
        );
        check(
            "query: [access_token, code]",
            &["`access_token` may hold", "`code` may hold"],
        );
        let headers = ["`x-mine` may hold", "`Cookie` may hold", "`a b` is no name"];
        check("headers: [x-mine, Cookie, 'a b']", &headers);
        check(
            "format: combined, headers: [Referer]",
            &["`combined` has no place"],
        );
        check(
            "masked_path_parameters: [name]",
            &["no route has a `{name}`"],
        );
    }

    #[test]
    fn parts_of_paths_are_found_by_their_names() {
        let text = "gateway: { access_log_lines: { masked_path_parameters: [id, rest] } }\n\
                    upstreams: { a: 'http://x' }\nroutes:\n\
                    - { match: '/a/{id}/{b}/{*rest}', methods: [GET], upstream: a, public: true }\n\
                    - { match: '/b/{b}', methods: [GET], upstream: a, public: true }\n";
        let plan = compile(text).unwrap();
        let masked = |route| plan.lines.masked(route).to_vec();
        assert_eq!(masked(Some(0)), [Masked::Segment(1), Masked::From(3)]);
        assert!(masked(Some(1)).is_empty() && masked(None).is_empty());
    }

    #[test]
    fn what_holds_credentials_has_a_telling_name() {
        for name in [
            "Authorization",
            "Cookie",
            "Set-Cookie",
            "X-API-Key",
            "access_token",
            "id_token_hint",
            "client_secret",
            "DPoP",
            "X-Amz-Signature",
            "password",
            "PHPSESSID_session",
            "X-SSL-Client-Cert",
            "Proxy-Authorization",
        ] {
            assert!(may_be_secret(name), "{name}");
        }
        for name in [
            "Referer",
            "page",
            "sort",
            "Accept-Language",
            "X-Tenant",
            "q",
            "Content-Type",
        ] {
            assert!(!may_be_secret(name), "{name}");
        }
    }
}
