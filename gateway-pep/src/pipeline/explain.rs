//! The path of a request that nobody has sent: every step up to the upstream, and what each has found.

use std::collections::BTreeMap;
use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, request};

use super::authenticate::authenticate;
use super::authorize::permitted::Permitted;
use super::authorize::{self, authorize};
use super::discover::discover;
use super::particulars;
use super::record::Record;
use super::refusal::Refusal;
use super::shape;
use crate::canonical::{Ambiguity, Arrival, CanonicalRequest, UrlScheme, written_target};
use crate::explain::{
    ExplainRequest, ExplainedCaller, ExplainedDecision, ExplainedOutcome, ExplainedRequest,
    ExplainedRoute, Explanation,
};
use crate::login::Reserved;
use crate::plan::{Protection, Split};
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// Goes the way, and forwards nothing.
pub(crate) async fn explain(worker: &Rc<Worker>, asked: &ExplainRequest) -> Explanation {
    let connection = Rc::new(Connection::of_nobody(asked.client_ip));
    let mut record = Record::aside(worker.clone(), connection);
    let mut found = Explanation::default();
    let end = walk(worker, asked, &mut record, &mut found).await;
    found.caller = record.caller().map(|(caller, source)| ExplainedCaller {
        issuer: caller.issuer.to_string(),
        subject: caller.subject.clone(),
        exp: caller.vouched.ends.as_secs(),
        source: source.as_str(),
    });
    found.decision = record
        .decision()
        .map(|(verdict, source)| ExplainedDecision {
            decision: verdict.is_permit(),
            id: verdict.id.clone(),
            policy_version: verdict.version.clone(),
            source: source.as_str(),
        });
    found.outcome = match end {
        Ok(Some(permitted)) => forwarded(worker, &permitted),
        Ok(None) => ExplainedOutcome {
            detail: Some("the gateway answers this itself".into()),
            ..ExplainedOutcome::default()
        },
        Err(refusal) => ExplainedOutcome {
            status: Some(refusal.status().as_u16()),
            reason: Some(refusal.reason()),
            detail: refusal.detail(),
            ..ExplainedOutcome::default()
        },
    };
    found
}

/// None: it is for the gateway itself.
async fn walk(
    worker: &Rc<Worker>,
    asked: &ExplainRequest,
    record: &mut Record,
    found: &mut Explanation,
) -> Result<Option<Permitted>, Refusal> {
    let core = &worker.core;
    // Behind a proxy, a client's scheme is what the proxy says.
    let scheme = if core.plan.proxies.are_there() && asked.url.starts_with("https://") {
        UrlScheme::Https
    } else {
        core.scheme()
    };
    let arrival = Arrival::direct(asked.client_ip, scheme);
    let request = parts(asked)
        .and_then(|parts| CanonicalRequest::new(parts, arrival, core.request_limits))
        .map_err(Refusal::Ambiguous)?;
    found.request = Some(ExplainedRequest {
        method: request.method().to_string(),
        host: request.authority().as_str().to_owned(),
        path: request.path().to_owned(),
        query: request.query().map(str::to_owned),
    });
    if discover(&core.plan.discovery, &request).is_some() {
        return Ok(None);
    }
    if let Some(logins) = &core.plan.logins {
        match logins.reserved(request.path()) {
            Reserved::No => {}
            Reserved::Nothing => return Err(Refusal::NotFound),
            Reserved::Endpoint(_) => return Ok(None),
        }
    }
    if let Some(answer) = super::cors::preflight(core, &request, record) {
        found.route = record.route().and_then(|index| route(worker, index));
        return answer.map(|_| None);
    }
    let routed = super::find_route(worker, request, record)?;
    record.routed(routed.route);
    found.route = route(worker, routed.route);
    let authenticated = authenticate(worker, routed, record).await?;
    let particulars = particulars::read(worker, &authenticated, None).await?;
    found.question = authorize::question(worker, &authenticated, particulars.first());
    authorize(worker, authenticated, particulars, record)
        .await
        .map(Some)
}

/// The request as a client would write it.
fn parts(asked: &ExplainRequest) -> Result<request::Parts, Ambiguity> {
    let url = asked.url.as_str();
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or(Ambiguity::TargetForm)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    let target = if target.is_empty() { "/" } else { target };
    let mut headers = HeaderMap::new();
    for (name, value) in &asked.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Ambiguity::Wire)?;
        let value = HeaderValue::from_str(value).map_err(|_| Ambiguity::Wire)?;
        headers.append(name, value);
    }
    let host = HeaderValue::from_str(host).map_err(|_| Ambiguity::Host)?;
    headers.append(header::HOST, host);
    if let Some(token) = &asked.token {
        let text = format!("Bearer {}", token.reveal());
        let value = HeaderValue::from_str(&text).map_err(|_| Ambiguity::Wire)?;
        headers.append(header::AUTHORIZATION, value);
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(asked.method.as_bytes()).map_err(|_| Ambiguity::Method)?;
    parts.uri = Uri::from(written_target(target.as_bytes())?);
    parts.headers = headers;
    Ok(parts)
}

fn route(worker: &Worker, route: usize) -> Option<ExplainedRoute> {
    let plan = &worker.core.plan;
    let route = plan.routes.get(route)?;
    let upstream = plan.upstreams.get(route.upstream)?;
    Some(ExplainedRoute {
        template: route.template.to_string(),
        when: route.conditions.iter().map(ToString::to_string).collect(),
        upstream: upstream.name.to_string(),
        upstreams: route.split.as_deref().map_or_else(BTreeMap::new, weights),
        resource: upstream.resource.as_str().to_owned(),
        login: plan.logins.as_ref().and_then(|logins| {
            let login = logins.all.get(route.login?)?;
            Some(login.name.to_string())
        }),
        is_public: matches!(route.protection, Protection::Public),
    })
}

fn weights(split: &Split) -> BTreeMap<String, u32> {
    let shares = split.shares.iter();
    shares
        .map(|share| (share.name.to_string(), share.weight))
        .collect()
}

fn forwarded(worker: &Worker, permitted: &Permitted) -> ExplainedOutcome {
    let plan = &worker.core.plan;
    let upstream = plan.upstreams.get(permitted.upstream());
    ExplainedOutcome {
        is_forwarded: true,
        upstream: upstream.map(|upstream| {
            let target = shape::target(plan, permitted);
            let target = target.as_ref().map_or("", PathAndQuery::as_str);
            upstream.transport.url(target)
        }),
        ..ExplainedOutcome::default()
    }
}
