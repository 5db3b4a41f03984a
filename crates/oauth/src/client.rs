//! A remote [`TokenIntrospector`]: RFC 7662 introspection that answers facts and JWT at once.
//!
//! `POST {url}` as `application/x-www-form-urlencoded` with `token` and `resource`, HTTP Basic
//! with the gateway's own credential, `Accept:` [`crate::SWAP_MEDIA_TYPE`]. The answer is
//! [`SwapAnswer`]; anything but 200 with `active` is an error, never a guess.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Certificate, Identity, Url};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    ActiveToken, Confirmation, Introspection, IntrospectionError, OpaqueToken, Origin, PhantomJwt,
    ResourceId, SWAP_MEDIA_TYPE, SubjectFacts, TokenIntrospector,
};

/// Where the token service is, and who we are to it.
#[derive(Clone)]
pub struct HttpTokenIntrospectorConfig {
    /// The introspection endpoint itself.
    pub url: Url,
    pub client_id: String,
    /// None: it knows us by our certificate (RFC 8705).
    pub client_secret: Option<Zeroizing<String>>,
    /// The authorities whose certificates are believed. Empty: those that the system believes.
    pub trusted: Vec<Certificate>,
    pub identity: Option<Identity>,
    /// For the whole exchange.
    pub timeout: Duration,
    /// Adds to each question what says to which trace it belongs.
    pub propagate: Option<fn(&mut HeaderMap)>,
}

/// Asks another process. Cheap to clone; connections are pooled.
#[derive(Debug, Clone)]
pub struct HttpTokenIntrospector {
    client: reqwest::Client,
    url: Url,
    /// In each question, where no secret says who asks.
    named: String,
    propagate: Option<fn(&mut HeaderMap)>,
}

/// Body of the swap answer: `{"active":false}`, or everything.
#[derive(Debug, Serialize, Deserialize)]
pub struct SwapAnswer {
    pub active: bool,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub swapped: Option<Swapped>,
}

/// The active half of a [`SwapAnswer`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Swapped {
    pub facts: SubjectFacts,
    pub phantom_token: String,
    pub exp: u64,
    pub token_ref: String,
    pub grant: String,
    #[serde(default, rename = "cnf", skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
}

/// Kept connections are used again for so long: servers close those on which nothing comes for a while (ours after ten
/// seconds), and a question into one that closes has no answer.
const IDLE: Duration = Duration::from_secs(5);

/// Longer answers are refused. Bytes.
const MAX_ANSWER: usize = 64 << 10;

impl std::fmt::Debug for HttpTokenIntrospectorConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HttpTokenIntrospectorConfig")
            .field("url", &self.url.as_str())
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl HttpTokenIntrospector {
    /// Opens nothing yet; fails where no HTTP client can be built.
    pub fn new(config: &HttpTokenIntrospectorConfig) -> Result<Self, IntrospectionError> {
        let mut headers = HeaderMap::new();
        let mut named = String::new();
        match &config.client_secret {
            Some(secret) => {
                let basic = basic_authorization(&config.client_id, secret);
                let basic = basic.ok_or_else(|| IntrospectionError::Internal {
                    message: "the credential cannot be sent".into(),
                })?;
                headers.insert(header::AUTHORIZATION, basic);
            }
            None => named = format!("&client_id={}", form_encode(&config.client_id)),
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static(SWAP_MEDIA_TYPE));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let mut client = reqwest::Client::builder();
        if !config.trusted.is_empty() {
            client = client.tls_certs_only(config.trusted.iter().cloned());
        }
        if let Some(identity) = &config.identity {
            client = client.identity(identity.clone());
        }
        let client = client
            .timeout(config.timeout)
            .connect_timeout(config.timeout)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .default_headers(headers)
            .build()
            .map_err(|error| IntrospectionError::Internal {
                message: error.to_string(),
            })?;
        Ok(Self {
            client,
            url: config.url.clone(),
            named,
            propagate: config.propagate,
        })
    }
}

#[async_trait]
impl TokenIntrospector for HttpTokenIntrospector {
    async fn introspect(
        &self,
        token: &OpaqueToken,
        resource: &ResourceId,
    ) -> Result<Introspection, IntrospectionError> {
        let body = format!(
            "token={}&resource={}{}",
            token.reveal(),
            form_encode(resource.as_str()),
            self.named,
        );
        let mut headers = HeaderMap::new();
        if let Some(propagate) = self.propagate {
            propagate(&mut headers);
        }
        let mut response = self
            .client
            .post(self.url.clone())
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(transport)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                return Err(IntrospectionError::Rejected {
                    message: format!("status {status}"),
                });
            }
            status => {
                return Err(IntrospectionError::Unavailable(Some(
                    format!("status {status}").into(),
                )));
            }
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(IntrospectionError::Internal {
                    message: "the answer is too long".into(),
                });
            }
            answer.extend_from_slice(&chunk);
        }
        let answer: SwapAnswer = serde_json::from_slice(&answer)
            // The error's text could quote the answer, which holds a JWT: keep only the place.
            .map_err(|error| IntrospectionError::Internal {
                message: format!("not a swap answer, at column {}", error.column()),
            })?;
        answer.into_introspection()
    }
}

impl SwapAnswer {
    /// The answer for a token that is not active, whatever the cause.
    pub fn inactive() -> Self {
        Self {
            active: false,
            swapped: None,
        }
    }

    /// The answer for a live token.
    pub fn active(token: &ActiveToken) -> Self {
        Self {
            active: true,
            swapped: Some(Swapped {
                facts: token.facts.clone(),
                phantom_token: token.jwt.reveal().to_owned(),
                exp: token.exp,
                token_ref: token.token_ref.clone(),
                grant: token.grant.clone(),
                confirmation: token.confirmation.clone(),
                origins: token.origins.clone(),
            }),
        }
    }

    /// As the gateway understands it.
    pub fn into_introspection(self) -> Result<Introspection, IntrospectionError> {
        match (self.active, self.swapped) {
            (false, _) => Ok(Introspection::Inactive),
            (true, Some(swapped)) => Ok(Introspection::Active(Arc::new(ActiveToken {
                facts: swapped.facts,
                jwt: PhantomJwt::new(swapped.phantom_token),
                exp: swapped.exp,
                token_ref: swapped.token_ref,
                grant: swapped.grant,
                confirmation: swapped.confirmation,
                origins: swapped.origins,
            }))),
            (true, None) => Err(IntrospectionError::Internal {
                message: "active, but without facts".into(),
            }),
        }
    }
}

/// `Authorization: Basic` of a client, both halves form-encoded (RFC 6749 section 2.3.1). None: it cannot stand
/// in a header.
pub fn basic_authorization(client_id: &str, client_secret: &str) -> Option<HeaderValue> {
    let (id, secret) = (form_encode(client_id), form_encode(client_secret));
    let pair = Zeroizing::new(format!("{id}:{}", *Zeroizing::new(secret)));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
    let mut authorization = HeaderValue::try_from(&*text).ok()?;
    authorization.set_sensitive(true);
    Some(authorization)
}

fn form_encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn transport(error: reqwest::Error) -> IntrospectionError {
    if error.is_timeout() {
        IntrospectionError::Timeout
    } else {
        IntrospectionError::Unavailable(Some(Box::new(error.without_url())))
    }
}
