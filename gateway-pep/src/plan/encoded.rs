//! Which encoded characters the paths of a route may have.

use service_kit::ConfigIssue;

use super::{Protection, QuestionPlan};
use crate::canonical::Encoded;
use crate::config::{EncodedCharacter, RouteConfig};

pub(super) fn compile(
    route: &RouteConfig,
    protection: &Protection,
) -> Result<Encoded, ConfigIssue> {
    let characters = route.encoded_characters.iter();
    let encoded = characters.fold(Encoded::NONE, |all, one| all.with(Encoded::from(*one)));
    if encoded.has(EncodedCharacter::Slash) {
        check_slash(route, protection)?;
    }
    Ok(encoded)
}

/// SECURITY: what the upstream tells apart, the question must tell apart, too. A value that may have `/` in it stands
/// for itself alone.
fn check_slash(route: &RouteConfig, protection: &Protection) -> Result<(), ConfigIssue> {
    if route.matches.contains("{*") {
        return Err(ConfigIssue::new(format!(
            "`encoded_characters: [slash]` cannot be where `{}` takes many segments: `a/b` and `a%2Fb` would \
             be one to policies, and two to the upstream",
            route.matches
        ))
        .hint("take one segment, `{name}`, or leave `slash` out"));
    }
    let Protection::Token { question, .. } = protection else {
        return Ok(());
    };
    let is_composed = match question {
        QuestionPlan::Resource { resource, .. } => resource.parameters() > 1,
        QuestionPlan::AuthzenRoute => false,
    };
    if is_composed {
        return Err(ConfigIssue::new(
            "`encoded_characters: [slash]` cannot be where the id of `resource` has several parameters: which \
             `/` separates them would not be told",
        )
        .hint("make the id of one parameter, and tell the others as `resource_properties`"));
    }
    Ok(())
}
