//! The gateway over real sockets: clients that write bytes, an upstream that records them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as expected; its tasks end with it"
)]

mod access_log;
mod agreement;
mod caches;
mod cut_store;
mod discovery;
mod dpop;
mod explain;
mod fakes;
mod fixture;
mod forward_auth;
mod holder;
mod hostile;
mod issuers;
mod limits;
mod obligations;
mod passage;
mod shared_cache;
mod shutdown;
mod streams;
mod upstream;
