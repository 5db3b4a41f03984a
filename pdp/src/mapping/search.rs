//! Searches in Cedar's words: the two given parts as in any question, the third as a type.

use std::sync::Arc;

use authzen::{Action, AskedAction, Properties, Resource, Subject};
use cedar_policy_core::ast::{EntityType, EntityUID, Var};
use strict_json::{Arena, Members};

use super::{NotAsked, Part, Places, Vocabulary, not_asked, overlay};
use crate::engine::Question;
use crate::entities::{EntityStore, Overlays};

/// A search for subjects or resources.
#[derive(Debug)]
pub(crate) struct Sought {
    /// The sought part is to be filled in, one candidate after the other.
    pub(crate) question: Question,
    /// Which part: principal or resource.
    pub(crate) part: Var,
    pub(crate) kind: EntityType,
    /// The only ids that there are, for an enumerated type, in order. Others are in the store.
    pub(crate) ids: Option<Vec<EntityUID>>,
}

impl Vocabulary {
    /// Puts a search for subjects into Cedar's words.
    pub(crate) fn subjects(
        &self,
        kind: &str,
        action: &Action,
        resource: &Resource,
        context: &Properties,
        store: &EntityStore,
    ) -> Result<Sought, NotAsked> {
        let given = (Part::Resource, &*resource.kind, &*resource.id);
        self.sought(
            Part::Subject,
            kind,
            given,
            &resource.properties,
            action,
            context,
            store,
        )
    }

    /// Puts a search for resources into Cedar's words.
    pub(crate) fn resources(
        &self,
        subject: &Subject,
        action: &Action,
        kind: &str,
        context: &Properties,
        store: &EntityStore,
    ) -> Result<Sought, NotAsked> {
        let given = (Part::Subject, &*subject.kind, &*subject.id);
        self.sought(
            Part::Resource,
            kind,
            given,
            &subject.properties,
            action,
            context,
            store,
        )
    }

    /// The names of the actions that apply to a pair of types, in order.
    pub(crate) fn actions(&self, subject: &str, resource: &str) -> Vec<&str> {
        let (Some(subject), Some(resource)) = (self.types.get(subject), self.types.get(resource))
        else {
            return Vec::new();
        };
        let mut names: Vec<_> = self
            .actions
            .iter()
            .filter(|(_, term)| term.takes_subject(subject) && term.takes_resource(resource))
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a question, each once"
    )]
    fn sought(
        &self,
        part: Part,
        kind: &str,
        (given_part, given_kind, given_id): (Part, &str, &str),
        properties: &Properties,
        action: &Action,
        context: &Properties,
        store: &EntityStore,
    ) -> Result<Sought, NotAsked> {
        let nobody = || super::unknown("nothing can be found".into());
        let mut reader = self.reader();
        let term = self.actions.get(&action.name).ok_or_else(nobody)?;
        let sought = self.types.get(kind).ok_or_else(nobody)?;
        let (given, given_kind) = self.entity(given_part, given_kind, given_id)?;
        let (subject, resource) = match part {
            Part::Subject => (&**sought, given_kind),
            Part::Resource => (given_kind, &**sought),
        };
        if !term.takes_subject(subject) || !term.takes_resource(resource) {
            return Err(nobody());
        }
        let field = format!("{}.properties", given_part.word());
        let arena = Arena::new();
        let stored = store.row_of(given.named());
        let sent = Members::lent(properties, &arena);
        let row = overlay(&mut reader, &given, given_kind, stored, &sent, Places::ALL);
        let mut overlays = Overlays::default();
        if let Some(row) = row.map_err(|misfit| not_asked(&field, misfit))? {
            overlays.describe(Arc::new(row));
        }
        let parameters = Members::lent(&action.properties, &arena);
        let action = AskedAction {
            name: &action.name,
            properties: &parameters,
        };
        let context = term.context(&mut reader, &Members::lent(context, &arena), &action)?;
        // Never decided: each candidate takes its place.
        let open = sought.entity_type.uid("");
        let (principal, resource, part) = match part {
            Part::Subject => (open, given, Var::Principal),
            Part::Resource => (given, open, Var::Resource),
        };
        let ids = sought.ids.as_ref().map(|ids| {
            let mut ids: Vec<&String> = ids.iter().collect();
            ids.sort_unstable();
            ids.into_iter()
                .map(|id| sought.entity_type.name_of(id.into()))
                .collect()
        });
        Ok(Sought {
            question: Question {
                principal,
                action: term.uid.clone(),
                resource,
                context,
                now: None,
                overlays,
            },
            part,
            kind: (*sought.entity_type).clone(),
            ids,
        })
    }
}
