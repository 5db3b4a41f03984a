//! Connections of one worker to one endpoint: those that are kept, and how many are in use.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use prometheus::IntCounter;
use service_kit::{ClientTls, Timeouts};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::dial::{Dialled, dial};
use super::multiplexed::{Multiplexed, Stream};
use super::roster::Endpoint;
use super::{FRESH, UpstreamError};
use crate::body::RequestBody;
use crate::plan::{Transport, UpstreamPlan};

/// Kept connections, the last used first.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) endpoint: Arc<Endpoint>,
    idle: RefCell<Vec<Idle>>,
    multiplexed: Multiplexed,
    /// Of the files that connections were opened by.
    version: Cell<u64>,
    common: Rc<Common>,
    /// Requests under way at once, at most, and what has become of requests.
    most: u32,
    active: Cell<u32>,
    /// Of these, such as have a connection for themselves, whatever is spoken.
    apart: Cell<u32>,
    /// What round robin owes it.
    pub(super) owed: Cell<i64>,
    /// There is no such endpoint any more.
    is_gone: Cell<bool>,
}

/// What a request is sent on.
#[derive(Debug)]
pub(super) enum Sender {
    Http1(Http1),
    Http2(Stream),
}

/// What a connection is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    ForRequest,
    /// By HTTP/2 (RFC 8441). It gets one for itself: an upstream that takes nothing more of one tunnel, as long as its client
    /// likes, could take nothing more on the whole connection (RFC 9113 section 5.2), of nobody.
    ForTunnel,
}

impl Wanted {
    pub(super) fn by<B>(request: &Request<B>) -> Self {
        if request.method() == Method::CONNECT {
            Self::ForTunnel
        } else {
            Self::ForRequest
        }
    }
}

/// A connection for one request after the other.
#[derive(Debug)]
pub(super) struct Http1 {
    pub(super) sender: SendRequest<RequestBody>,
    /// How long each waits for its response.
    pub(super) timeouts: Timeouts,
}

/// A connection that is kept.
#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: Instant,
}

/// What the endpoints of an upstream have in common.
#[derive(Debug)]
pub(super) struct Common {
    tls: Option<ClientTls>,
    /// Requests under way at once at an endpoint, on connections that are for many.
    most: u32,
    /// Counts connections that are opened.
    opened: Option<IntCounter>,
    /// Where those wait for whom no endpoint has room.
    pub(super) room: Notify,
}

impl Common {
    pub(super) fn new(transport: Option<&Transport>, opened: Option<IntCounter>) -> Rc<Self> {
        Rc::new(Self {
            tls: transport.and_then(|it| it.tls.clone()),
            most: transport
                .and_then(Transport::most_requests)
                .unwrap_or(u32::MAX),
            opened,
            room: Notify::new(),
        })
    }
}

/// A request under way at an endpoint, or what it has become. Over when dropped.
#[derive(Debug)]
pub(super) struct Visit {
    at: Rc<Connections>,
    is_apart: bool,
}

impl Connections {
    pub(super) fn new(endpoint: Arc<Endpoint>, common: Rc<Common>) -> Self {
        let version = common.tls.as_ref().map_or(0, ClientTls::version);
        Self {
            most: endpoint.plan.most.unwrap_or(u32::MAX),
            endpoint,
            idle: RefCell::default(),
            multiplexed: Multiplexed::default(),
            version: Cell::new(version),
            common,
            active: Cell::new(0),
            apart: Cell::new(0),
            owed: Cell::new(0),
            is_gone: Cell::new(false),
        }
    }

    /// A place on one that is there, and neither closed nor idle for too long; and whether it may have ended meanwhile.
    pub(super) fn checkout(&self, plan: &UpstreamPlan) -> Option<(Sender, bool)> {
        self.look_at_version();
        if plan.transport.http2.is_some() {
            let stream = self.multiplexed.on_one_with_room(plan.idle)?;
            return Some((Sender::Http2(stream), true));
        }
        let mut idle = self.idle.borrow_mut();
        while let Some(candidate) = idle.pop() {
            let idle_for = candidate.since.elapsed();
            if idle_for > plan.idle {
                // All below have been idle for longer.
                idle.clear();
                return None;
            }
            if candidate.connection.sender.is_ready() {
                return Some((Sender::Http1(candidate.connection), idle_for > FRESH));
            }
        }
        None
    }

