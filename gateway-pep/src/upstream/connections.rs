//! Connections of one worker to one endpoint: those that are kept, and how many are in use.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::UpstreamError;
use super::roster::Endpoint;
use crate::body::RequestBody;
use crate::probes::probe;

/// Kept connections, the last used first.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) endpoint: Arc<Endpoint>,
    idle: RefCell<Vec<Idle>>,
    active: Cell<u32>,
    /// What round robin owes it.
    pub(super) owed: Cell<i64>,
    /// There is no such endpoint any more.
    is_gone: Cell<bool>,
}

/// A connection that is kept.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) since: Instant,
}

/// A request under way at an endpoint, or what it has become. Over when dropped.
#[derive(Debug)]
pub(super) struct Visit(Rc<Connections>);

impl Connections {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            idle: RefCell::default(),
            active: Cell::new(0),
            owed: Cell::new(0),
            is_gone: Cell::new(false),
        }
    }

    /// One that is kept, and neither closed nor idle for longer than `limit`.
    pub(super) fn checkout(&self, limit: Duration) -> Option<Idle> {
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

    pub(super) fn keep(&self, sender: SendRequest<RequestBody>) {
        if !self.is_gone.get() {
            let since = Instant::now();
            self.idle.borrow_mut().push(Idle { sender, since });
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
    }

    /// The endpoint is none any more: nothing is kept, now or later.
    pub(super) fn retire(&self) {
        self.is_gone.set(true);
        self.close_kept();
    }

    pub(super) fn active(&self) -> u32 {
        self.active.get()
    }

    pub(super) async fn connect(
        &self,
        within: Duration,
    ) -> Result<SendRequest<RequestBody>, UpstreamError> {
        let plan = &self.endpoint.plan;
        let stream = TcpStream::connect((plan.host.as_str(), plan.port));
        let stream = timeout(within, stream)
            .await
            .map_err(|_| UpstreamError::ConnectTimeout)?
            .map_err(UpstreamError::Connect)?;
        stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
        watch_over(&stream).map_err(UpstreamError::Connect)?;
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

/// Has the system end a connection whose other end has vanished, or takes nothing of what is sent, which nobody waits
/// for once the answer is there.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    probe(&socket)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(DEAF))?;
    Ok(())
}

#[cfg(target_os = "linux")]
const DEAF: Duration = Duration::from_mins(1);

impl Visit {
    pub(super) fn new(connections: &Rc<Connections>) -> Self {
        connections.active.set(connections.active.get() + 1);
        Self(connections.clone())
    }

    pub(super) fn at(&self) -> &Rc<Connections> {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let active = &self.0.active;
        active.set(active.get().saturating_sub(1));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::probes::SILENT;

    #[tokio::test]
    async fn the_system_looks_after_connections_that_nobody_waits_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let stream = connecting.await.unwrap();
        watch_over(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENT);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(DEAF));
    }
}
