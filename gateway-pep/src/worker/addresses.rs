//! How many connections each address has with one worker: one client alone cannot have them all.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Open connections by the address that they come from.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// None: as many as one likes.
    most: Cell<Option<usize>>,
    open: RefCell<HashMap<IpAddr, usize>>,
}

/// A client has at least so many bits of IPv6 addresses for itself.
const CLIENT_BITS: u32 = 64;

impl Addresses {
    /// 0: as many as one likes.
    pub(super) fn limit(&self, most: usize) {
        self.most.set((most > 0).then_some(most));
    }

    /// Counts one more, if there may be one more. Whoever was counted must [`Addresses::leave`].
    pub(crate) fn enter(&self, peer: IpAddr) -> bool {
        let Some(most) = self.most.get() else {
            return true;
        };
        let mut open = self.open.borrow_mut();
        let own = open.entry(client(peer)).or_default();
        if *own >= most {
            return false;
        }
        *own += 1;
        true
    }

    /// Counts what a connection that was counted becomes, for as long as that lasts.
    pub(super) fn stay(&self, peer: IpAddr) {
        if self.most.get().is_some() {
            *self.open.borrow_mut().entry(client(peer)).or_default() += 1;
        }
    }

    pub(super) fn leave(&self, peer: IpAddr) {
        let mut open = self.open.borrow_mut();
        let client = client(peer);
        if let Some(own) = open.get_mut(&client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.remove(&client);
            }
        }
    }
}

/// What is counted as one.
fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << (128 - CLIENT_BITS));
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_connection_becomes_is_counted_on() {
        let addresses = Addresses::default();
        addresses.limit(1);
        let one = address("192.0.2.1");
        assert!(addresses.enter(one));
        addresses.stay(one);
        addresses.leave(one);
        assert!(!addresses.enter(one));
        addresses.leave(one);
        assert!(addresses.enter(one));
    }

    #[test]
    fn each_address_has_its_own_share_and_gets_it_back() {
        let addresses = Addresses::default();
        addresses.limit(2);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        assert!(addresses.enter(one) && addresses.enter(one));
        assert!(!addresses.enter(one));
        assert!(!addresses.enter(address("::ffff:192.0.2.1")), "the same");
        assert!(addresses.enter(other));
        addresses.leave(one);
        assert!(addresses.enter(one));
        addresses.leave(other);
        assert_eq!(addresses.open.borrow().len(), 1, "nothing is kept");
    }

    #[test]
    fn a_network_of_one_client_is_one() {
        let addresses = Addresses::default();
        addresses.limit(1);
        assert!(addresses.enter(address("2001:db8:0:1::1")));
        assert!(!addresses.enter(address("2001:db8:0:1:ffff::2")));
        assert!(addresses.enter(address("2001:db8:0:2::1")));
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let addresses = Addresses::default();
        addresses.limit(0);
        assert!((0..1000).all(|_| addresses.enter(address("192.0.2.1"))));
        assert!(addresses.open.borrow().is_empty());
    }
}
