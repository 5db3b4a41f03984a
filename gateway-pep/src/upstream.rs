//! Connections to one upstream, kept by one worker.

mod places;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::body::RequestBody;
use crate::metrics::GatewayMetrics;
use crate::plan::Plan;
use places::Places;

/// Idle connections, the last used first.
#[derive(Debug)]
pub(crate) struct Pool {
    plan: Arc<Plan>,
    upstream: usize,
    metrics: Arc<GatewayMetrics>,
    idle: RefCell<Vec<Idle>>,
    places: Places,
    connect: Duration,
    response: Duration,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// A connection that is in use.
#[derive(Debug)]
pub(crate) struct Lease {
    sender: SendRequest<RequestBody>,
    place: Place,
}

/// One of the connections that there may be, also of what is no HTTP any more. Left when dropped.
#[derive(Debug)]
pub(crate) struct Place(Rc<Pool>);

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
    #[error("the upstream is not configured")]
    Missing,
}

/// A connection used so recently has not been closed by a peer that keeps them at all.
const FRESH: Duration = Duration::from_millis(500);

impl Pool {
    pub(crate) fn new(
        plan: Arc<Plan>,
        upstream: usize,
        metrics: Arc<GatewayMetrics>,
        connect: Duration,
        response: Duration,
    ) -> Rc<Self> {
        let places = plan.upstreams.get(upstream).map_or_else(
            || Places::new(0, 0, connect),
            |upstream| Places::new(upstream.connections, upstream.pending, upstream.pending_for),
        );
        Rc::new(Self {
            plan,
            upstream,
            metrics,
            idle: RefCell::default(),
            places,
            connect,
            response,
        })
    }

    /// Sends a request and waits for the response's head.
    ///
    /// A request that never left is sent again on another connection. One that may have left is
    /// repeated only where that is safe, it has no body, and its connection had been idle: then
    /// the upstream had most likely closed it already. Once.
    pub(crate) async fn send(
        self: &Rc<Self>,
        mut request: Request<RequestBody>,
    ) -> Result<(http::Response<Incoming>, Lease), UpstreamError> {
        let place = self.place().await?;
        let deadline = Instant::now() + self.response;
        loop {
            let Some(idle) = self.checkout() else {
                let sender = self.connect().await?;
                let answered = exchange(sender, request, deadline).await;
                return answered
                    .map(|(response, sender)| (response, Lease { sender, place }))
                    .map_err(|(error, _)| error);
            };
            let copy = (idle.since.elapsed() > FRESH)
                .then(|| repeatable(&request))
                .flatten();
            match exchange(idle.sender, request, deadline).await {
                Ok((response, sender)) => return Ok((response, Lease { sender, place })),
                Err((UpstreamError::Exchange(error), unsent)) => {
                    request = unsent.or(copy).ok_or(UpstreamError::Exchange(error))?;
                    // The others are as old: the next connection is a new one.
                    self.idle.borrow_mut().clear();
                    if let Some(metrics) = self.metrics.upstream(self.upstream) {
                        metrics.retries.inc();
                    }
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// One of the connections that there may be: kept ones are taken first, so there are never more.
    async fn place(self: &Rc<Self>) -> Result<Place, UpstreamError> {
        let metrics = self.metrics.upstream(self.upstream);
        if self.places.take(metrics.map(|it| &it.pending)).await {
            Ok(Place(self.clone()))
        } else {
            Err(UpstreamError::Full)
        }
    }

    /// Brings gauges up to date.
    pub(crate) fn update_gauges(&self) {
        if let Some(metrics) = self.metrics.upstream(self.upstream) {
            self.places.update(&metrics.active);
        }
    }

    fn checkout(&self) -> Option<Idle> {
        let limit = self.plan.upstreams.get(self.upstream)?.idle;
        let mut idle = self.idle.borrow_mut();
        while let Some(candidate) = idle.pop() {
            if candidate.since.elapsed() > limit {
                // All below have been idle for longer.
                idle.clear();
                return None;
            }
            if candidate.sender.is_ready() {
                return Some(candidate);
            }
        }
        None
    }

    async fn connect(&self) -> Result<SendRequest<RequestBody>, UpstreamError> {
        let plan = self
            .plan
            .upstreams
            .get(self.upstream)
            .ok_or(UpstreamError::Missing)?;
        if let Some(metrics) = self.metrics.upstream(self.upstream) {
            metrics.connects.inc();
        }
        let stream = TcpStream::connect((plan.host.as_str(), plan.port));
        let stream = timeout(self.connect, stream)
            .await
            .map_err(|_| UpstreamError::ConnectTimeout)?
            .map_err(UpstreamError::Connect)?;
        stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::Exchange)?;
        tokio::task::spawn_local(async move {
            // Its errors come back to whoever is waiting on it.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }
}

type Unanswered = (UpstreamError, Option<Request<RequestBody>>);

async fn exchange(
    mut sender: SendRequest<RequestBody>,
    request: Request<RequestBody>,
    deadline: Instant,
) -> Result<(http::Response<Incoming>, SendRequest<RequestBody>), Unanswered> {
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
            place.0.put(sender);
        } else if !sender.is_closed() {
            // The upstream answered before it had the whole request.
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = timeout(FRESH, sender.ready()).await {
                    place.0.put(sender);
                }
            });
        }
    }

    /// The connection becomes something else, and counts as long as that lasts.
    pub(crate) fn upgraded(self) -> Place {
        self.place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.leave();
    }
}

impl Pool {
    fn put(&self, sender: SendRequest<RequestBody>) {
        let most = self
            .plan
            .upstreams
            .get(self.upstream)
            .map_or(0, |plan| plan.idle_connections);
        let mut idle = self.idle.borrow_mut();
        if idle.len() < most {
            idle.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
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
