//! AuthZEN words: what is asked of a Policy Decision Point, what it answers, and the
//! [`DecisionPoint`] boundary that every implementation (in process, over HTTP, cached) shares.
//!
//! Implements the shapes of the OpenID AuthZEN Authorization API 1.0. Never decides anything
//! and never knows who implements the boundary.

mod asked;
mod batch;
mod cache_advice;
mod client;
mod condition;
mod decision_point;
mod evaluation;
mod request;
mod search;
mod words;

pub use asked::{Asked, AskedAction, AskedEntity, Lent};
pub use batch::{Batch, BatchBody, EvaluationsRequest, Semantic};
pub use cache_advice::{CacheAdvice, Vary};
pub use client::{HttpDecisionPoint, HttpDecisionPointConfig};
pub use condition::{Condition, Filter, Kind};
pub use decision_point::{DecisionError, DecisionPoint};
pub use evaluation::{
    Decision, DecisionContext, Evaluation, Obligation, PolicyEvent, Reason, SnapshotVersion,
};
pub use request::{EvaluationRequest, RequestError};
pub use search::{
    Found, OfType, Page, SearchKind, SearchQuestion, SearchRequest, SearchResult, SearchResults,
    Wanted,
};
pub use strict_json::Properties;
pub use words::{Action, Resource, Subject};
