//! Connections to one upstream, kept by one worker; and which of its endpoints each request goes to.

mod balance;
mod check;
mod connections;
mod health;
pub(crate) mod keeper;
pub(crate) mod maglev;
mod places;
pub(crate) mod roster;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, timeout};

use crate::body::{Progress, RequestBody};
use crate::metrics::GatewayMetrics;
use crate::plan::{Plan, UpstreamPlan};
use balance::Selection;
use connections::{Connections, Idle, Visit};
use places::Places;
use roster::Roster;

/// One worker's connections to the endpoints of one upstream.
#[derive(Debug)]
pub(crate) struct Pool {
    plan: Arc<Plan>,
    upstream: usize,
    metrics: Arc<GatewayMetrics>,
    roster: Arc<Roster>,
    /// The version of the roster that the selection is of.
    version: Cell<u64>,
    selection: RefCell<Selection>,
    places: Places,
    connect: Duration,
    response: Duration,
}

/// A connection that is in use.
#[derive(Debug)]
pub(crate) struct Lease {
    sender: SendRequest<RequestBody>,
    place: Place,
}

/// One of the connections that there may be, also of what is no HTTP any more. Left when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pool: Rc<Pool>,
    visit: Visit,
    _counted: Counted,
}

/// Of the places that the upstream has.
#[derive(Debug)]
struct Counted(Rc<Pool>);

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the upstream cannot be reached")]
    Connect(#[source] std::io::Error),
    #[error("the upstream could not be reached in time")]
    ConnectTimeout,
    #[error("the upstream did not answer in time")]
    ResponseTimeout,
    #[error("the exchange with the upstream failed")]
    Exchange(#[source] hyper::Error),
    #[error("the upstream has as many requests as it may have, and too many wait")]
    Full,
    #[error("no endpoint of the upstream gets any requests")]
    NoEndpoint,
    #[error("the upstream is not configured")]
    Missing,
}

/// A connection used so recently has not been closed by a peer that keeps them at all.
const FRESH: Duration = Duration::from_millis(500);

impl Pool {
    pub(crate) fn new(
        plan: Arc<Plan>,
        (upstream, roster): (usize, Arc<Roster>),
        metrics: Arc<GatewayMetrics>,
        connect: Duration,
        response: Duration,
    ) -> Rc<Self> {
        let places = plan.upstreams.get(upstream).map_or_else(
            || Places::new(0, 0, connect),
            |upstream| Places::new(upstream.connections, upstream.pending, upstream.pending_for),
        );
        // What is published in between is looked at by the first request.
        let version = Cell::new(roster.version());
        let selection = RefCell::new(Selection::new(roster.view()));
        Rc::new(Self {
            plan,
            upstream,
            metrics,
            roster,
            version,
            selection,
            places,
            connect,
            response,
        })
    }

    /// Sends a request to one of the endpoints and waits for the response's head. `key`: what leads it there.
    ///
    /// A request that never left is sent again on another connection. One that may have left is
    /// repeated only where that is safe, it has no body, and its connection had been idle: then
    /// the upstream had most likely closed it already. Once.
    pub(crate) async fn send(
        self: &Rc<Self>,
        request: Request<RequestBody>,
        key: Option<u64>,
    ) -> Result<(http::Response<Incoming>, Lease), UpstreamError> {
        let plan = self.plan().ok_or(UpstreamError::Missing)?;
        let counted = self.place().await?;
        let place = Place {
            visit: self.choose(plan, key).ok_or(UpstreamError::NoEndpoint)?,
            pool: self.clone(),
            _counted: counted,
        };
        let at = place.visit.at().clone();
        if let Some(metrics) = &at.endpoint.metrics {
            metrics.requests.inc();
        }
        let progress = self.roster.counts().then(|| request.body().progress());
        let answered = self.exchange_at(plan, &at, request).await;
        if let Some(progress) = progress {
            let has_failed = has_failed(plan, answered.as_ref().map(|it| &it.0), &progress);
            self.roster.ended(&at.endpoint, has_failed);
        }
        answered.map(|(response, sender)| (response, Lease { sender, place }))
    }

    async fn exchange_at(
        &self,
        plan: &UpstreamPlan,
        at: &Connections,
        mut request: Request<RequestBody>,
    ) -> Result<Answered, UpstreamError> {
        let deadline = Instant::now() + self.response;
        loop {
            let Some(idle) = at.checkout(plan.idle) else {
                let sender = self.connect(plan, at).await?;
                let answered = exchange(sender, request, deadline).await;
                return answered.map_err(|(error, _)| error);
            };
            let Idle { sender, since } = idle;
            let copy = (since.elapsed() > FRESH)
                .then(|| repeatable(&request))
                .flatten();
            match exchange(sender, request, deadline).await {
                Ok(answered) => return Ok(answered),
                Err((UpstreamError::Exchange(error), unsent)) => {
                    request = unsent.or(copy).ok_or(UpstreamError::Exchange(error))?;
                    // The others are as old: the next connection is a new one.
                    at.close_kept();
                    if let Some(metrics) = self.metrics.upstream(self.upstream) {
                        metrics.retries.inc();
                    }
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    fn plan(&self) -> Option<&UpstreamPlan> {
        self.plan.upstreams.get(self.upstream)
    }

    /// One of the connections that there may be: kept ones are taken first, so there are never more.
    async fn place(self: &Rc<Self>) -> Result<Counted, UpstreamError> {
        let metrics = self.metrics.upstream(self.upstream);
        if self.places.take(metrics.map(|it| &it.pending)).await {
            Ok(Counted(self.clone()))
        } else {
            Err(UpstreamError::Full)
        }
    }

    /// Who gets a request.
    fn choose(&self, plan: &UpstreamPlan, key: Option<u64>) -> Option<Visit> {
        let version = self.roster.version();
        if self.version.replace(version) != version {
            let renewed = self.selection.borrow().renewed(self.roster.view());
            self.selection.replace(renewed);
        }
        let selection = self.selection.borrow();
        let chosen = selection.choose(&plan.balancing, key, &[]);
        chosen.map(Visit::new)
    }

    /// Brings gauges up to date.
    pub(crate) fn update_gauges(&self) {
        if let Some(metrics) = self.metrics.upstream(self.upstream) {
            self.places.update(&metrics.active);
        }
    }

    async fn connect(
        &self,
        plan: &UpstreamPlan,
        at: &Connections,
    ) -> Result<SendRequest<RequestBody>, UpstreamError> {
        if let Some(metrics) = self.metrics.upstream(self.upstream) {
            metrics.connects.inc();
        }
        // Those that are kept to other endpoints count, too: there are never more than there may be.
        if self.kept() + self.places.used() > plan.connections {
            let selection = self.selection.borrow();
            if let Some(most) = selection.all().iter().max_by_key(|it| it.kept()) {
                most.close_oldest();
            }
        }
        at.connect(self.connect).await
    }

    /// Connections that are kept, to all endpoints.
    fn kept(&self) -> usize {
        let selection = self.selection.borrow();
        selection.all().iter().map(|it| it.kept()).sum()
    }

    fn put(&self, at: &Connections, sender: SendRequest<RequestBody>) {
        let most = self.plan().map_or(0, |plan| plan.idle_connections);
        if self.kept() < most {
            at.keep(sender);
        }
    }
}

type Answered = (http::Response<Incoming>, SendRequest<RequestBody>);
type Unanswered = (UpstreamError, Option<Request<RequestBody>>);

async fn exchange(
    mut sender: SendRequest<RequestBody>,
    request: Request<RequestBody>,
    deadline: Instant,
) -> Result<Answered, Unanswered> {
    match tokio::time::timeout_at(deadline, sender.try_send_request(request)).await {
        Ok(Ok(response)) => Ok((response, sender)),
        Ok(Err(mut failed)) => {
            let unsent = failed.take_message();
            Err((UpstreamError::Exchange(failed.into_error()), unsent))
        }
        Err(_) => Err((UpstreamError::ResponseTimeout, None)),
    }
}

impl Lease {
    /// For the next request. The connection must have nothing left to read.
    pub(crate) fn give_back(self) {
        let Self { mut sender, place } = self;
        if sender.is_ready() {
            place.put(sender);
        } else if !sender.is_closed() {
            // The upstream answered before it had the whole request.
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = timeout(FRESH, sender.ready()).await {
                    place.put(sender);
                }
            });
        }
    }

    /// The connection becomes something else, and counts as long as that lasts.
    pub(crate) fn upgraded(self) -> Place {
        self.place
    }
}

impl Place {
    fn put(self, sender: SendRequest<RequestBody>) {
        self.pool.put(self.visit.at(), sender);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.places.leave();
    }
}

/// Whether an endpoint has done badly. What its client has broken off, or was too slow to send, says nothing about
/// it: or anybody could have all endpoints ejected.
fn has_failed(
    plan: &UpstreamPlan,
    answered: Result<&http::Response<Incoming>, &UpstreamError>,
    progress: &Progress,
) -> bool {
    match answered {
        Ok(response) => {
            let outliers = plan.health.outliers.as_ref();
            outliers.is_some_and(|outliers| outliers.counts(response.status()))
        }
        Err(UpstreamError::Connect(_) | UpstreamError::ConnectTimeout) => true,
        Err(UpstreamError::ResponseTimeout) => progress.is_whole.get(),
        Err(UpstreamError::Exchange(_)) => progress.failure.get().is_none(),
        Err(UpstreamError::Full | UpstreamError::NoEndpoint | UpstreamError::Missing) => false,
    }
}

/// A copy of a request that may be sent twice.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    use http_body::Body as _;
    if !(request.method().is_safe() && request.body().is_end_stream()) {
        return None;
    }
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
