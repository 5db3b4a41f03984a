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
mod api_keys;
mod caches;
mod certificates;
mod client_certificates;
mod cors;
mod cut_store;
mod diagnostics;
mod discovery;
mod dpop;
mod encoded;
mod explain;
mod fakes;
mod fixture;
mod forward_auth;
mod holder;
mod hostile;
mod hostile_upstreams;
mod http2;
#[expect(unreachable_pub, reason = "the tests of whole sites use it, too")]
#[path = "../../../tests/src/http2_frames.rs"]
mod http2_frames;
mod inspect;
mod issuers;
mod late;
mod limits;
mod logins;
mod metrics;
mod obligations;
mod passage;
mod proxies;
mod purge;
mod question;
mod reload;
mod routing;
mod shared_cache;
mod shutdown;
mod signer;
mod standing;
mod streams;
mod tls;
mod traces;
mod upstream;
mod upstreams;
