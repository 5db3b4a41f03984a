//! What a route changes on the way to its upstream and back, checked so that no request can be made another one by it.
//!
//! A rewritten path is made of the segments of the canonical path that was decided on, whole and as they are encoded
//! there. So it is canonical itself, and whoever reads it finds those segments and no others.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use matchit::Params;
use service_kit::ConfigIssue;

use crate::canonical;
use crate::config::{HeaderChangesConfig, RouteConfig};
use crate::headers::{self, Reserved};

/// Everything that one route changes.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// None: the path stays.
    pub(crate) path: Option<PathTemplate>,
    /// None: as the upstream has it.
    pub(crate) host: Option<HeaderValue>,
    pub(crate) request: HeaderChanges,
    pub(crate) response: HeaderChanges,
}

/// Fields that are set and taken away.
#[derive(Debug)]
pub(crate) struct HeaderChanges {
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
    pub(crate) remove: Vec<HeaderName>,
}

impl HeaderChanges {
    /// Of everything that is changed.
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> + Clone {
        let set = self.set.iter().map(|(name, _)| name);
        set.chain(&self.remove)
    }
}

/// The path of an upstream, with places for segments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathTemplate(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A parameter of the route's own template.
    Parameter(String),
}

/// Of the names that only a gateway sets, the one that says what it has cut off.
const X_FORWARDED_PREFIX: &str = "x-forwarded-prefix";

impl Rewrite {
    /// None: the route changes nothing.
    pub(super) fn compile(
        route: &RouteConfig,
        reserved: &Reserved,
    ) -> Result<Option<Box<Self>>, ConfigIssue> {
        let path = route.rewrite.path.as_ref().map(|path| {
            PathTemplate::parse(path, &route.matches).map_err(|why| {
                ConfigIssue::new(format!("`rewrite.path: {path}`: {why}"))
                    .hint("write `/a/{name}` or `/a/{*rest}`, with the parameters of `match`, each a whole segment")
            })
        });
        let host = route.rewrite.host.as_ref().map(|host| {
            compile_host(host).ok_or_else(|| {
                ConfigIssue::new(format!("`rewrite.host: {host}` is no host"))
                    .hint("write a lower-case name, or `name:port`")
            })
        });
        let changes = |key: &str, config: &HeaderChangesConfig, to_upstream: bool| {
            HeaderChanges::compile(config, reserved, to_upstream)
                .map_err(|issue| issue.within(&format!("`{key}`")))
        };
        let rewrite = Self {
            path: path.transpose()?,
            host: host.transpose()?,
            request: changes("request_headers", &route.request_headers, true)?,
            response: changes("response_headers", &route.response_headers, false)?,
        };
        let is_any = rewrite.path.is_some()
            || rewrite.host.is_some()
            || rewrite.request.is_any()
            || rewrite.response.is_any();
        Ok(is_any.then(|| Box::new(rewrite)))
    }
}

fn compile_host(text: &str) -> Option<HeaderValue> {
    let authority = Authority::try_from(text).ok()?;
    let host = authority.host();
    let is_plain = !host.is_empty()
        && !text.contains('@')
        && !host.ends_with('.')
        && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_whole = match authority.port_u16() {
        Some(port) => text == format!("{host}:{port}"),
        None => text == host,
    };
    (is_plain && is_whole).then(|| HeaderValue::from_str(text).ok())?
}

impl PathTemplate {
    /// `matches`: the template that its parameters are of.
    pub(crate) fn parse(text: &str, matches: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a path begins with `/`".into());
        };
        let known: Vec<&str> = matches.split('/').collect();
        let mut pieces = vec![Piece::Text(String::new())];
        let mut plain = String::new();
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            let parameter = segment
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            add_text(&mut pieces, "/");
            plain.push('/');
            let Some(parameter) = parameter else {
                if segment.contains(['{', '}']) {
                    return Err(format!("`{segment}` is no whole segment"));
                }
                add_text(&mut pieces, segment);
                plain.push_str(segment);
                continue;
            };
            // SECURITY: of a segment of which the route's template writes a part, what is left could be `..`.
            if !known.contains(&segment) {
                return Err(format!(
                    "`{matches}` has no parameter `{segment}` that is a whole segment"
                ));
            }
            let name = parameter.strip_prefix('*').unwrap_or(parameter);
            if name != parameter && segments.peek().is_some() {
                return Err(format!("`{segment}` can only be the end"));
            }
            pieces.push(Piece::Parameter(name.to_owned()));
            plain.push('p');
        }
        match canonical::normalize(&plain) {
            Ok(None) => Ok(Self(pieces)),
            Ok(Some(_)) => Err("the path is not in its normal form".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The target of a request, by the parameters of its path. None where they do not fit, which those of the
    /// route's own template always do.
    pub(crate) fn target(
        &self,
        params: &Params<'_, '_>,
        query: Option<&str>,
    ) -> Option<PathAndQuery> {
        let mut target = String::new();
        for piece in &self.0 {
            target.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Parameter(name) => params.get(name)?,
            });
        }
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        PathAndQuery::from_maybe_shared(Bytes::from(target)).ok()
    }
}

