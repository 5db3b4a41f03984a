//! Step 2: which operation a request names. No route, no upstream.
//!
//! First the host (its own paths, then those of the wildcard that it falls under, then those of every host), then the
//! path, by the most specific template; these two decide alone. Then the method and the conditions of its routes. A
//! request that meets none of them has no route, whatever a less specific template would say.

mod cell;
mod condition;
mod tie;

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use matchit::Params;

use crate::canonical::CanonicalRequest;
use crate::route::cell::{Cell, Contender};
pub(crate) use crate::route::condition::{Condition, Place, Wanted};
pub(crate) use crate::route::tie::{Tie, TieCause};
use crate::values::Unread;

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
    },
    /// The path is known, but not with this method.
    MethodNotAllowed {
        allow: &'a HeaderValue,
    },
    /// What the routes of this path look at is said more than once, or can be read in two ways.
    Unread(Unread),
    NotFound,
}

/// What a request is routed by, all of it canonical.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) host: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
}

impl<'a> From<&'a CanonicalRequest> for Asked<'a> {
    fn from(request: &'a CanonicalRequest) -> Self {
        Self {
            host: request.authority().host(),
            method: request.method(),
            path: request.path(),
            query: request.query(),
            headers: request.headers(),
        }
    }
}

/// What the router has to know of a route.
#[derive(Debug)]
pub(crate) struct Named<'c> {
    /// Index into [`crate::plan::Plan::routes`].
    pub(crate) route: usize,
    /// `*.example.org`: every name with one label before that. None: every host.
    pub(crate) host: Option<&'c str>,
    pub(crate) template: &'c str,
    /// `None` stands for every method.
    pub(crate) methods: &'c [Option<Method>],
    pub(crate) priority: i32,
    pub(crate) conditions: Vec<Condition>,
}

/// Path templates by host, methods and conditions by template.
#[derive(Debug, Default)]
pub(crate) struct Router {
    by_host: HashMap<String, matchit::Router<usize>>,
    /// By what stands behind `*.`.
    by_domain: HashMap<String, matchit::Router<usize>>,
    any_host: matchit::Router<usize>,
    paths: Vec<PathMethods>,
    /// While routes are inserted: which entry of `paths` a template has, and who wants it.
    known: HashMap<(Option<String>, String), usize>,
    wanted: Vec<Vec<(Option<Method>, Contender)>>,
}

#[derive(Debug)]
struct PathMethods {
    by_method: Vec<(Method, Cell)>,
    any_method: Option<Cell>,
    allow: HeaderValue,
}

impl Router {
    /// Adds a route.
    pub(crate) fn insert(&mut self, named: Named<'_>) -> Result<(), String> {
        check_template(named.template)?;
        named.host.map_or(Ok(()), check_host)?;
        let entry = self.entry(named.host, named.template)?;
        let Some(wanted) = self.wanted.get_mut(entry) else {
            return Ok(());
        };
        let conditions: Arc<[Condition]> = named.conditions.into();
        for (index, method) in named.methods.iter().enumerate() {
            if named.methods.iter().take(index).any(|it| it == method) {
                let method = method.as_ref().map_or("*", Method::as_str);
                let template = named.template;
                return Err(format!("`{method} {template}` is routed twice"));
            }
            let contender = Contender {
                route: named.route,
                level: 0,
                priority: named.priority,
                conditions: conditions.clone(),
            };
            wanted.push((method.clone(), contender));
        }
        Ok(())
    }

    fn entry(&mut self, host: Option<&str>, template: &str) -> Result<usize, String> {
        let key = (host.map(str::to_owned), template.to_owned());
        if let Some(entry) = self.known.get(&key) {
            return Ok(*entry);
        }
        let entry = self.wanted.len();
        let router = match host.map(|host| (host, host.strip_prefix("*."))) {
            Some((_, Some(domain))) => self.by_domain.entry(domain.to_owned()).or_default(),
            Some((host, None)) => self.by_host.entry(host.to_owned()).or_default(),
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
        self.wanted.push(Vec::new());
        self.known.insert(key, entry);
        Ok(entry)
    }

    /// After the last insertion: tells the routes of each path apart, or says which it cannot.
    pub(crate) fn finish(&mut self) -> Vec<Tie> {
        self.known = HashMap::new();
        let mut ties = Vec::new();
        for wanted in std::mem::take(&mut self.wanted) {
            let path = PathMethods::compile(&wanted, &mut ties);
            self.paths.push(path);
        }
        // A pair is found once for each method.
        let mut seen = std::collections::HashSet::new();
        ties.retain(|tie| seen.insert((tie.one.min(tie.other), tie.one.max(tie.other))));
        ties
    }

    /// For each route that is told by header fields: their names, for `Vary`.
    pub(crate) fn told_by(&self) -> HashMap<usize, Vec<&str>> {
        let mut told = HashMap::<usize, Vec<&str>>::new();
        for path in &self.paths {
            for cell in path.cells() {
                let names: Vec<&str> = cell.headers().collect();
                if names.is_empty() {
                    continue;
                }
                for route in cell.routes() {
                    let known = told.entry(route).or_default();
                    for name in &names {
                        if !known.contains(name) {
                            known.push(name);
                        }
                    }
                }
            }
        }
        told
    }

    /// The routes that only conditions tell apart: those of each path and method that has several.
    pub(crate) fn of_one_method(&self) -> impl Iterator<Item = Vec<usize>> {
        let cells = self.paths.iter().flat_map(PathMethods::cells);
        cells.map(Cell::routes).filter(|routes| routes.len() > 1)
    }

    /// One of the routes that a request for this path, by this method, could be for, whatever else it says.
    pub(crate) fn any_of(&self, host: &str, path: &str, method: &Method) -> Option<usize> {
        let (methods, _) = self.at(host, path)?;
        methods.cell(method)?.any()
    }

    /// The route of a canonical request.
    pub(crate) fn find<'a>(&'a self, asked: Asked<'a>) -> Lookup<'a> {
        let Some((methods, _)) = self.at(asked.host, asked.path) else {
            return Lookup::NotFound;
        };
        match methods.route(&asked) {
            Ok(Found::Route(route)) => Lookup::Route { route },
            Ok(Found::Nothing) => Lookup::NotFound,
            Ok(Found::OtherMethods) => Lookup::MethodNotAllowed {
                allow: &methods.allow,
            },
            Err(unread) => Lookup::Unread(unread),
        }
    }

    /// The parameters of a path that has a route.
    pub(crate) fn params<'a>(&'a self, host: &str, path: &'a str) -> Option<Params<'a, 'a>> {
        self.at(host, path).map(|(_, params)| params)
    }

