//! Step 2: which operation a request names. No route, no upstream.

use std::collections::HashMap;

use http::{HeaderValue, Method};
use matchit::Params;

use super::canonical::CanonicalRequest;

/// A canonical request and the operation that it names.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) request: CanonicalRequest,
    /// Index into [`crate::plan::Plan::routes`].
    pub(crate) route: usize,
}

/// Where a request leads.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    Route {
        route: usize,
        params: Params<'a, 'a>,
    },
    /// The path is known, but not with this method.
    MethodNotAllowed {
        allow: &'a HeaderValue,
    },
    NotFound,
}

/// Path templates by host, methods by template.
#[derive(Debug, Default)]
pub(crate) struct Router {
    by_host: HashMap<String, matchit::Router<usize>>,
    any_host: matchit::Router<usize>,
    paths: Vec<PathMethods>,
    /// While routes are inserted: which entry of `paths` a template has.
    known: HashMap<(Option<String>, String), usize>,
}

#[derive(Debug)]
struct PathMethods {
    by_method: Vec<(Method, usize)>,
    any_method: Option<usize>,
    allow: HeaderValue,
}

impl Router {
    /// Adds a route; `None` among the methods stands for every method.
    pub(crate) fn insert(
        &mut self,
        host: Option<&str>,
        template: &str,
        methods: &[Option<Method>],
        route: usize,
    ) -> Result<(), String> {
        check_template(template)?;
        if let Some(host) = host
            && (host.is_empty()
                || host.ends_with('.')
                || host
                    .bytes()
                    .any(|byte| byte.is_ascii_uppercase() || b":/*@ ".contains(&byte)))
        {
            return Err(format!(
                "`host: {host}` must be a lower-case name without a port"
            ));
        }
        let entry = self.entry(host, template)?;
        let Some(path) = self.paths.get_mut(entry) else {
            return Ok(());
        };
        for method in methods {
            let taken = match method {
                None => path.any_method.replace(route).is_some(),
                Some(method) => {
                    let taken = path.by_method.iter().any(|(known, _)| known == method);
                    path.by_method.push((method.clone(), route));
                    taken
                }
            };
            if taken {
                let method = method.as_ref().map_or("*", Method::as_str);
                return Err(format!("`{method} {template}` is routed twice"));
            }
        }
        Ok(())
    }

    fn entry(&mut self, host: Option<&str>, template: &str) -> Result<usize, String> {
        let key = (host.map(str::to_owned), template.to_owned());
        if let Some(entry) = self.known.get(&key) {
            return Ok(*entry);
        }
        let entry = self.paths.len();
        let router = match host {
            Some(host) => self.by_host.entry(host.to_owned()).or_default(),
            None => &mut self.any_host,
        };
        router
            .insert(template, entry)
            .map_err(|error| match error {
                matchit::InsertError::Conflict { with } => {
                    format!(
                        "conflicts with `{with}`: the same paths must have the same parameter names"
                    )
                }
                other => format!("the path template cannot be used: {other}"),
            })?;
        self.paths.push(PathMethods {
            by_method: Vec::new(),
            any_method: None,
            allow: HeaderValue::from_static(""),
        });
        self.known.insert(key, entry);
        Ok(entry)
    }

    /// After the last insertion: what `Allow` says.
    pub(crate) fn finish(&mut self) {
        self.known = HashMap::new();
        for path in &mut self.paths {
            let mut names: Vec<&str> = path.by_method.iter().map(|(m, _)| m.as_str()).collect();
            if names.contains(&"GET") && !names.contains(&"HEAD") {
                names.push("HEAD");
            }
            names.sort_unstable();
            if let Ok(allow) = HeaderValue::try_from(names.join(", ")) {
                path.allow = allow;
            }
        }
    }

    /// The route of a canonical path. A host's own paths come before those of every host.
    pub(crate) fn find<'a>(&'a self, host: &str, method: &Method, path: &'a str) -> Lookup<'a> {
        let matched = self
            .by_host
            .get(host)
            .and_then(|router| router.at(path).ok())
            .or_else(|| self.any_host.at(path).ok());
        let Some((methods, params)) =
            matched.and_then(|matched| Some((self.paths.get(*matched.value)?, matched.params)))
        else {
            return Lookup::NotFound;
        };
        match methods.route(method) {
            Some(route) => Lookup::Route { route, params },
            None => Lookup::MethodNotAllowed {
                allow: &methods.allow,
            },
        }
    }
}

impl PathMethods {
    fn route(&self, method: &Method) -> Option<usize> {
        let exact = |method: &Method| {
            self.by_method
                .iter()
                .find(|(known, _)| known == method)
                .map(|(_, route)| *route)
        };
        exact(method)
            .or_else(|| {
                (method == Method::HEAD)
                    .then(|| exact(&Method::GET))
                    .flatten()
            })
            .or(self.any_method)
    }
}

/// A template must be a canonical path but for its parameters; else it could never match.
fn check_template(template: &str) -> Result<(), String> {
    if template.contains("{{") || template.contains("}}") {
        return Err("braces cannot be escaped".into());
    }
    let mut literal = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (_, after) = after.split_once('}').ok_or("a `{` has no `}`")?;
        literal.push_str(before);
        literal.push('p');
        rest = after;
    }
    literal.push_str(rest);
    match super::canonical::normalize(&literal) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("the path template is not in its normal form".into()),
        Err(error) => Err(format!("the path template cannot match: {error}")),
    }
}
