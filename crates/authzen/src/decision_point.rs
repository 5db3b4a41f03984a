//! The boundary: whoever can answer "may this subject do this?".

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{
    Asked, Evaluation, EvaluationRequest, EvaluationsRequest, SearchRequest, SearchResults,
};

/// Answers authorization questions. Implemented by the PDP in process, by
/// [`crate::HttpDecisionPoint`], and by caches around either.
///
/// A denial is a value. An error means that the answer is not known, and whoever enforces must
/// refuse.
#[async_trait]
pub trait DecisionPoint: Send + Sync + Debug {
    /// Answers one question.
    async fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, DecisionError>;

    /// The same, where nobody is waited for: no task, no timer and no copy of the question are needed for it.
    /// None: [`DecisionPoint::evaluate`] answers.
    fn evaluate_now(&self, _asked: &Asked<'_>) -> Option<Result<Evaluation, DecisionError>> {
        None
    }

    /// Answers many in request order, ending early where the semantic says so. An entry that is
    /// itself an error is answered with a deny and `context.error`.
    async fn evaluate_many(
        &self,
        request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError>;

    /// One page of what would be permitted. Every result, evaluated, is permitted by the same
    /// snapshot. A page may hold less than its limit, or nothing, and still have a successor.
    async fn search(&self, request: &SearchRequest) -> Result<SearchResults, DecisionError>;
}

/// Why there is no answer. Deliberately exhaustive: a new cause must be handled by everyone
/// who enforces.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// Not reachable, overloaded or shutting down; asking again may help.
    #[error("the decision point is not available")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// No answer within the time allowed.
    #[error("the decision point did not answer in time")]
    Timeout,
    /// The question was not accepted (a 400, or our credentials were refused).
    #[error("the decision point refused the question: {message}")]
    Rejected { message: String },
    /// It answered, but not with anything that can be understood as an answer.
    #[error("the decision point gave no usable answer: {message}")]
    Internal { message: String },
}

impl DecisionError {
    /// Whether asking again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Timeout => true,
            Self::Rejected { .. } | Self::Internal { .. } => false,
        }
    }
}
