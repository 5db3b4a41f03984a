//! The clients of one thread: how many there are, and when they have to go. They stay where they are while the
//! configuration by which their requests are answered is replaced.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;

use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::addresses::Addresses;
use super::spare::Spare;

/// The open connections of one thread.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Every answer is the last of its connection.
    draining: Cell<bool>,
    /// Connections end as soon as they have nothing to do.
    closing: CancellationToken,
    /// Tunnels end.
    parting: CancellationToken,
    connections: RefCell<HashMap<u64, Option<Waker>>>,
    pub(crate) addresses: Addresses,
    pub(crate) spare: Rc<Spare>,
    last: Cell<u64>,
    all_closed: Notify,
    gauge: IntGauge,
}

/// A connection or a tunnel, as long as it is kept. Its place is given back however it ends: a panic, too, ends no more
/// than its connection.
#[derive(Debug)]
pub(crate) struct Open {
    doors: Rc<Doors>,
    /// None: it counts for no address.
    peer: Option<IpAddr>,
    number: u64,
}

impl Open {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Counts it for an address, if that may have one more. Before, it was counted for none.
    pub(crate) fn count(&mut self, peer: IpAddr) -> bool {
        let is_counted = self.doors.addresses.enter(peer);
        if is_counted {
            self.peer = Some(peer);
        }
        is_counted
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(peer) = self.peer {
            self.doors.addresses.leave(peer);
        }
        self.doors.leave(self.number);
    }
}

impl Doors {
    pub(crate) fn new(gauge: IntGauge) -> Self {
        Self {
            draining: Cell::new(false),
            closing: CancellationToken::new(),
            parting: CancellationToken::new(),
            connections: RefCell::default(),
            addresses: Addresses::default(),
            spare: Rc::default(),
            last: Cell::new(0),
            all_closed: Notify::new(),
            gauge,
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    pub(crate) fn parting(&self) -> &CancellationToken {
        &self.parting
    }

    /// So many are open.
    pub(crate) fn open(&self) -> usize {
        self.connections.borrow().len()
    }

    pub(crate) fn become_tunnel(self: &Rc<Self>, peer: IpAddr) -> Open {
        self.addresses.stay(peer);
        self.enter(Some(peer))
    }

    /// `peer`: has been counted.
    pub(crate) fn enter(self: &Rc<Self>, peer: Option<IpAddr>) -> Open {
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        self.connections.borrow_mut().insert(number, None);
        self.gauge.inc();
        Open {
            doors: self.clone(),
            peer,
            number,
        }
    }

    fn leave(&self, number: u64) {
        self.gauge.dec();
        self.connections.borrow_mut().remove(&number);
        if self.connections.borrow().is_empty() {
            self.all_closed.notify_waiters();
        }
    }

    /// A connection that is waiting will be woken when it should close.
    pub(crate) fn wake_on_close(&self, number: u64, waker: &Waker) {
        if let Some(slot) = self.connections.borrow_mut().get_mut(&number) {
            *slot = Some(waker.clone());
        }
    }

    /// Nothing new is taken on. Where many requests are answered on one connection, its client is told.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    pub(crate) fn close(&self) {
        self.closing.cancel();
        self.wake();
    }

    pub(crate) fn part(&self) {
        self.parting.cancel();
    }

    fn wake(&self) {
        for waker in self.connections.borrow().values().flatten() {
            waker.wake_by_ref();
        }
    }

    pub(crate) async fn wait_until_closed(&self) {
        loop {
            let closed = self.all_closed.notified();
            if self.connections.borrow().is_empty() {
                return;
            }
            closed.await;
        }
    }
}
