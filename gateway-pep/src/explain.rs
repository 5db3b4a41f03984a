//! Why a request would be answered as it would be: what is asked, what is said of it, and whom to ask.

mod text;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use authzen::{DecisionPoint, Evaluation, EvaluationRequest, Subject};
use serde::{Deserialize, Serialize};
use service_kit::Secret;
use tokio::sync::{mpsc, oneshot};

/// A request that nobody has sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    pub method: String,
    /// `https://host/path?query`. Not normalised: a client might not do so either.
    pub url: String,
    /// What would stand behind `Authorization: Bearer`.
    #[serde(default)]
    pub token: Option<Secret>,
    /// Other headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Where the client would be.
    #[serde(default = "loopback")]
    pub client_ip: IpAddr,
}

/// The steps of a request, as far as it came. Holds no token.
#[derive(Debug, Default, Serialize)]
pub struct Explanation {
    /// The one view of the request, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<ExplainedRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<ExplainedRoute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<ExplainedCaller>,
    /// What the decision point is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<EvaluationRequest>,
    /// What the gateway goes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<ExplainedDecision>,
    /// What the decision point says now, asked for this explanation, with its reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_point: Option<Evaluation>,
    /// Why it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_point_error: Option<String>,
    pub outcome: ExplainedOutcome,
}

/// See [`Explanation::request`].
#[derive(Debug, Serialize)]
pub struct ExplainedRequest {
    pub method: String,
    pub host: String,
    /// Canonical: what is matched, asked about and forwarded.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// The route that matches.
#[derive(Debug, Serialize)]
pub struct ExplainedRoute {
    #[serde(rename = "match")]
    pub template: String,
    /// What else it wants of a request, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    pub upstream: String,
    /// Where it is one of several: all of them, with their weights. The outcome says which one this request gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub upstreams: BTreeMap<String, u32>,
    /// Whom the JWT is cut for.
    pub resource: String,
    pub is_public: bool,
    /// Where a browser without a session logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

/// Who calls.
#[derive(Debug, Serialize)]
pub struct ExplainedCaller {
    /// Who vouches for them, as configuration calls them.
    pub issuer: String,
    pub subject: Subject,
    /// Seconds since 1970 at which the token ends.
    pub exp: u64,
    /// Where that was found: `l1`, `l2`, `remote`.
    pub source: &'static str,
}

/// What the gateway goes by.
#[derive(Debug, Serialize)]
pub struct ExplainedDecision {
    pub decision: bool,
    /// Names the decision-log record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<String>,
    /// `l1`, `l2`, `remote`; `stale` where the decision point is away.
    pub source: &'static str,
}

/// What would come of it.
#[derive(Debug, Default, Serialize)]
pub struct ExplainedOutcome {
    pub is_forwarded: bool,
    /// To the client, where it is not forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// As logs and metrics name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

/// Why there is no explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gateway is stopping")]
pub struct Stopping;

/// Explains requests to a gateway that runs, by what it remembers. Nothing is forwarded, counted as a
/// request or in the access log; what is asked is remembered, and logged where it is decided, as always.
#[derive(Debug, Clone)]
pub struct Explainer {
    pub(crate) worker: mpsc::Sender<Job>,
    pub(crate) decisions: Arc<dyn DecisionPoint>,
}

/// For a worker.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) asked: ExplainRequest,
    pub(crate) answer: oneshot::Sender<Explanation>,
}

impl Explainer {
    /// Explains one request.
    pub async fn explain(&self, asked: ExplainRequest) -> Result<Explanation, Stopping> {
        let (answer, answered) = oneshot::channel();
        let job = Job { asked, answer };
        self.worker.send(job).await.map_err(|_| Stopping)?;
        let mut explanation = answered.await.map_err(|_| Stopping)?;
        // What is remembered does not say which policies determined it.
        if let Some(question) = &explanation.question {
            match self.decisions.evaluate(question).await {
                Ok(evaluation) => explanation.decision_point = Some(evaluation),
                Err(error) => explanation.decision_point_error = Some(error.to_string()),
            }
        }
        Ok(explanation)
    }
}

fn loopback() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}
