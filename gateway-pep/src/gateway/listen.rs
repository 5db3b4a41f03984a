//! Sockets: one a worker, on one port.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::GatewayError;
use super::reload::Fixed;
use crate::probes::probe;
use crate::worker::client::Purpose;

/// What workers listen on.
#[derive(Debug)]
pub(super) struct Bound {
    /// For clients: the port that was chosen, where none was given.
    pub(super) addr: SocketAddr,
    /// For other proxies, in the order of the configuration.
    pub(super) forward_auth: Vec<SocketAddr>,
    /// Of each worker.
    pub(super) listeners: Vec<Vec<(TcpListener, Purpose)>>,
}

impl Bound {
    pub(super) fn of(listen: SocketAddr, fixed: &Fixed) -> Result<Self, GatewayError> {
        let (addr, of_clients) = bind(listen, fixed.workers)?;
        let mut listeners: Vec<_> = of_clients
            .into_iter()
            .map(|listener| vec![(listener, Purpose::Forward)])
            .collect();
        let mut forward_auth = Vec::new();
        for (index, listen) in fixed.forward_auth.iter().enumerate() {
            let (addr, of_proxies) = bind(*listen, fixed.workers)?;
            forward_auth.push(addr);
            for (worker, listener) in listeners.iter_mut().zip(of_proxies) {
                worker.push((listener, Purpose::Ask(index)));
            }
        }
        Ok(Self {
            addr,
            forward_auth,
            listeners,
        })
    }
}

/// One listener a worker, on one port; and which that is.
fn bind(
    listen: SocketAddr,
    workers: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), GatewayError> {
    let listeners = listeners(listen, workers).map_err(|source| GatewayError::Listen {
        addr: listen,
        source,
    })?;
    let bound = listeners.first().map(TcpListener::local_addr);
    Ok((bound.and_then(Result::ok).unwrap_or(listen), listeners))
}

fn listeners(listen: SocketAddr, workers: usize) -> std::io::Result<Vec<TcpListener>> {
    // Sockets that share a port would silently share it with another process, too: ask first.
    if listen.port() != 0 {
        drop(listener(listen, false)?);
    }
    let mut addr = listen;
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers.max(1) {
        let listener = listener(addr, true)?;
        addr = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listener(addr: SocketAddr, shares_port: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    socket.set_nonblocking(true)?;
    // A client that vanished would have its place for ever.
    probe(&socket)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
