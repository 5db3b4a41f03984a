//! Fetching a JSON document that a stranger has named: over TLS, from a public address, at once, short,
//! and from nowhere else than where it was named.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};
use service_kit::outbound::{self, Unread};
use tokio::sync::Semaphore;
use url::Url;

use crate::error::Trouble;
use crate::public_web::PublicAddresses;

/// Fetches documents.
#[derive(Debug)]
pub(crate) struct Web {
    public: reqwest::Client,
    /// Where the configuration allows addresses that are not public.
    any: reqwest::Client,
    /// So many are fetched at once.
    places: Semaphore,
}

/// A document, and for how long its server says that it holds.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) members: Map<String, Value>,
    pub(crate) max_age: Option<Duration>,
}

/// Why there is no document. For the audit log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfetched {
    /// Nothing is known of what is there.
    #[error("it cannot be fetched now")]
    NoAnswer,
    #[error("the answer is not 200")]
    Status,
    #[error("the answer is not JSON by its type")]
    Type,
    #[error("the document is too long")]
    TooLong,
    #[error("the document is not one JSON object, in which no name is repeated")]
    Malformed,
}

const PATIENCE: Duration = Duration::from_secs(5);
const PLACES: usize = 16;

/// The draft recommends that nobody takes more. Bytes.
const LONGEST: usize = 5 << 10;

impl Web {
    /// `trusted`: certificates of authorities that are believed beside the system's.
    pub(crate) fn new(trusted: &[reqwest::Certificate]) -> Result<Self, Trouble> {
        let http = || {
            outbound::client(PATIENCE)
                .https_only(true)
                .tls_certs_merge(trusted.iter().cloned())
        };
        let built = |http: reqwest::ClientBuilder| http.build().map_err(Trouble::no_http_client);
        Ok(Self {
            public: built(http().dns_resolver(Arc::new(PublicAddresses)))?,
            any: built(http())?,
            places: Semaphore::new(PLACES),
        })
    }

    /// SECURITY: the caller has made sure that the URL has no address written out, which would not be
    /// looked up and so not be looked at.
    pub(crate) async fn document(&self, url: &Url, anywhere: bool) -> Result<Document, Unfetched> {
        let http = if anywhere { &self.any } else { &self.public };
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Unfetched::NoAnswer);
        };
        let fetched = tokio::time::timeout(PATIENCE, fetched(http, url)).await;
        fetched.unwrap_or(Err(Unfetched::NoAnswer))
    }
}

async fn fetched(http: &reqwest::Client, url: &Url) -> Result<Document, Unfetched> {
    let asked = http
        .get(url.clone())
        .header(header::ACCEPT, "application/json");
    let mut answer = asked.send().await.map_err(|_| Unfetched::NoAnswer)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            return Err(Unfetched::NoAnswer);
        }
        status if status.is_server_error() => return Err(Unfetched::NoAnswer),
        _ => return Err(Unfetched::Status),
    }
    if !is_json(answer.headers()) {
        return Err(Unfetched::Type);
    }
    let max_age = max_age(answer.headers());
    let body = outbound::body(&mut answer, LONGEST).await;
    let body = body.map_err(|unread| match unread {
        Unread::TooLong => Unfetched::TooLong,
        Unread::Broken(_) => Unfetched::NoAnswer,
    })?;
    let members = strict_json::parse_object(&body).map_err(|_| Unfetched::Malformed)?;
    Ok(Document { members, max_age })
}

/// `application/json`, or something more specific that is JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE);
    let media = media
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let media = media.to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

/// RFC 9111 section 5.2.2, as far as it says how long. None: it says nothing.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let said = values.filter_map(|value| value.to_str().ok());
    let mut directives = said.flat_map(|value| value.split(',')).map(str::trim);
    directives.find_map(|directive| {
        let directive = directive.to_ascii_lowercase();
        match directive.split_once('=') {
            Some(("max-age", secs)) => secs.parse().ok().map(Duration::from_secs),
            None if directive == "no-store" || directive == "no-cache" => Some(Duration::ZERO),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn how_long_a_document_holds_is_what_its_server_says() {
        let said = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, text.parse().unwrap());
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(said("public, Max-Age=600"), Some(600));
        assert_eq!(said("no-store"), Some(0));
        assert_eq!(said("private, no-cache"), Some(0));
        assert_eq!(said("max-age=soon"), None);
        assert_eq!(said("public"), None);
        assert_eq!(max_age(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_name_of_an_inner_address_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = Url::parse(&format!("https://localhost:{port}/client")).unwrap();
        let web = Web::new(&[]).unwrap();
        let refused = web.document(&url, false).await;
        assert_eq!(refused.unwrap_err(), Unfetched::NoAnswer);
        assert!(listener.accept().now_or_never().is_none(), "it was asked");
        // Where it may be, it is: whoever hangs up has been asked.
        let (asked, came) = tokio::join!(web.document(&url, true), async {
            listener.accept().await.map(drop).is_ok()
        });
        assert_eq!((asked.unwrap_err(), came), (Unfetched::NoAnswer, true));
    }
}
