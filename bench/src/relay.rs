//! A proxy that is an HTTP library and nothing else: what hyper's server and client cost before a gateway
//! does anything.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use axum::http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Connections to the upstream.
#[derive(Debug)]
struct Pool {
    upstream: SocketAddr,
    /// Some may still be reading an answer, or be closed.
    idle: RefCell<VecDeque<SendRequest<Incoming>>>,
}

/// Serves until the process ends.
pub(crate) async fn serve(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let pool = Rc::new(Pool {
        upstream,
        idle: RefCell::default(),
    });
    let accepting = async move {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let pool = Rc::clone(&pool);
            spawn_local(async move {
                let relay = service_fn(|request| pool.relay(request));
                // A client that goes away is no error of ours.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), relay)
                    .await;
            });
        }
    };
    LocalSet::new().run_until(accepting).await
}

impl Pool {
    async fn relay(&self, mut request: Request<Incoming>) -> anyhow::Result<Response<Incoming>> {
        request.headers_mut().remove(header::CONNECTION);
        let mut upstream = self.connection().await?;
        let mut response = upstream.send_request(request).await?;
        self.idle.borrow_mut().push_back(upstream);
        response.headers_mut().remove(header::CONNECTION);
        Ok(response)
    }

    async fn connection(&self) -> anyhow::Result<SendRequest<Incoming>> {
        let count = self.idle.borrow().len();
        for _ in 0..count {
            let next = self.idle.borrow_mut().pop_front();
            match next {
                Some(ready) if ready.is_ready() => return Ok(ready),
                Some(busy) if !busy.is_closed() => self.idle.borrow_mut().push_back(busy),
                _ => {}
            }
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        spawn_local(driver);
        Ok(connection)
    }
}
