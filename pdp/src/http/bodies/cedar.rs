//! The Cedar API's bodies, as the API's document describes them.
#![expect(
    dead_code,
    reason = "describes what `native` and others read and write"
)]

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::access::{AnswerError, Cache, Obligation, Snapshot};

type Object = Map<String, Value>;

/// `{"type": …, "id": …}`, or the same as Cedar writes it: `User::"alice"`.
#[derive(ToSchema)]
#[schema(as = CedarEntityUid)]
pub(in crate::http) struct Uid {
    #[schema(rename = "type", example = "User")]
    kind: String,
    /// Left out where the side is open.
    #[schema(example = "alice")]
    id: Option<String>,
}

/// An entity in Cedar's JSON format.
#[derive(ToSchema)]
#[schema(as = CedarEntity)]
pub(in crate::http) struct Entity {
    uid: Uid,
    attrs: Object,
    parents: Vec<Uid>,
    tags: Option<Object>,
}

/// A question in Cedar's words.
#[derive(ToSchema)]
#[schema(as = CedarRequest)]
pub(in crate::http) struct Asked {
    principal: Uid,
    action: Uid,
    resource: Uid,
    /// In Cedar's JSON format.
    context: Option<Object>,
    /// Where `pdp.inline_entities` allows them.
    entities: Option<Vec<Entity>>,
}

/// Many questions in Cedar's words; what stands beside `requests` is each one's default.
#[derive(ToSchema)]
#[schema(as = CedarBatch)]
pub(in crate::http) struct AskedBatch {
    principal: Option<Uid>,
    action: Option<Uid>,
    resource: Option<Uid>,
    context: Option<Object>,
    entities: Option<Vec<Entity>>,
    requests: Vec<Object>,
}

/// An answer in Cedar's words.
#[derive(ToSchema)]
#[schema(as = CedarResponse)]
pub(in crate::http) struct Said {
    decision: Effect,
    /// The `@id`s of the policies that determine the decision.
    determining: Vec<String>,
    errors: Vec<PolicyError>,
    /// Why it could not be permitted, where no policy says no.
    error: Option<AnswerError>,
    obligations: Option<Vec<Obligation>>,
    advice: Option<Vec<Value>>,
    /// Names the record in the decision log.
    id: Option<String>,
    snapshot: Option<Snapshot>,
    /// How the answer may be remembered. `vary` names members of `context`; principal, action,
    /// resource and `entities` always count, and where entities came along, so does everything.
    cache: Option<Cache>,
}

/// Many answers, in the order of the questions.
#[derive(ToSchema)]
#[schema(as = CedarResponses)]
pub(in crate::http) struct SaidBatch {
    responses: Vec<Said>,
}

/// A decision in Cedar's words.
#[derive(ToSchema)]
#[schema(as = CedarDecision)]
pub(in crate::http) enum Effect {
    Allow,
    Deny,
}

/// A policy that could not be evaluated.
#[derive(ToSchema)]
#[schema(as = CedarPolicyError)]
pub(in crate::http) struct PolicyError {
    policy: Option<String>,
    message: String,
}

/// What policies leave open where one side is a type.
#[derive(ToSchema)]
#[schema(as = CedarResiduals)]
pub(in crate::http) struct LeftOpen {
    /// Absent where it depends on the open side.
    decision: Option<Effect>,
    residuals: Vec<Residual>,
    snapshot: Snapshot,
    /// For how long it holds, where that is not as long as the snapshot decides.
    cache: Option<Cache>,
}

/// What is left of one policy.
#[derive(ToSchema)]
#[schema(as = CedarResidual)]
pub(in crate::http) struct Residual {
    policy: String,
    /// `permit` or `forbid`.
    effect: String,
    /// As Cedar writes it.
    residual: String,
    /// In Cedar's JSON format.
    json: Option<Value>,
}

/// A question one side of which is a type, for rows of a database.
#[derive(ToSchema)]
#[schema(as = FilterRequest)]
pub(in crate::http) struct AskedFilter {
    principal: Uid,
    action: Uid,
    resource: Uid,
    context: Object,
    entities: Option<Vec<Entity>>,
    dialect: Dialect,
    /// What the query calls the table; `t` where it is left out.
    alias: Option<String>,
}

