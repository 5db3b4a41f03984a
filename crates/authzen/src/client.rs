//! A remote [`DecisionPoint`] over the AuthZEN HTTP API, with a time limit and bounded answers.

use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Certificate, Identity, Url};
use serde::Deserialize;
use serde_json::json;

use crate::{
    DecisionError, DecisionPoint, Evaluation, EvaluationRequest, EvaluationsRequest, SearchRequest,
    SearchResults,
};

/// Kept connections are used again for so long: servers close those on which nothing comes for a while (ours after ten
/// seconds), and a question into one that closes has no answer.
const IDLE: Duration = Duration::from_secs(5);

/// Where the decision point is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct HttpDecisionPointConfig {
    /// Base URL: `access/v1/evaluation` is appended.
    pub url: Url,
    /// For the whole exchange.
    pub timeout: Duration,
    /// Longer answers are refused. Bytes.
    pub max_answer: usize,
    /// Who we are to it, where it asks: the whole `Authorization` value, marked sensitive.
    pub authorization: Option<HeaderValue>,
    /// Whose certificates are believed. None given: those that the system believes.
    pub trusted: Vec<Certificate>,
    /// Our own certificate, where it asks for one.
    pub identity: Option<Identity>,
    /// Adds to each question what says to which trace it belongs.
    pub propagate: Option<fn(&mut HeaderMap)>,
}

/// Asks another process. Cheap to clone; connections are pooled.
#[derive(Debug, Clone)]
pub struct HttpDecisionPoint {
    client: reqwest::Client,
    evaluation: Url,
    evaluations: Url,
    search: Url,
    max_answer: usize,
    propagate: Option<fn(&mut HeaderMap)>,
}

#[derive(Deserialize)]
struct Answers {
    evaluations: Vec<Evaluation>,
}

impl HttpDecisionPointConfig {
    /// Two seconds and one mebibyte.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            timeout: Duration::from_secs(2),
            max_answer: 1 << 20,
            authorization: None,
            trusted: Vec::new(),
            identity: None,
            propagate: None,
        }
    }
}

impl HttpDecisionPoint {
    /// Opens nothing yet; fails where the URL cannot be a base or no HTTP client can be built.
    pub fn new(config: &HttpDecisionPointConfig) -> Result<Self, DecisionError> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &config.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let mut client = reqwest::Client::builder();
        if !config.trusted.is_empty() {
            client = client.tls_certs_only(config.trusted.iter().cloned());
        }
        if let Some(identity) = &config.identity {
            client = client.identity(identity.clone());
        }
        let client = client
            .default_headers(headers)
            .timeout(config.timeout)
            .connect_timeout(config.timeout)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| DecisionError::Internal {
                message: error.to_string(),
            })?;
        Ok(Self {
            client,
            evaluation: endpoint(&config.url, "evaluation")?,
            evaluations: endpoint(&config.url, "evaluations")?,
            search: endpoint(&config.url, "search/")?,
            max_answer: config.max_answer,
            propagate: config.propagate,
        })
    }

    async fn post(&self, url: &Url, body: Vec<u8>) -> Result<Vec<u8>, DecisionError> {
        let mut headers = HeaderMap::new();
        if let Some(propagate) = self.propagate {
            propagate(&mut headers);
        }
        let mut response = self
            .client
            .post(url.clone())
            .headers(headers)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await
            .map_err(transport)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if answer.len() + chunk.len() > self.max_answer {
                return Err(DecisionError::Internal {
                    message: "the answer is too long".into(),
                });
            }
            answer.extend_from_slice(&chunk);
        }
        match status {
            StatusCode::OK => Ok(answer),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                Err(DecisionError::Rejected {
                    message: format!("status {status}"),
                })
            }
            status => Err(DecisionError::Unavailable(Some(
                format!("status {status}").into(),
            ))),
        }
    }
}

#[async_trait]
impl DecisionPoint for HttpDecisionPoint {
    async fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, DecisionError> {
        let answer = self.post(&self.evaluation, encode(request)?).await?;
        decode(&answer)
    }

    async fn evaluate_many(
        &self,
        request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        // Only whole questions travel; broken entries are answered here, in their place.
        let whole: Vec<_> = request
            .entries
            .iter()
            .filter_map(|entry| entry.as_ref().ok())
            .collect();
        let mut remote = if whole.is_empty() {
            Vec::new()
        } else {
            let body = json!({
                "evaluations": whole,
                "options": { "evaluations_semantic": "execute_all" },
            });
            let answers: Answers = decode(&self.post(&self.evaluations, encode(&body)?).await?)?;
            if answers.evaluations.len() != whole.len() {
                return Err(DecisionError::Internal {
                    message: "the number of answers is not the number of questions".into(),
                });
            }
            answers.evaluations
        }
        .into_iter();
        let mut evaluations = Vec::with_capacity(request.entries.len());
        for entry in &request.entries {
            let evaluation = match entry {
                Ok(_) => remote.next().unwrap_or_else(Evaluation::deny),
                Err(error) => Evaluation::refused(&error.to_string()),
            };
            let decision = evaluation.decision;
            evaluations.push(evaluation);
            if request.semantic.stops_at(decision) {
                break;
            }
        }
        Ok(evaluations)
    }

    async fn search(&self, request: &SearchRequest) -> Result<SearchResults, DecisionError> {
        let url =
            self.search
                .join(request.kind.as_str())
                .map_err(|error| DecisionError::Internal {
                    message: error.to_string(),
                })?;
        let body = request.to_json().map_err(|error| DecisionError::Internal {
            message: error.to_string(),
        })?;
        decode(&self.post(&url, encode(&body)?).await?)
    }
}

fn endpoint(base: &Url, name: &str) -> Result<Url, DecisionError> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| DecisionError::Internal {
            message: "the url cannot be a base".into(),
        })?
        .pop_if_empty()
        .extend(["access", "v1"])
        .extend(name.split('/'));
    Ok(url)
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, DecisionError> {
    serde_json::to_vec(value).map_err(|error| DecisionError::Internal {
        message: error.to_string(),
    })
}

fn decode<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T, DecisionError> {
    serde_json::from_slice(answer).map_err(|error| DecisionError::Internal {
        message: error.to_string(),
    })
}

fn transport(error: reqwest::Error) -> DecisionError {
    if error.is_timeout() {
        DecisionError::Timeout
    } else {
        // The URL is configuration, and a query string could hold what a log must not.
        DecisionError::Unavailable(Some(Box::new(error.without_url())))
    }
}
