//! Requests that a service sends: nothing takes long, nobody sends us elsewhere, and no answer is longer
//! than its reader allows.

use std::time::Duration;

use reqwest::redirect::Policy;
use url::{Host, Url};

/// Why the body of an answer is not there.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Longer than allowed; the rest was not read.
    #[error("the answer is too long")]
    TooLong,
    /// The connection failed, or time was over. Without the URL.
    #[error(transparent)]
    Broken(reqwest::Error),
}

/// An HTTP client that waits for a whole answer no longer than `patience`.
///
/// It follows no redirect: whoever is redirected to was not configured, or not checked. It goes through
/// no proxy of the environment.
pub fn client(patience: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .timeout(patience)
        .connect_timeout(patience)
        .redirect(Policy::none())
        .no_proxy()
}

/// The body of an answer, of at most `longest` bytes.
pub async fn body(response: &mut reqwest::Response, longest: usize) -> Result<Vec<u8>, Unread> {
    let broken = |error: reqwest::Error| Unread::Broken(error.without_url());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > longest {
            return Err(Unread::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether a URL is of this very machine, by its address or as `localhost`. Whatever its scheme is.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
