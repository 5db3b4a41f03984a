//! What is known about a subject, gathered for a decision from the registry as it is now.

use oauth::{Scope, SubjectFacts};

use crate::clients;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{Authentication, Subject};
use crate::registry::{Client, Registry};

/// None: the subject is not there any more, or disabled.
pub(crate) async fn gather(
    (core, registry): (&Core, &Registry),
    client: &Client,
    subject: &Subject,
    authentication: Option<&Authentication>,
    scope: Scope,
) -> Result<Option<SubjectFacts>, Trouble> {
    let (username, attributes) = match subject {
        Subject::User(sub) => {
            let Some(user) = registry.user(sub) else {
                return Ok(None);
            };
            (Some(user.username.clone()), user.attributes.clone())
        }
        // Not always the client that asks: its own token may be exchanged by another.
        Subject::Client(id) => match clients::find(core, registry, id).await? {
            Some(client) => (None, client.attributes.clone()),
            None => return Ok(None),
        },
    };
    Ok(Some(SubjectFacts {
        kind: subject.kind(),
        sub: subject.id().to_owned(),
        client_id: client.id.clone(),
        scope,
        username,
        auth_time: authentication.map(|login| login.at.as_secs()),
        acr: authentication.and_then(|login| login.acr.clone()),
        amr: authentication.map_or_else(Vec::new, |login| login.amr.clone()),
        act: None,
        attributes,
    }))
}