fn add_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        Some(Piece::Parameter(_)) | None => pieces.push(Piece::Text(text.to_owned())),
    }
}

impl HeaderChanges {
    fn compile(
        config: &HeaderChangesConfig,
        reserved: &Reserved,
        to_upstream: bool,
    ) -> Result<Self, ConfigIssue> {
        let mut set = Vec::with_capacity(config.set.len());
        for (name, value) in &config.set {
            let name = parse_name(name)?;
            let is_ours = to_upstream && name == X_FORWARDED_PREFIX;
            if is_of_gateway(&name)
                || SET_BY_OTHERS.contains(&name)
                || (reserved.covers(name.as_str()) && !is_ours)
            {
                return Err(refused(&name));
            }
            let value = HeaderValue::from_str(value).map_err(|_| {
                ConfigIssue::new(format!("`{name}: {value}` cannot be sent"))
                    .hint("write visible ASCII")
            })?;
            set.push((name, value));
        }
        let mut remove = Vec::with_capacity(config.remove.len());
        for name in &config.remove {
            let name = parse_name(name)?;
            // What a client sends under a reserved name goes no further anyhow; what stands there is ours.
            if is_of_gateway(&name) || (to_upstream && reserved.covers(name.as_str())) {
                return Err(refused(&name));
            }
            if set.iter().any(|(known, _)| *known == name) {
                return Err(ConfigIssue::new(format!("`{name}` is set, and taken away"))
                    .hint("remove one; what is set stands in the place of what came"));
            }
            remove.push(name);
        }
        Ok(Self { set, remove })
    }

    fn is_any(&self) -> bool {
        !self.set.is_empty() || !self.remove.is_empty()
    }

    pub(crate) fn apply(&self, headers: &mut http::HeaderMap) {
        for name in &self.remove {
            headers::remove_all(headers, name);
        }
        headers::set_all(headers, &self.set);
    }
}

/// A cookie is one of many, and there is more to it than a name.
static SET_BY_OTHERS: [HeaderName; 2] = [header::COOKIE, header::SET_COOKIE];

fn parse_name(name: &str) -> Result<HeaderName, ConfigIssue> {
    HeaderName::try_from(name)
        .map_err(|_| ConfigIssue::new(format!("`{name}` is no name of a header field")))
}

/// Names that a route changes, and names that a policy sets.
pub(crate) fn said<'s>(
    of_route: Option<&'s HeaderChanges>,
    of_policy: Option<&'s Vec<(HeaderName, HeaderValue)>>,
) -> impl Iterator<Item = &'s HeaderName> {
    let of_policy = of_policy.into_iter().flatten();
    let of_route = of_route.into_iter().flat_map(HeaderChanges::names);
    of_route.chain(of_policy.map(|(name, _)| name))
}

/// What frames or addresses a message, says who sends it, or is the gateway's to say.
fn is_of_gateway(name: &HeaderName) -> bool {
    let folded = name.as_str().replace('_', "-");
    let is_family = |family: &str| folded.starts_with(family);
    headers::is_for_one_hop(name)
        || headers::is_credential_or_framing(&folded)
        || matches!(folded.as_str(), "content-encoding" | "www-authenticate")
        || ["sec-websocket-", "ratelimit"].into_iter().any(is_family)
}

fn refused(name: &HeaderName) -> ConfigIssue {
    ConfigIssue::new(format!("`{name}` is not a route's to change")).hint(
        "it frames or addresses the message, says who calls, or is reserved (`gateway.reserved_headers`)",
    )
}

#[cfg(test)]
mod tests;
