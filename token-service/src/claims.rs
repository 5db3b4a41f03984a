//! Which claims a resource may be told: one question for each that its configuration names, asked in one
//! batch of the decision point, whenever a token is swapped for the resource's JWT.

use authzen::{Action, DecisionError, DecisionPoint, EvaluationRequest, EvaluationsRequest};
use authzen::{Properties, Semantic};
use oauth::SubjectFacts;

use crate::registry::Resource;
use crate::scopes;

/// The names that may be told; all that are configured, where the resource leaves it to configuration
/// alone. An error is not an empty list: nothing is known.
pub(crate) async fn permitted(
    decisions: &dyn DecisionPoint,
    facts: &SubjectFacts,
    resource: &Resource,
) -> Result<Vec<String>, DecisionError> {
    let names = &resource.claims;
    if names.is_empty() || !resource.claims_by_policy {
        return Ok(names.clone());
    }
    let request = EvaluationsRequest {
        entries: names
            .iter()
            .map(|name| Ok(question(facts, resource, name)))
            .collect(),
        semantic: Semantic::ExecuteAll,
    };
    let answers = decisions.evaluate_many(&request).await?;
    if answers.len() != names.len() {
        return Err(DecisionError::Internal {
            message: "the number of answers is not the number of questions".into(),
        });
    }
    let asked = names.iter().zip(&answers);
    let told = asked.filter(|(_, answer)| scopes::grants(answer));
    Ok(told.map(|(name, _)| name.clone()).collect())
}

fn question(facts: &SubjectFacts, resource: &Resource, name: &str) -> EvaluationRequest {
    let mut context = Properties::new();
    context.insert("client_id".into(), facts.client_id.as_str().into());
    context.insert("resource".into(), resource.id.as_str().into());
    EvaluationRequest {
        subject: scopes::subject(facts),
        action: Action::new("see_claim"),
        resource: authzen::Resource::new("Claim", name),
        context,
    }
}