/// Whose SQL.
#[derive(ToSchema)]
#[schema(as = FilterDialect, rename_all = "lowercase")]
pub(in crate::http) enum Dialect {
    Postgresql,
    Sqlite,
}

/// Which rows are permitted.
#[derive(ToSchema)]
#[schema(as = Filter)]
pub(in crate::http) struct Rows {
    decision: RowsDecision,
    /// A condition for `WHERE`.
    #[schema(rename = "where")]
    condition: String,
    /// Its parameters, in their order.
    binds: Vec<Value>,
    snapshot: Snapshot,
    /// For how long it holds, where that is not as long as the snapshot decides.
    cache: Option<Cache>,
}

/// All rows, none, or those that fulfil the condition.
#[derive(ToSchema)]
#[schema(as = FilterDecision, rename_all = "lowercase")]
pub(in crate::http) enum RowsDecision {
    Allow,
    Deny,
    Conditional,
}

/// Why an answer is what it is. The short form has `outcome` and `summary` alone.
#[derive(ToSchema)]
#[schema(as = Explained)]
pub(in crate::http) struct Explained {
    explanation: Explanation,
    snapshot: Option<Snapshot>,
}

/// Why an answer is what it is.
#[derive(ToSchema)]
#[schema(as = Explanation)]
pub(in crate::http) struct Explanation {
    outcome: Outcome,
    /// One sentence for users.
    summary: String,
    /// Policies whose scope matched.
    policies: Option<Vec<Object>>,
    /// The permits that came nearest.
    nearest: Option<Vec<Object>>,
    /// How many policies are not shown.
    omitted: Option<usize>,
}

/// What was decided, and in what way.
#[derive(ToSchema)]
#[schema(as = ExplainedOutcome, rename_all = "snake_case")]
pub(in crate::http) enum Outcome {
    Permitted,
    Forbidden,
    NotPermitted,
    Unevaluable,
    Unavailable,
    Unknown,
}

/// A change of entities: made whole or not at all.
#[derive(ToSchema)]
#[schema(as = EntityChange)]
pub(in crate::http) struct Change {
    upsert: Option<Vec<Entity>>,
    delete: Option<Vec<Uid>>,
}

/// A change that has been made.
#[derive(ToSchema)]
#[schema(as = EntityChanged)]
pub(in crate::http) struct Changed {
    /// Whoever demands at least this revision is answered by the change.
    revision: u64,
    upserted: usize,
    /// Such as were there: to delete what is not there is no change, and makes no revision.
    deleted: usize,
    stored: Stored,
}

/// What there is after a change, what the folder states and the actions included.
#[derive(ToSchema)]
#[schema(as = EntitiesStored)]
pub(in crate::http) struct Stored {
    entities: usize,
    /// About how many bytes of memory they take.
    bytes: usize,
}

/// A page of entities.
#[derive(ToSchema)]
#[schema(as = EntityPage)]
pub(in crate::http) struct Entities {
    /// Where the next page begins; absent on the last one.
    after: Option<String>,
    revision: u64,
    entities: Vec<Entity>,
}

/// Everything that decides.
#[derive(ToSchema)]
#[schema(as = SnapshotDocument)]
pub(in crate::http) struct Document {
    format: u32,
    version: String,
    revision: u64,
    request_properties: Object,
    clock: Option<String>,
    /// The policy folder.
    files: Vec<File>,
    /// Entities that were written.
    written: Vec<Entity>,
}

/// A file of the policy folder.
#[derive(ToSchema)]
#[schema(as = SnapshotFile)]
pub(in crate::http) struct File {
    name: String,
    text: String,
}

/// For each kind of question, what its answer can depend on.
#[derive(ToSchema)]
#[schema(as = CacheContracts)]
pub(in crate::http) struct Contracts {
    snapshot: Snapshot,
    contracts: Vec<Contract>,
}

/// For one kind of question.
#[derive(ToSchema)]
#[schema(as = CacheContract)]
pub(in crate::http) struct Contract {
    subject_type: String,
    action: String,
    resource_type: String,
    vary: super::access::Vary,
}
