//! HTTP to one provider: no redirect is followed, no answer is long, nothing takes long, and nothing but
//! TLS is spoken, but with a provider on this very machine.

use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::Certificate;
use service_kit::outbound::{self, Unread};
use url::Url;

/// Asks one provider.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    /// The provider is configured to be on this machine.
    is_local: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.reason())]
pub enum HttpError {
    Unreachable(#[source] reqwest::Error),
    TooLong,
    Place,
    Malformed(#[from] ::http::Error),
}

/// For a whole answer.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);

/// Longer answers are not read. Bytes.
const LONGEST: usize = 256 << 10;

impl Http {
    /// None: no client can be made, for the certificates cannot be used.
    pub fn new(issuer: &Url, trusted: Option<Vec<Certificate>>) -> Option<Self> {
        let mut client = outbound::client(PATIENCE).connect_timeout(CONNECT);
        if let Some(trusted) = trusted {
            client = client.tls_certs_only(trusted);
        }
        Some(Self {
            client: client.build().ok()?,
            is_local: issuer.scheme() == "http",
        })
    }

    /// Whether the browser, or we, may be sent there.
    pub fn is_acceptable(&self, url: &Url) -> bool {
        outbound::is_trusted(url, self.is_local)
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|_| HttpError::Place)?;
        if !self.is_acceptable(&url) {
            return Err(HttpError::Place);
        }
        let sent = self
            .client
            .request(parts.method, url)
            .headers(parts.headers)
            .body(body)
            .send();
        let unreachable = |error: reqwest::Error| HttpError::Unreachable(error.without_url());
        let mut answer = sent.await.map_err(unreachable)?;
        let mut response = ::http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let whole = outbound::body(&mut answer, LONGEST).await;
        let whole = whole.map_err(|unread| match unread {
            Unread::TooLong => HttpError::TooLong,
            Unread::Broken(error) => HttpError::Unreachable(error),
        })?;
        Ok(response.body(whole)?)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

impl HttpError {
    /// For the log, without what the provider sent.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "it cannot be reached",
            Self::TooLong => "its answer is too long",
            Self::Place => "an endpoint of it is neither `https` nor on loopback",
            Self::Malformed(_) => "the request cannot be made",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_on_the_network_cannot_point_to_what_listens_here() {
        let url = |text: &str| Url::parse(text).unwrap();
        let far = Http::new(&url("https://id.example"), None).unwrap();
        let near = Http::new(&url("http://127.0.0.1:1"), None).unwrap();
        for (place, by_far, by_near) in [
            ("https://other.example/token", true, true),
            ("http://127.0.0.1:6379/", false, true),
            ("http://localhost:6379/", false, true),
            ("http://other.example/", false, false),
            ("http://localhost.evil.example/", false, false),
            ("file:///etc/passwd", false, false),
        ] {
            assert_eq!(far.is_acceptable(&url(place)), by_far, "{place}");
            assert_eq!(near.is_acceptable(&url(place)), by_near, "{place}");
        }
    }
}
