//! Back-channel logout (OpenID Connect Back-Channel Logout 1.0): clients are told by a signed token
//! that a login has ended. A row of attempts, beside whatever else is done; what it does not come to
//! waits in the store (module `farewells`).

use std::sync::Arc;
use std::time::Duration;

use service_kit::{Tasks, outbound};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use crate::audit::audit;
use crate::error::Trouble;
use crate::public_web::PublicAddresses;
use crate::registry::Client;

/// Tells clients.
#[derive(Debug)]
pub(crate) struct Backchannel {
    http: reqwest::Client,
    /// For clients that nobody has looked at: it finds public addresses alone.
    http_to_strangers: reqwest::Client,
    tasks: Tasks,
    /// So many are told at once.
    places: Arc<Semaphore>,
}

/// One for each attempt. Not the same again and again: section 2.6 lets a client refuse what it has seen,
/// and it may have seen what it gave no good answer to.
pub(crate) type LogoutTokens = [String; WAITS.len()];

/// A client that does not answer in this time is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// A token is not sent any more after so long: it would be refused for its age.
const GOOD: Duration = Duration::from_secs(110);

/// Before each attempt.
const WAITS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
];

const PLACES: usize = 64;

impl Backchannel {
    pub(crate) fn new(tasks: Tasks) -> Result<Self, Trouble> {
        let http = || outbound::client(PATIENCE);
        let built = |http: reqwest::ClientBuilder| http.build().map_err(Trouble::no_http_client);
        Ok(Self {
            http: built(http())?,
            http_to_strangers: built(http().dns_resolver(Arc::new(PublicAddresses)))?,
            tasks,
            places: Arc::new(Semaphore::new(PLACES)),
        })
    }

    /// Tells a client, and does not wait for it; then, once it has heard, `heard`.
    pub(crate) fn say(
        &self,
        client: &Client,
        to: &Url,
        tokens: LogoutTokens,
        heard: impl Future<Output = ()> + Send + 'static,
    ) {
        let http = if client.provenance.is_trusted_with_addresses() {
            &self.http
        } else {
            &self.http_to_strangers
        };
        let (http, to, client) = (http.clone(), to.clone(), client.id.clone());
        let (places, draining) = (Arc::clone(&self.places), self.tasks.draining());
        self.tasks.spawn(async move {
            let begun = Instant::now();
            for (wait, token) in WAITS.into_iter().zip(tokens) {
                let waited = draining.run_until_cancelled(tokio::time::sleep(wait)).await;
                let Ok(_place) = places.acquire().await else {
                    return;
                };
                if begun.elapsed() > GOOD {
                    return audit!(
                        "logout_not_told",
                        client = client,
                        reason = "it took too long"
                    );
                }
                match said(&http, &to, format!("logout_token={token}")).await {
                    Ok(()) => {
                        audit!("logout_told", client = client);
                        return heard.await;
                    }
                    Err(reason) => {
                        audit!("logout_not_told", client = client, reason = reason);
                    }
                }
                // At shutdown there is one attempt more, and no waiting.
                if waited.is_none() {
                    return;
                }
            }
        });
    }
}

/// Whether a client has taken the token (section 2.8).
async fn said(http: &reqwest::Client, to: &Url, body: String) -> Result<(), String> {
    let sent = http
        .post(to.clone())
        .header(
            http::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        )
        .body(body)
        .send()
        .await
        .map_err(|error| error.without_url().to_string())?;
    match sent.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answers {status}")),
    }
}
