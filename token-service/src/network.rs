//! Where somebody is, as far as it is counted by.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, however it was written; of an IPv6 address the half that names a network, for the other half
/// is free to whoever has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(Option<IpAddr>);

impl Network {
    /// None: nobody knows.
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        }))
    }
}

impl Display for Network {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(formatter),
            None => formatter.write_str("unknown"),
        }
    }
}
