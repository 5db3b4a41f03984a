//! Posts what others are told to where configuration says, and follows nothing from there.

use std::time::Duration;

use http::header;
use service_kit::{Secret, outbound};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::error::Trouble;

/// Posts, so many at once.
#[derive(Debug)]
pub(crate) struct Push {
    http: reqwest::Client,
    places: Semaphore,
}

/// One message.
pub(crate) struct Message<'a> {
    pub(crate) to: &'a Url,
    pub(crate) content_type: &'static str,
    /// Sent as a bearer token.
    pub(crate) secret: Option<&'a Secret>,
    pub(crate) body: String,
}

/// Whoever does not answer in this time has not answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

const PLACES: usize = 64;

impl Push {
    pub(crate) fn new() -> Result<Self, Trouble> {
        let http = outbound::client(PATIENCE).build();
        Ok(Self {
            http: http.map_err(Trouble::no_http_client)?,
            places: Semaphore::new(PLACES),
        })
    }

    /// Waits until there is room for one more.
    pub(crate) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    pub(crate) async fn send(
        &self,
        message: Message<'_>,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let request = self
            .http
            .post(message.to.clone())
            .header(header::CONTENT_TYPE, message.content_type)
            .header(header::ACCEPT, "application/json")
            .body(message.body);
        let request = match message.secret {
            Some(secret) => request.bearer_auth(secret.reveal()),
            None => request,
        };
        request.send().await.map_err(reqwest::Error::without_url)
    }
}
