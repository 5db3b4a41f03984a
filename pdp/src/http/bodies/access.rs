//! AuthZEN's bodies, as the API's document describes them.
#![expect(dead_code, reason = "describes what `authzen` reads and writes")]

use serde_json::{Map, Value};
use utoipa::ToSchema;

type Object = Map<String, Value>;

/// Who asks for access.
#[derive(ToSchema)]
#[schema(as = Subject)]
pub(in crate::http) struct Subject {
    /// The entity type, or its `@authzen` name.
    #[schema(rename = "type", example = "user")]
    kind: String,
    #[schema(example = "alice")]
    id: String,
    /// Attributes that the schema declares; what it does not declare is left out.
    properties: Option<Object>,
}

/// What access is asked to.
#[derive(ToSchema)]
#[schema(as = Resource)]
pub(in crate::http) struct Resource {
    /// The entity type, or its `@authzen` name.
    #[schema(rename = "type", example = "document")]
    kind: String,
    #[schema(example = "d1")]
    id: String,
    properties: Option<Object>,
}

/// What is to be done.
#[derive(ToSchema)]
#[schema(as = Action)]
pub(in crate::http) struct Action {
    /// The action's name, or its `@authzen` name.
    #[schema(example = "read")]
    name: String,
    /// What the schema declares as the context's member `action`.
    properties: Option<Object>,
}

/// May this subject do this action on this resource in this context?
#[derive(ToSchema)]
#[schema(as = EvaluationRequest)]
pub(in crate::http) struct Question {
    subject: Subject,
    action: Action,
    resource: Resource,
    context: Option<Object>,
}

/// Many questions; what stands beside `evaluations` is each one's default.
#[derive(ToSchema)]
#[schema(as = EvaluationsRequest)]
pub(in crate::http) struct Questions {
    subject: Option<Subject>,
    action: Option<Action>,
    resource: Option<Resource>,
    context: Option<Object>,
    /// Absent or empty: the defaults are one question, and the answer is one evaluation.
    evaluations: Option<Vec<PartOfQuestion>>,
    options: Option<Options>,
}

/// One of many questions.
#[derive(ToSchema)]
#[schema(as = EvaluationsEntry)]
pub(in crate::http) struct PartOfQuestion {
    subject: Option<Subject>,
    action: Option<Action>,
    resource: Option<Resource>,
    context: Option<Object>,
}

/// How many questions are gone through.
#[derive(ToSchema)]
#[schema(as = EvaluationsOptions)]
pub(in crate::http) struct Options {
    evaluations_semantic: Option<Semantic>,
}

/// When to stop.
#[derive(ToSchema)]
#[schema(as = EvaluationsSemantic, rename_all = "snake_case")]
pub(in crate::http) enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// An answer.
#[derive(ToSchema)]
#[schema(as = Evaluation)]
pub(in crate::http) struct Answer {
    decision: bool,
    context: Option<AnswerContext>,
}

/// Many answers, in the order of the questions.
#[derive(ToSchema)]
#[schema(as = Evaluations)]
pub(in crate::http) struct Answers {
    evaluations: Vec<Answer>,
}

/// What is said beside a decision.
#[derive(ToSchema)]
#[schema(as = EvaluationContext)]
pub(in crate::http) struct AnswerContext {
    /// Names the record in the decision log.
    id: Option<String>,
    /// The policies that determine the decision.
    reasons: Option<Vec<Reason>>,
    /// What must be done. Whoever does not understand one must deny.
    obligations: Option<Vec<Obligation>>,
    /// What may be done.
    advice: Option<Vec<Value>>,
    /// Why it could not be permitted, where no policy says no.
    error: Option<AnswerError>,
    snapshot: Option<Snapshot>,
    cache: Option<Cache>,
}

/// A determining policy.
#[derive(ToSchema)]
#[schema(as = Reason)]
pub(in crate::http) struct Reason {
    /// Its `@id`.
    policy: String,
    /// Its `@reason`.
    reason: Option<String>,
}

/// What must be done.
#[derive(ToSchema)]
#[schema(as = Obligation)]
pub(in crate::http) struct Obligation {
    id: String,
    #[schema(rename = "type", example = "mask")]
    kind: String,
    properties: Option<Object>,
}

/// Why a question could not be permitted.
#[derive(ToSchema)]
#[schema(as = EvaluationError)]
pub(in crate::http) struct AnswerError {
    status: u16,
    message: String,
    /// `attributes_unavailable`, where an attribute provider fails.
    #[schema(rename = "type")]
    kind: Option<String>,
    /// The provider.
    provider: Option<String>,
}

/// What decided.
#[derive(ToSchema)]
#[schema(as = Snapshot)]
pub(in crate::http) struct Snapshot {
    /// Of schema, policies and the folder's entities: equal versions decide equally.
    version: String,
    /// Counts the swaps of one process.
    epoch: u64,
    /// Counts the changes of entities.
    revision: u64,
}

/// How an answer may be remembered.
#[derive(ToSchema)]
#[schema(as = CacheAdvice)]
pub(in crate::http) struct Cache {
    /// Absent: the answer can depend on everything in the question.
    vary: Option<Vary>,
    /// Seconds.
    max_age: Option<u64>,
}

/// What an answer can depend on, beside types, ids and the action's name.
#[derive(ToSchema)]
#[schema(as = Vary)]
pub(in crate::http) struct Vary {
    subject: Vec<String>,
    action: Vec<String>,
    resource: Vec<String>,
    context: Vec<String>,
}

/// A search: the sought side has no id (for a search of actions, `action` is left out). The page
/// after the first is asked for by the token alone, or by the same question with it.
#[derive(ToSchema)]
#[schema(as = SearchRequest)]
pub(in crate::http) struct Search {
    subject: Option<Sought>,
    action: Option<Action>,
    resource: Option<Sought>,
    context: Option<Object>,
    page: Option<AskedPage>,
}

/// A side of a search.
#[derive(ToSchema)]
#[schema(as = SearchEntity)]
pub(in crate::http) struct Sought {
    #[schema(rename = "type")]
    kind: String,
    /// Absent for what is sought.
    id: Option<String>,
    properties: Option<Object>,
}

/// Which page.
#[derive(ToSchema)]
#[schema(as = SearchRequestPage)]
pub(in crate::http) struct AskedPage {
    /// As the page before gave it.
    token: Option<String>,
    /// The most results.
    #[schema(minimum = 1)]
    limit: Option<usize>,
}

/// A page of results.
#[derive(ToSchema)]
#[schema(as = SearchResults)]
pub(in crate::http) struct Found {
    page: GivenPage,
    results: Vec<Object>,
    /// `snapshot`: what was searched, as an evaluation's answer names it.
    context: Object,
}

/// Where the page ends.
#[derive(ToSchema)]
#[schema(as = SearchPage)]
pub(in crate::http) struct GivenPage {
    /// Empty on the last page.
    next_token: String,
    /// Of results on this page.
    count: Option<usize>,
}

/// Who this decision point is, and what it serves.
#[derive(ToSchema)]
#[schema(as = Metadata)]
pub(in crate::http) struct Metadata {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    search_action_endpoint: String,
    search_resource_endpoint: String,
    /// The same values and `iss`, as a JSON Web Signature, where a key is configured.
    signed_metadata: Option<String>,
}
