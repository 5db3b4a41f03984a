//! What is known about a subject, gathered for a decision from the registry as it is now, and of those
//! who log in elsewhere from what was said at their last login.

use std::sync::Arc;

use oauth::{Scope, SubjectFacts};

use crate::clients;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{Authentication, Subject};
use crate::registry::{Client, Registry, User};
use crate::users;

/// A subject that is there.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) facts: SubjectFacts,
    /// None: it is a client.
    pub(crate) user: Option<Arc<User>>,
}

/// None: the subject is not there any more, or disabled.
pub(crate) async fn gather(
    (core, registry): (&Core, &Registry),
    client: &Client,
    subject: &Subject,
    authentication: Option<&Authentication>,
    scope: Scope,
) -> Result<Option<Known>, Trouble> {
    let user = users::of_subject(core, registry, subject).await?;
    let (username, attributes) = match (subject, &user) {
        (Subject::User(_), None) => return Ok(None),
        (Subject::User(_), Some(user)) => (Some(user.username.clone()), user.attributes.clone()),
        // Not always the client that asks: its own token may be exchanged by another.
        (Subject::Client(id), _) => match clients::find(core, registry, id).await? {
            Some(client) => (None, client.attributes.clone()),
            None => return Ok(None),
        },
    };
    let facts = SubjectFacts {
        kind: subject.kind(),
        sub: subject.id().to_owned(),
        client_id: client.id.clone(),
        scope,
        username,
        auth_time: authentication.map(|login| login.at.as_secs()),
        acr: authentication.and_then(|login| login.acr.clone()),
        amr: authentication.map_or_else(Vec::new, |login| login.amr.clone()),
        act: None,
        api_key: None,
        attributes,
    };
    Ok(Some(Known { facts, user }))
}
