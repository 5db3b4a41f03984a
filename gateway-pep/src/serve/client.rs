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
}
