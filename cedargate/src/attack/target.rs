//! What of a configuration is attacked: a route, with a path, a host and a token that pass.

use gateway_pep::{
    ConditionConfig, Config, EncodedCharacter, IssuerConfig, RouteConfig, WhenConfig,
};

use super::stubs;

/// One route, and how a request is written that it lets through.
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) template: String,
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    /// The template that makes it so, where the route rewrites the path.
    pub(super) rewritten_to: Option<String>,
    /// What the route wants of the query, after the path; nothing, or from `?` on.
    pub(super) query: String,
    /// What it wants of header fields, each ended by a line end.
    pub(super) fields: String,
    /// What the route is told by, beside that.
    pub(super) when: WhenConfig,
    /// None: the route is public.
    pub(super) token: Option<String>,
    /// Those that the route wants, if it wants any.
    pub(super) scope: String,
    /// The login that it wants, if it wants one by name.
    pub(super) acr: Option<String>,
    /// An issuer whose JWTs it takes, if there is one.
    pub(super) jwt_issuer: Option<String>,
    /// Where browsers log in, if they do.
    pub(super) login: Option<String>,
    /// The cookie of its sessions.
    pub(super) login_cookie: Option<String>,
    /// What its paths may have encoded.
    pub(super) encoded: Vec<EncodedCharacter>,
}

impl Target {
    /// One for each method of each route; `*` is tried as GET and as POST.
    pub fn all(routes: &[RouteConfig]) -> Vec<Self> {
        Self::made(routes, |_| None, |_| None)
    }

    /// The same for the routes of a whole configuration, which says whose JWTs they take, too.
    pub(super) fn of(config: &Config) -> Vec<Self> {
        let url = |name: &String| match config.gateway.issuers.get(name) {
            Some(IssuerConfig::Jwt(jwt)) => Some(jwt.issuer.clone()),
            Some(IssuerConfig::Introspection(_) | IssuerConfig::Certificate(_)) | None => None,
        };
        Self::made(
            &config.routes,
            |route| {
                let mut names = config.issuers_of(route).iter().filter(|_| !route.public);
                names.find_map(url)
            },
            |login| {
                let known = config.gateway.logins.get(login)?;
                let cookie = known.cookie.clone();
                let cookie = cookie.unwrap_or_else(|| format!("cedargate-{login}"));
                Some(if config.gateway.sessions.insecure_cookies {
                    cookie
                } else {
                    format!("__Host-{cookie}")
                })
            },
        )
    }

