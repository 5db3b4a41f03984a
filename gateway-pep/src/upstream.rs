//! Connections to one upstream, kept by one worker; and which of its endpoints each request goes to.

mod balance;
mod budget;
mod check;
mod connections;
mod dial;
mod exchange;
mod health;
mod hedge;
pub(crate) mod keeper;
mod multiplexed;
mod names;
mod places;
pub(crate) mod roster;
mod sending;
mod words;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::time::timeout;

use crate::body::RequestBody;
use crate::metrics::GatewayMetrics;
use crate::metrics::upstream::RetryMetrics;
use crate::plan::{Plan, UpstreamPlan, UpstreamTimes};
use balance::Selection;
use budget::Budget;
use connections::{Common, Connections, Http1, Sender, Visit, Wanted};
pub(crate) use exchange::Exchange;
pub(crate) use hedge::Hedge;
use multiplexed::Stream;
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
    common: Rc<Common>,
    places: Places,
    /// Of retries.
    budget: Budget,
}

/// A connection that is in use.
#[derive(Debug)]
pub(crate) struct Lease {
    sender: Sender,
    place: Place,
}

/// What is held of the upstream by what is no HTTP any more.
#[derive(Debug)]
pub(crate) struct Upgraded {
    _place: Place,
    _stream: Option<Stream>,
}

/// One of the connections that there may be. Left when dropped.
#[derive(Debug)]
struct Place {
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
    #[error("the client's body did not come")]
    Client,
    #[error("the upstream takes no WebSockets by HTTP/2 (RFC 8441)")]
    NoTunnel,
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
    ) -> Rc<Self> {
        let places = plan.upstreams.get(upstream).map_or_else(
            || Places::new(0, 0, Duration::ZERO),
            |upstream| Places::new(upstream.connections, upstream.pending, upstream.pending_for),
        );
        let retries = plan.upstreams.get(upstream);
        let retries = retries.and_then(|upstream| upstream.retries.as_ref());
        let budget = retries.map_or_else(
            || Budget::new(0, 0),
            |retries| Budget::new(retries.budget_percent, retries.budget_min),
        );
        // What is published in between is looked at by the first request.
        let version = Cell::new(roster.version());
        let transport = plan.upstreams.get(upstream).map(|plan| &plan.transport);
        let opened = metrics.upstream(upstream).map(|it| it.connects.clone());
        let common = Common::new(transport, opened);
        let selection = RefCell::new(Selection::new(roster.view(), common.clone()));
        Rc::new(Self {
            plan,
            upstream,
            metrics,
            roster,
            version,
            selection,
            common,
            places,
            budget,
        })
    }

    /// A request that is to be sent to one of the endpoints. `key`: what leads it there.
    pub(crate) fn exchange(
        self: &Rc<Self>,
        request: Box<Request<RequestBody>>,
        key: Option<u64>,
        times: UpstreamTimes,
    ) -> Exchange {
        Exchange::new(self, (request, key), times)
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

    /// Who gets a request that those who were tried could not answer.
    fn choose(
        &self,
        plan: &UpstreamPlan,
        key: Option<u64>,
        tried: &[Rc<Connections>],
    ) -> Option<Visit> {
        self.choose_well(plan, key, tried).or_else(|| {
            // It would fail for want of a place: one that was ejected may be well again.
            let selection = self.selection.borrow();
            let last = (!tried.is_empty()).then(|| selection.last_resort(tried));
            last.flatten().map(Visit::new)
        })
    }

    /// The same, of those that get requests for their own sake.
    fn choose_well(
        &self,
        plan: &UpstreamPlan,
        key: Option<u64>,
        tried: &[Rc<Connections>],
    ) -> Option<Visit> {
        let version = self.roster.version();
        if self.version.replace(version) != version {
            let renewed = self.selection.borrow().renewed(self.roster.view());
            self.selection.replace(renewed);
        }
        let selection = self.selection.borrow();
        let chosen = selection.choose(&plan.balancing, key, tried);
        chosen.map(Visit::new)
    }

    /// Brings gauges up to date.
    pub(crate) fn update_gauges(&self) {
        if let Some(metrics) = self.metrics.upstream(self.upstream) {
            self.places.update(&metrics.active);
        }
    }

    /// The same, where those that would get it have as much to do as they may: it waits for a while.
    async fn choose_soon(
        &self,
        plan: &UpstreamPlan,
        key: Option<u64>,
        tried: &[Rc<Connections>],
    ) -> Result<Visit, UpstreamError> {
        if let Some(visit) = self.choose(plan, key, tried) {
            return Ok(visit);
        }
        // Who has been elsewhere before does not wait, too.
        if !tried.is_empty() || !self.selection.borrow().is_full() {
            return Err(UpstreamError::NoEndpoint);
        }
        let found = async {
            loop {
                self.common.room.notified().await;
                if let Some(visit) = self.choose(plan, key, tried) {
                    return Some(visit);
                }
                if !self.selection.borrow().is_full() {
                    return None;
                }
            }
        };
        let gauge = self.metrics.upstream(self.upstream).map(|it| &it.pending);
        // It is seldom, and large.
        let found = Box::pin(self.places.wait(found, gauge)).await;
        found
            .ok_or(UpstreamError::Full)?
            .ok_or(UpstreamError::NoEndpoint)
    }

    async fn connect(
        &self,
        plan: &UpstreamPlan,
        (at, wanted): (&Connections, Wanted),
        within: Duration,
    ) -> Result<Sender, UpstreamError> {
        // Those that are kept to other endpoints count, too: there are never more than there may be.
        if plan.transport.http2.is_none() && self.kept() + self.places.used() > plan.connections {
            let selection = self.selection.borrow();
            if let Some(most) = selection.all().iter().max_by_key(|it| it.kept()) {
                most.close_oldest();
            }
        }
        at.connect(plan, wanted, within).await
    }

    /// Connections that are kept, to all endpoints.
    fn kept(&self) -> usize {
        let selection = self.selection.borrow();
        selection.all().iter().map(|it| it.kept()).sum()
    }

    fn put(&self, at: &Connections, connection: Http1) {
        let most = self.plan().map_or(0, |plan| plan.idle_connections);
        if self.kept() < most {
            at.keep(connection);
        }
    }
}

impl Lease {
    /// For the next request. The connection must have nothing left to read.
    pub(crate) fn give_back(self) {
        let Self { sender, place } = self;
        // A stream that is over is nothing to give back.
        let Sender::Http1(mut connection) = sender else {
            return;
        };
        if connection.sender.is_ready() {
            place.put(connection);
        } else if !connection.sender.is_closed() {
            // The upstream answered before it had the whole request.
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = timeout(FRESH, connection.sender.ready()).await {
                    place.put(connection);
                }
            });
        }
    }

    /// Whether other requests go on on the connection, whatever becomes of this one.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// The connection becomes something else, or one of its streams does, and counts as long as that lasts.
    pub(crate) fn upgraded(self) -> Upgraded {
        let Self { sender, mut place } = self;
        let stream = match sender {
            Sender::Http1(_) => None,
            Sender::Http2(stream) => {
                place.visit.go_apart();
                Some(stream)
            }
        };
        Upgraded {
            _place: place,
            _stream: stream,
        }
    }
}

impl Place {
    fn put(self, connection: Http1) {
        self.pool.put(self.visit.at(), connection);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.places.leave();
    }
}
