//! HTTP to one provider: no redirect is followed, no answer is long, nothing takes long, and nothing but
//! TLS is spoken, but with a provider on this very machine.

use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::Certificate;
use url::{Host, Url};

/// Asks one provider.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    /// The provider is configured to be on this machine.
    is_loopback: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("it cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("its answer is too long")]
    TooLong,
    #[error("an endpoint of it is neither `https` nor on loopback")]
    Place,
    #[error("the request cannot be made")]
    Malformed(#[from] ::http::Error),
}

/// For a whole answer.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);

/// Longer answers are not read. Bytes.
const LONGEST: usize = 256 << 10;

impl Http {
    /// None: no client can be made, for the certificates cannot be used.
    pub(crate) fn new(issuer: &Url, trusted: Option<Vec<Certificate>>) -> Option<Self> {
        let mut client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .connect_timeout(CONNECT)
            // SECURITY: a provider sends us nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(trusted) = trusted {
            client = client.tls_certs_only(trusted);
        }
        Some(Self {
            client: client.build().ok()?,
            is_loopback: issuer.scheme() == "http",
        })
    }

    /// Whether the browser, or we, may be sent there.
    pub(crate) fn is_acceptable(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.is_loopback && is_loopback(url)
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|_| HttpError::Place)?;
        if !self.is_acceptable(&url) {
            return Err(HttpError::Place);
        }
        let unreachable = |error: reqwest::Error| HttpError::Unreachable(error.without_url());
        let sent = self
            .client
            .request(parts.method, url)
            .headers(parts.headers)
            .body(body)
            .send();
        let mut answer = sent.await.map_err(unreachable)?;
        let mut response = ::http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut whole = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if whole.len() + chunk.len() > LONGEST {
                return Err(HttpError::TooLong);
            }
            whole.extend_from_slice(&chunk);
        }
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
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "it cannot be reached",
            Self::TooLong => "its answer is too long",
            Self::Place => "an endpoint of it is neither `https` nor on loopback",
            Self::Malformed(_) => "the request cannot be made",
        }
    }
}

/// `http` on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "http" && is_local
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
