//! One client connection.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::Worker;
use crate::guard::{Findings, Guarded};
use crate::pipeline;

/// What the requests of one connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    client_ip: IpAddr,
    forwarded_for: HeaderValue,
    findings: Arc<Findings>,
    messages: Cell<u64>,
}

impl Connection {
    fn new(peer: IpAddr, findings: Arc<Findings>) -> Self {
        let client_ip = peer.to_canonical();
        Self {
            forwarded_for: HeaderValue::try_from(client_ip.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            client_ip,
            findings,
            messages: Cell::new(0),
        }
    }

    /// The peer: no proxy is trusted to speak for another.
    pub(crate) fn client_ip(&self) -> IpAddr {
        self.client_ip
    }

    pub(crate) fn client_ip_text(&self) -> &str {
        self.forwarded_for.to_str().unwrap_or_default()
    }

    pub(crate) fn forwarded_for(&self) -> HeaderValue {
        self.forwarded_for.clone()
    }

    /// Counts a message; false where its bytes, or bytes before it, were malformed.
    pub(crate) fn accepts_next(&self) -> bool {
        let message = self.messages.get();
        self.messages.set(message + 1);
        !self.findings.is_bad(message)
    }

    pub(crate) fn enter_tunnel(&self) {
        self.findings.enter_tunnel();
    }
}

/// Serves until the client is done, or the worker closes and the answer at hand has gone.
pub(super) async fn serve(worker: &Rc<Worker>, number: u64, stream: TcpStream, peer: IpAddr) {
    let _ = stream.set_nodelay(true);
    let core = &worker.core;
    let (guarded, findings) = Guarded::new(stream, core.head_bytes);
    let connection = Rc::new(Connection::new(peer, findings));
    let service = service_fn(|request| {
        let answer = pipeline::handle(worker.clone(), connection.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(core.timeouts.head)
        .max_buf_size(core.head_bytes.max(64 << 10))
        .max_header_size(core.head_bytes);
    // Its own default is kept on the stack.
    if core.max_headers != PARSER_HEADERS {
        http.max_headers(core.max_headers);
    }
    let mut served = pin!(
        http.serve_connection(TokioIo::new(guarded), service)
            .with_upgrades()
    );
    let mut is_told = false;
    let mut is_known = false;
    let ended = poll_fn(|context| {
        if !is_known {
            is_known = true;
            worker.wake_on_close(number, context.waker());
        }
        if !is_told && worker.closing.is_cancelled() {
            is_told = true;
            served.as_mut().graceful_shutdown();
        }
        served.as_mut().poll(context)
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

const PARSER_HEADERS: usize = 100;