    pub(super) fn keep(&self, connection: Http1) {
        if !self.is_gone.get() {
            let since = Instant::now();
            self.idle.borrow_mut().push(Idle { connection, since });
        }
    }

    pub(super) fn kept(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Closes the one that was idle for longest.
    pub(super) fn close_oldest(&self) {
        let mut idle = self.idle.borrow_mut();
        if !idle.is_empty() {
            idle.remove(0);
        }
    }

    pub(super) fn close_kept(&self) {
        self.idle.borrow_mut().clear();
        self.multiplexed.leave_all();
    }

    /// The endpoint is none any more: nothing is kept, now or later.
    pub(super) fn retire(&self) {
        self.is_gone.set(true);
        self.close_kept();
    }

    pub(super) fn active(&self) -> u32 {
        self.active.get()
    }

    /// Whether it can be sent another request. `near`: only if it is that.
    pub(super) fn takes_more(&self, near: bool) -> bool {
        !self.is_full() && (!near || self.endpoint.plan.is_near)
    }

    /// Whether it has as many requests under way as it may.
    pub(super) fn is_full(&self) -> bool {
        let active = self.active.get();
        active >= self.most || active.saturating_sub(self.apart.get()) >= self.common.most
    }

    /// Who leaves a place wakes one for it; there may be others before that one comes.
    fn give_room(&self) {
        if self.most.min(self.common.most) != u32::MAX {
            self.common.room.notify_one();
        }
    }

    /// A connection for one request after the other, or a place on one for many.
    pub(super) async fn connect(
        &self,
        plan: &UpstreamPlan,
        wanted: Wanted,
        within: Duration,
    ) -> Result<Sender, UpstreamError> {
        let opening = async {
            let Some(http2) = &plan.transport.http2 else {
                let dialled = self.dial(&plan.transport).await?;
                return Ok(Sender::Http1(open_http1(dialled).await?));
            };
            let dial = || self.dial(&plan.transport);
            let stream = match wanted {
                Wanted::ForRequest => self.multiplexed.stream(http2, plan.idle, dial).await?,
                Wanted::ForTunnel => Stream::alone(http2, dial().await?).await?,
            };
            Ok(Sender::Http2(stream))
        };
        timeout(within, opening)
            .await
            .map_err(|_| UpstreamError::ConnectTimeout)?
    }

    async fn dial(&self, transport: &Transport) -> Result<Dialled, UpstreamError> {
        if let Some(opened) = &self.common.opened {
            opened.inc();
        }
        let dialled = dial(&self.endpoint.plan, transport).await;
        dialled.map_err(UpstreamError::Connect)
    }

    /// What was opened by certificates or authorities that are others now is used no more.
    fn look_at_version(&self) {
        let Some(tls) = &self.common.tls else {
            return;
        };
        let version = tls.version();
        if self.version.replace(version) != version {
            self.close_kept();
        }
    }
}

async fn open_http1(stream: Dialled) -> Result<Http1, UpstreamError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(UpstreamError::Exchange)?;
    tokio::task::spawn_local(async move {
        // Its errors come back to whoever is waiting on it.
        let _ = connection.with_upgrades().await;
    });
    Ok(Http1 {
        sender,
        timeouts: Timeouts::default(),
    })
}

impl Visit {
    pub(super) fn new(connections: &Rc<Connections>) -> Self {
        connections.active.set(connections.active.get() + 1);
        Self {
            at: connections.clone(),
            is_apart: false,
        }
    }

    pub(super) fn at(&self) -> &Rc<Connections> {
        &self.at
    }

    /// It has a connection for itself: those that are for many have room for another.
    pub(super) fn go_apart(&mut self) {
        if !self.is_apart {
            self.is_apart = true;
            self.at.apart.set(self.at.apart.get() + 1);
            self.at.give_room();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let Connections { active, apart, .. } = &*self.at;
        active.set(active.get().saturating_sub(1));
        if self.is_apart {
            apart.set(apart.get().saturating_sub(1));
        }
        self.at.give_room();
    }
}
