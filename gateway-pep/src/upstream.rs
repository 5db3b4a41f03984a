//! Connections to one upstream, kept by one worker.

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

/// Idle connections, the last used first.
#[derive(Debug)]
pub(crate) struct Pool {
    plan: Arc<Plan>,
    upstream: usize,
    metrics: Arc<GatewayMetrics>,
    idle: RefCell<Vec<Idle>>,
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
    pool: Rc<Pool>,
}

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
        Rc::new(Self {
            plan,
            upstream,
            metrics,
            idle: RefCell::default(),
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
        let deadline = Instant::now() + self.response;
        loop {
            let Some(idle) = self.checkout() else {
                let lease = Lease {
                    sender: self.connect().await?,
                    pool: self.clone(),
                };
                return lease
                    .exchange(request, deadline)
                    .await
                    .map_err(|(error, _)| error);
            };
            let copy = (idle.since.elapsed() > FRESH)
                .then(|| repeatable(&request))
                .flatten();
            let lease = Lease {
                sender: idle.sender,
                pool: self.clone(),
            };
            match lease.exchange(request, deadline).await {
                Ok(answered) => return Ok(answered),
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

impl Lease {
    async fn exchange(
        mut self,
        request: Request<RequestBody>,
        deadline: Instant,
    ) -> Result<(http::Response<Incoming>, Self), Unanswered> {
        match tokio::time::timeout_at(deadline, self.sender.try_send_request(request)).await {
            Ok(Ok(response)) => Ok((response, self)),
            Ok(Err(mut failed)) => {
                let unsent = failed.take_message();
                Err((UpstreamError::Exchange(failed.into_error()), unsent))
            }
            Err(_) => Err((UpstreamError::ResponseTimeout, None)),
        }
    }

    /// For the next request. The connection must have nothing left to read.
    pub(crate) fn give_back(self) {
        let Self { mut sender, pool } = self;
        if sender.is_ready() {
            pool.put(sender);
        } else if !sender.is_closed() {
            // The upstream answered before it had the whole request.
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = timeout(FRESH, sender.ready()).await {
                    pool.put(sender);
                }
            });
        }
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
