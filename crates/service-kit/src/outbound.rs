//! Requests that a service sends: nothing takes long, nobody sends us elsewhere, and no answer is longer
//! than its reader allows.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use reqwest::redirect::Policy;
use url::{Host, Url};

use crate::error::chain;

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

/// What is at a URL: the body of a 200, of at most `longest` bytes. The error says why there is none, and has
/// no URL in it.
pub async fn fetch(
    client: &reqwest::Client,
    url: &Url,
    accept: HeaderValue,
    longest: usize,
) -> Result<Vec<u8>, String> {
    let broken = |error: reqwest::Error| chain(&error.without_url());
    let request = client.get(url.clone()).header(header::ACCEPT, accept);
    let mut answer = request.send().await.map_err(broken)?;
    if answer.status() != StatusCode::OK {
        return Err(format!("the answer is {}", answer.status()));
    }
    body(&mut answer, longest)
        .await
        .map_err(|unread| match unread {
            Unread::TooLong => format!("the answer is longer than {longest} bytes"),
            Unread::Broken(error) => broken(error),
        })
}

/// Whether nobody on the way can listen, or answer in the place of what is at a URL: `https`, or `http` on this
/// very machine where `is_local` says that whoever has named the URL is there, too.
pub fn is_trusted(url: &Url, is_local: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_local && is_loopback(url),
        _ => false,
    }
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