    /// A host's own paths come before those of its domain, and these before those of every host.
    fn at<'a>(&'a self, host: &str, path: &'a str) -> Option<(&'a PathMethods, Params<'a, 'a>)> {
        let own = self.by_host.get(host);
        let of_domain = || {
            // Nothing to cut where no route has such a host.
            if self.by_domain.is_empty() {
                return None;
            }
            self.by_domain.get(host.split_once('.')?.1)
        };
        let matched = own
            .and_then(|router| router.at(path).ok())
            .or_else(|| of_domain()?.at(path).ok())
            .or_else(|| self.any_host.at(path).ok())?;
        Some((self.paths.get(*matched.value)?, matched.params))
    }
}

/// What the routes of a path have for a request.
enum Found {
    Route(usize),
    /// There are routes with its method, and it meets the conditions of none.
    Nothing,
    OtherMethods,
}

impl PathMethods {
    fn compile(wanted: &[(Option<Method>, Contender)], ties: &mut Vec<Tie>) -> Self {
        let mut names = Vec::<&Method>::new();
        for method in wanted.iter().filter_map(|(method, _)| method.as_ref()) {
            if !names.contains(&method) {
                names.push(method);
            }
        }
        // `GET` includes `HEAD`.
        if names.contains(&&Method::GET) && !names.contains(&&Method::HEAD) {
            names.push(&Method::HEAD);
        }
        let mut by_method = Vec::with_capacity(names.len());
        for name in &names {
            let cell = Self::compile_cell(wanted, Some(name), ties);
            by_method.extend(cell.map(|cell| ((*name).clone(), cell)));
        }
        let any_method = Self::compile_cell(wanted, None, ties);
        let mut allow: Vec<&str> = names.into_iter().map(Method::as_str).collect();
        allow.sort_unstable();
        let allow = HeaderValue::try_from(allow.join(", "));
        Self {
            by_method,
            any_method,
            allow: allow.unwrap_or(HeaderValue::from_static("")),
        }
    }

    fn compile_cell(
        wanted: &[(Option<Method>, Contender)],
        name: Option<&Method>,
        ties: &mut Vec<Tie>,
    ) -> Option<Cell> {
        let mut contenders = Vec::<Contender>::new();
        for (method, contender) in wanted {
            let level = match (method, name) {
                (None, _) => 0,
                (Some(method), Some(name)) if method == name => 2,
                (Some(method), Some(name)) if method == Method::GET && name == Method::HEAD => 1,
                (Some(_), _) => continue,
            };
            match contenders.last_mut() {
                // The methods of a route follow each other.
                Some(last) if last.route == contender.route => last.level = last.level.max(level),
                _ => contenders.push(Contender {
                    level,
                    ..contender.clone()
                }),
            }
        }
        let before = ties.len();
        let cell = Cell::compile(&contenders, ties);
        for tie in ties.iter_mut().skip(before) {
            if let TieCause::Twice { method } = &mut tie.cause {
                *method = name.cloned();
            }
        }
        cell
    }

    fn cells(&self) -> impl Iterator<Item = &Cell> {
        let by_method = self.by_method.iter().map(|(_, cell)| cell);
        by_method.chain(&self.any_method)
    }

    fn cell(&self, wanted: &Method) -> Option<&Cell> {
        let mut named = self.by_method.iter();
        named
            .find(|(method, _)| method == wanted)
            .map(|(_, cell)| cell)
            .or(self.any_method.as_ref())
    }

    fn route(&self, asked: &Asked<'_>) -> Result<Found, Unread> {
        Ok(match self.cell(asked.method) {
            None => Found::OtherMethods,
            Some(cell) => cell.route(asked)?.map_or(Found::Nothing, Found::Route),
        })
    }
}

fn check_host(host: &str) -> Result<(), String> {
    let is_wrong = |byte: u8| byte.is_ascii_uppercase() || b":/*@ ".contains(&byte);
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if let Some(domain) = host.strip_prefix("*.") {
        let last = domain.rsplit('.').next().unwrap_or_default();
        return if domain.split('.').any(str::is_empty)
            || !domain.bytes().all(is_name)
            || last.starts_with(|first: char| first.is_ascii_digit())
        {
            Err(format!("`host: {host}` must be `*.` and a lower-case name"))
        } else {
            Ok(())
        };
    }
    if host.is_empty() || host.ends_with('.') || host.bytes().any(is_wrong) {
        return Err(format!(
            "`host: {host}` must be a lower-case name without a port, or `*.` and such a name"
        ));
    }
    Ok(())
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
    match crate::canonical::normalize(&literal) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("the path template is not in its normal form".into()),
        Err(error) => Err(format!("the path template cannot match: {error}")),
    }
}

#[cfg(test)]
mod tests;
