//! Who has connected, and what for.

use std::net::IpAddr;

/// What a connection is accepted for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// Its requests are forwarded.
    Forward,
    /// Its requests are questions of another proxy, at a listener of the plan.
    Ask(usize),
}

/// Who has connected, and what for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) peer: IpAddr,
    pub(super) purpose: Purpose,
    /// By TLS, which has ended at a proxy in front.
    pub(super) is_by_tls: bool,
    /// A proxy in front passes on the bytes of somebody whom it cannot name: the address is the proxy's, the words are not.
    pub(super) is_unnamed: bool,
}

impl Client {
    /// Nobody is in between.
    pub(super) fn new(peer: IpAddr, purpose: Purpose) -> Self {
        Self {
            peer,
            purpose,
            is_by_tls: false,
            is_unnamed: false,
        }
    }
}
