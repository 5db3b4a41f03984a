//! What is known about a subject, gathered for a decision from the registry as it is now.

use oauth::{Scope, SubjectFacts};

use crate::record::{Authentication, Subject};
use crate::registry::{Client, Registry};

/// None: the subject is not there any more, or disabled.
pub(crate) fn gather(
    registry: &Registry,
    client: &Client,
    subject: &Subject,
    authentication: Option<&Authentication>,
    scope: Scope,
) -> Option<SubjectFacts> {
    let (username, attributes) = match subject {
        Subject::User(sub) => {
            let user = registry.user(sub)?;
            (Some(user.username.clone()), &user.attributes)
        }
        // Not always the client that asks: its own token may be exchanged by another.
        Subject::Client(id) => (None, &registry.client(id)?.attributes),
    };
    Some(SubjectFacts {
        kind: subject.kind(),
        sub: subject.id().to_owned(),
        client_id: client.id.clone(),
        scope,
        username,
        auth_time: authentication.map(|login| login.at.as_secs()),
        acr: authentication.and_then(|login| login.acr.clone()),
        amr: authentication.map_or_else(Vec::new, |login| login.amr.clone()),
        act: None,
        attributes: attributes.clone(),
    })
}
