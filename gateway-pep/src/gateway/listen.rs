//! Sockets: one a worker, on one port; or those that the process before has handed over.

use std::net::{SocketAddr, TcpListener};

use service_kit::Listeners;
use socket2::{Domain, Protocol, Socket, Type};

use super::reload::Fixed;
use crate::error::GatewayError;
use crate::probes::probe;
use crate::serve::Purpose;

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
    pub(super) fn of(
        listen: SocketAddr,
        fixed: &Fixed,
        known: &Listeners,
    ) -> Result<Self, GatewayError> {
        let (addr, of_clients) = bind("gateway.listen", listen, fixed.workers, known)?;
        let mut listeners: Vec<_> = (0..fixed.workers.max(1)).map(|_| Vec::new()).collect();
        deal(of_clients, Purpose::Forward, &mut listeners);
        let mut forward_auth = Vec::new();
        for (index, listen) in fixed.forward_auth.iter().enumerate() {
            let name = "gateway.forward_auth[].listen";
            let (addr, of_proxies) = bind(name, *listen, fixed.workers, known)?;
            forward_auth.push(addr);
            deal(of_proxies, Purpose::Ask(index), &mut listeners);
        }
        Ok(Self {
            addr,
            forward_auth,
            listeners,
        })
    }
}

/// Each worker gets one, or more where there are more: connections wait in every one of them.
fn deal(sockets: Vec<TcpListener>, purpose: Purpose, workers: &mut [Vec<(TcpListener, Purpose)>]) {
    let count = workers.len().max(1);
    for (index, socket) in sockets.into_iter().enumerate() {
        if let Some(worker) = workers.get_mut(index % count) {
            worker.push((socket, purpose));
        }
    }
}

/// At least one listener a worker, on one port; and which that is.
fn bind(
    name: &str,
    listen: SocketAddr,
    workers: usize,
    known: &Listeners,
) -> Result<(SocketAddr, Vec<TcpListener>), GatewayError> {
    let bound = listeners(known.take(name, listen), listen, workers).and_then(|listeners| {
        known.keep(name, listen, &listeners)?;
        Ok(listeners)
    });
    let listeners = bound.map_err(|source| GatewayError::Listen {
        addr: listen,
        source,
    })?;
    let bound = listeners.first().map(TcpListener::local_addr);
    Ok((bound.and_then(Result::ok).unwrap_or(listen), listeners))
}

/// `inherited`: all of them go on, so that nobody who waits in one is lost.
fn listeners(
    inherited: Vec<TcpListener>,
    listen: SocketAddr,
    workers: usize,
) -> std::io::Result<Vec<TcpListener>> {
    let mut addr = listen;
    match inherited.first() {
        Some(first) => addr = first.local_addr()?,
        // Sockets that share a port would silently share it with another process, too: ask first.
        None if listen.port() != 0 => drop(listener(listen, false)?),
        None => {}
    }
    let mut listeners = inherited;
    while listeners.len() < workers.max(1) {
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
