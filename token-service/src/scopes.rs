//! Which scopes may be granted: one question for each scope token, asked in one batch of the
//! decision point. Asked again whenever a grant is used.

use authzen::{
    Action, DecisionError, DecisionPoint, Evaluation, EvaluationRequest, EvaluationsRequest,
    Properties, Resource, Semantic,
};
use oauth::{Scope, SubjectFacts};
use serde_json::Value;

use crate::config::GrantType;

/// When the question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before a person is asked to approve.
    Consent,
    Issue,
    Refresh,
    /// An access token is swapped for the JWT of one resource.
    Swap,
}

/// For whom and for what. The scope asked about is `facts.scope`.
#[derive(Debug)]
pub(crate) struct ScopeQuestion<'a> {
    pub(crate) facts: &'a SubjectFacts,
    pub(crate) grant_type: GrantType,
    pub(crate) moment: Moment,
    /// The resources in question; only a single one is told.
    pub(crate) resources: &'a [String],
}

impl Moment {
    fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Issue => "issue",
            Self::Refresh => "refresh",
            Self::Swap => "swap",
        }
    }
}

/// The part of the scope that is permitted. An error is not an empty scope: nothing is known.
pub(crate) async fn permitted(
    decisions: &dyn DecisionPoint,
    question: &ScopeQuestion<'_>,
) -> Result<Scope, DecisionError> {
    let asked: Vec<&str> = question.facts.scope.iter().collect();
    if asked.is_empty() {
        return Ok(Scope::empty());
    }
    let request = EvaluationsRequest {
        entries: asked
            .iter()
            .map(|token| Ok(question.about(token)))
            .collect(),
        semantic: Semantic::ExecuteAll,
    };
    let answers = decisions.evaluate_many(&request).await?;
    if answers.len() != asked.len() {
        return Err(DecisionError::Internal {
            message: "the number of answers is not the number of questions".into(),
        });
    }
    let permitted: Vec<&str> = asked
        .into_iter()
        .zip(&answers)
        .filter(|(_, answer)| grants(answer))
        .map(|(token, _)| token)
        .collect();
    Ok(question
        .facts
        .scope
        .filter(|token| permitted.contains(&token)))
}

/// An obligation on a grant is nothing that this service knows how to fulfil, and a permit whose
/// obligations are not fulfilled is a deny.
pub(crate) fn grants(answer: &Evaluation) -> bool {
    answer.decision.is_permit() && answer.context.obligations.is_empty()
}

impl ScopeQuestion<'_> {
    fn about(&self, token: &str) -> EvaluationRequest {
        let mut context = Properties::new();
        let mut put = |name: &str, value: &str| context.insert(name.to_owned(), value.into());
        put("client_id", &self.facts.client_id);
        put("grant_type", self.grant_type.as_str());
        put("moment", self.moment.as_str());
        if let Some(actor) = &self.facts.act {
            put("actor", &actor.sub);
        }
        if let Some(id) = &self.facts.api_key {
            put("api_key", id);
        }
        if let [resource] = self.resources {
            put("resource", resource);
        }
        EvaluationRequest {
            subject: subject(self.facts),
            action: Action::new("grant_scope"),
            resource: Resource::new("Scope", token),
            context,
        }
    }
}

/// The subject as a gateway would describe it from the same facts.
pub(crate) fn subject(facts: &SubjectFacts) -> authzen::Subject {
    let mut subject = authzen::Subject::new(facts.kind.as_str(), &facts.sub);
    let properties = &mut subject.properties;
    properties.clone_from(&facts.attributes);
    // No attribute can stand in for somebody who acts, or does not, nor for what was shown.
    properties.remove("actor");
    properties.remove("api_key");
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    put("client_id", facts.client_id.as_str().into());
    put("scope", facts.scope.iter().map(Value::from).collect());
    if let Some(actor) = &facts.act {
        put("actor", actor.sub.as_str().into());
    }
    if let Some(id) = &facts.api_key {
        put("api_key", id.as_str().into());
    }
    if let Some(username) = &facts.username {
        put("username", username.as_str().into());
    }
    if let Some(acr) = &facts.acr {
        put("acr", acr.as_str().into());
    }
    if !facts.amr.is_empty() {
        put("amr", facts.amr.clone().into());
    }
    if let Some(auth_time) = facts.auth_time {
        put("auth_time", auth_time.into());
    }
    subject
}