    fn made(
        routes: &[RouteConfig],
        jwt_issuer: impl Fn(&RouteConfig) -> Option<String>,
        cookie: impl Fn(&str) -> Option<String>,
    ) -> Vec<Self> {
        let mut targets = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            for method in methods(route) {
                targets.push(Self {
                    template: route.matches.clone(),
                    method,
                    host: host(route),
                    path: fill(&route.matches),
                    rewritten_to: route.rewrite.path.clone(),
                    query: query(route),
                    fields: fields(route),
                    when: route.when.clone(),
                    token: (!route.public).then(|| stubs::good_token(index)),
                    scope: route.scope.clone().unwrap_or_default(),
                    acr: route.acr_values.first().cloned(),
                    jwt_issuer: jwt_issuer(route),
                    login: route.login.clone(),
                    login_cookie: route.login.as_deref().and_then(&cookie),
                    encoded: route.encoded_characters.clone(),
                });
            }
        }
        targets
    }

    /// The best one to try reading with: protected, GET.
    pub(super) fn to_read(targets: &[Self]) -> Option<&Self> {
        best(targets, |method| method == "GET")
    }

    /// The best one to send bodies to: protected, a method that has one.
    pub(super) fn to_write(targets: &[Self]) -> Option<&Self> {
        best(targets, |method| matches!(method, "POST" | "PUT" | "PATCH"))
    }

    /// The same without a credential.
    pub(super) fn anonymous(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    /// The same without the fields that the route wants.
    pub(super) fn without_fields(&self) -> Self {
        Self {
            fields: String::new(),
            ..self.clone()
        }
    }

    /// A request that is hidden in another, or behind it.
    pub(super) fn smuggled(&self) -> String {
        format!("GET {SMUGGLED} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host)
    }

    /// A request that passes, with these fields besides, each ended by a line end.
    pub(super) fn request(&self, fields: &str) -> Vec<u8> {
        self.request_to(&self.target(), fields)
    }

    /// Path and query of a request that passes.
    pub(super) fn target(&self) -> String {
        format!("{}{}", self.path, self.query)
    }

    /// The same as the upstream is to see it.
    pub(super) fn forwarded_target(&self) -> String {
        format!("{}{}", self.forwarded(), self.query)
    }

    pub(super) fn forwarded(&self) -> String {
        fill(self.rewritten_to.as_ref().unwrap_or(&self.template))
    }

    /// The same with more in the query.
    pub(super) fn target_with(&self, more: &str) -> String {
        let between = if self.query.is_empty() { '?' } else { '&' };
        format!("{}{between}{more}", self.target())
    }

    /// The same with another request target.
    pub(super) fn request_to(&self, target: &str, fields: &str) -> Vec<u8> {
        let line = format!("{} {target} HTTP/1.1", self.method);
        self.message(&line, &format!("{fields}Connection: close\r\n"), "")
    }

    /// The same with another request line, with a body, and without the wish to close.
    pub(super) fn message(&self, line: &str, fields: &str, body: &str) -> Vec<u8> {
        let authorization = self.authorization();
        let (host, own) = (&self.host, &self.fields);
        latin1(&format!(
            "{line}\r\nHost: {host}\r\n{own}{authorization}{fields}\r\n{body}"
        ))
    }

    /// The line of a request that passes.
    pub(super) fn line(&self) -> String {
        format!("{} {} HTTP/1.1", self.method, self.target())
    }

    /// The credential as a field, where the route wants one.
    pub(super) fn authorization(&self) -> String {
        self.token
            .as_ref()
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default()
    }
}

fn best(targets: &[Target], fits: impl Fn(&str) -> bool) -> Option<&Target> {
    let protected = |target: &&Target| target.token.is_some();
    let fitting = |target: &&Target| fits(&target.method);
    // Most cases say what stands in the target, and compare it with what arrives.
    let plain = |target: &&Target| target.query.is_empty() && target.rewritten_to.is_none();
    let mut first = targets.iter().filter(protected).filter(plain);
    first
        .find(fitting)
        .or_else(|| targets.iter().filter(protected).find(fitting))
        .or_else(|| targets.iter().find(protected))
        .or_else(|| targets.iter().find(fitting))
        .or_else(|| targets.first())
}

fn methods(route: &RouteConfig) -> Vec<String> {
    if route.methods.iter().any(|method| method == "*") {
        return vec!["GET".to_owned(), "POST".to_owned()];
    }
    route.methods.clone()
}

fn host(route: &RouteConfig) -> String {
    let host = route.host.as_deref().unwrap_or(ANY_HOST);
    match host.strip_prefix("*.") {
        Some(domain) => format!("cg1.{domain}"),
        None => host.to_owned(),
    }
}

/// What a request says where a route wants something. None: nothing.
pub(super) fn said(wanted: &ConditionConfig) -> Option<&str> {
    match wanted {
        ConditionConfig::Exact(value) => Some(value),
        ConditionConfig::Present => Some("cg1"),
        ConditionConfig::Absent => None,
    }
}

fn query(route: &RouteConfig) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, wanted) in &route.when.query {
        query.extend_pairs(said(wanted).map(|value| (name, value)));
    }
    match query.finish().as_str() {
        "" => String::new(),
        // To the gateway, `+` is no space.
        query => format!("?{}", query.replace('+', "%20")),
    }
}

fn fields(route: &RouteConfig) -> String {
    let wanted = route.when.headers.iter();
    let said = wanted.filter_map(|(name, wanted)| Some((name, said(wanted)?)));
    let lines = said.map(|(name, value)| [name, ": ", value, "\r\n"].concat());
    lines.collect()
}

/// The template with something in the place of each parameter.
fn fill(template: &str) -> String {
    fill_with(template, "cg1")
}

/// The template with this in the place of each parameter.
pub(super) fn fill_with(template: &str, value: &str) -> String {
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        path.push_str(before);
        path.push_str(value);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    path.push_str(rest);
    path
}

/// Characters up to U+00FF stand for bytes; none above is written here.
pub(super) fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?'))
        .collect()
}

/// The path of requests that are hidden in others.
pub(super) const SMUGGLED: &str = "/cg-smuggled";

/// Where a route takes every host. Reserved by RFC 2606: nobody's.
const ANY_HOST: &str = "gateway.test";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_of_a_template_is_filled() {
        assert_eq!(fill("/records/{id}"), "/records/cg1");
        assert_eq!(fill("/a/{b}/c/{*rest}"), "/a/cg1/c/cg1");
        assert_eq!(fill("/plain"), "/plain");
    }
}
