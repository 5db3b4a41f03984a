//! A vocabulary from a schema: what its declarations and their annotations say.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cedar_policy::{EntityId, EntityNamespace, Schema, SchemaFragment};
use cedar_policy_core::ast::Context;
use cedar_policy_core::validator::types::Type;
use cedar_policy_core::validator::{
    ValidatorActionId, ValidatorEntityType, ValidatorEntityTypeKind,
};

use super::contract;
use super::shape::{Alike, Member, Members, Shape};
use super::vocabulary::{ActionTerm, Kind, Kinds, Number, Parameters, Vocabulary};
use crate::config::Reading;
use crate::source::SourceFile;
use crate::{PolicyIssue, RequestProperties};

impl Vocabulary {
    /// Reads the schema's annotations. `reading` is the configuration's word.
    pub(crate) fn new(
        schema: &Schema,
        fragments: &[(SourceFile, SchemaFragment)],
        reading: &Reading,
    ) -> Result<Self, Vec<PolicyIssue>> {
        let overrides = &reading.request_properties;
        let mut made = Self {
            clock: reading
                .clock
                .as_deref()
                .map(|name| (name.into(), HashSet::new())),
            ..Self::default()
        };
        let mut issues = Vec::new();
        let mut alike = Alike::default();
        for kind in schema.as_ref().entity_types() {
            if let Err(issue) = made.add_kind(kind, fragments, overrides, &mut alike) {
                issues.push(issue);
            }
        }
        let mut actions: Vec<_> = schema.as_ref().action_ids().collect();
        actions.sort_by_key(|action| action.name().to_string());
        for action in actions {
            if let Err(issue) = made.add_action(action, fragments, &mut alike) {
                issues.push(issue);
            }
        }
        let folder = fragments
            .first()
            .and_then(|(file, _)| file.path.parent())
            .unwrap_or_else(|| std::path::Path::new("."));
        if let Some((name, _)) = made.clock.as_ref().filter(|clock| clock.1.is_empty()) {
            issues.push(
                PolicyIssue::of_file(
                    folder,
                    format!("`pdp.clock` is `{name}`, which no action's context declares as a `datetime`"),
                )
                .hint(format!("write `context: {{ {name}: datetime }}` at the actions whose policies look at it")),
            );
        }
        for name in overrides
            .keys()
            .filter(|name| !made.types.contains_key(*name))
        {
            issues.push(PolicyIssue::of_file(
                folder,
                format!("`pdp.request_properties` names `{name}`, which the schema does not know"),
            ));
        }
        let clock = reading.clock.as_deref();
        made.names = contract::names(
            made.kinds.values().map(|kind| &**kind),
            made.actions.values(),
            clock,
        )
        .with_clock(clock);
        if issues.is_empty() {
            Ok(made)
        } else {
            Err(issues)
        }
    }

    fn add_kind(
        &mut self,
        kind: &ValidatorEntityType,
        fragments: &[(SourceFile, SchemaFragment)],
        overrides: &BTreeMap<String, RequestProperties>,
        alike: &mut Alike,
    ) -> Result<(), PolicyIssue> {
        let cedar_name = kind.name().to_string();
        let (namespace, base) = cedar_name
            .rsplit_once("::")
            .map_or((None, cedar_name.as_str()), |(space, base)| {
                (Some(space), base)
            });
        let annotation = |key: &str| {
            fragments.iter().find_map(|(file, fragment)| {
                let text = fragment.entity_type_annotation(namespace.and_then(parse), base, key)?;
                Some((file, text.to_owned()))
            })
        };
        let (file, name) = match annotation("authzen") {
            Some((file, name)) => (Some(file), name),
            None => (None, cedar_name.clone()),
        };
        let place = |message: String| {
            let file = file.or(fragments.first().map(|(file, _)| file));
            file.map_or_else(
                || PolicyIssue::of_file(".", message.clone()),
                |file| file.issue_at_loc(kind.loc.as_ref(), message.clone()),
            )
        };
        if name.is_empty() {
            return Err(place(format!("`@authzen` of `{cedar_name}` is empty")));
        }
        let request_properties = match (overrides.get(&name), annotation("request_properties")) {
            (Some(word), _) => *word,
            (None, None) => RequestProperties::default(),
            (None, Some((file, word))) => RequestProperties::from_word(&word).ok_or_else(|| {
                file.issue_at_loc(
                    kind.loc.as_ref(),
                    format!("`@request_properties` of `{cedar_name}` is `{word}`"),
                )
                .hint("known here: add, override, ignore")
            })?,
        };
        let members = Members::of(kind.attributes(), alike);
        let kind_of = Arc::new(Kind {
            entity_type: kind.name().clone().into(),
            number: numbered(self.kinds.len()),
            names: Arc::clone(members.names()),
            members,
            ids: ids(kind),
            request_properties,
        });
        if let Some(other) = self.types.insert(name.clone(), Arc::clone(&kind_of)) {
            let other = &*other.entity_type;
            return Err(
                place(format!("`{cedar_name}` and `{other}` both go by `{name}`"))
                    .hint("give each its own `@authzen(\"…\")`"),
            );
        }
        self.kinds.insert(kind.name().clone(), kind_of);
        Ok(())
    }

    fn add_action(
        &mut self,
        action: &ValidatorActionId,
        fragments: &[(SourceFile, SchemaFragment)],
        alike: &mut Alike,
    ) -> Result<(), PolicyIssue> {
        let uid = action.name();
        let kind = uid.entity_type().to_string();
        let namespace = kind.rsplit_once("::").map(|(space, _)| space);
        let id: &str = uid.eid().as_ref();
        let annotated = fragments.iter().find_map(|(_, fragment)| {
            fragment
                .action_annotation(namespace.and_then(parse), &EntityId::new(id), "authzen")
                .map(str::to_owned)
        });
        let name = annotated.unwrap_or_else(|| id.to_owned());
        let (mut context, parameters) = match action.context_type() {
            Some(Type::Record { attrs, .. }) => split_parameters(Members::of(attrs, alike)),
            _ => (Members::default(), None),
        };
        if let Some((name, actions)) = &mut self.clock
            && let Some(Member {
                shape: Shape::Extension(kind),
                ..
            }) = context.get(name.as_str())
            && kind == "datetime"
        {
            context = context.only(|own| own != name.as_str());
            actions.insert(uid.clone());
        }
        let is_required = parameters.as_ref().is_some_and(|action| action.required);
        let needs_some = is_required || context.iter().any(|(_, member)| member.required);
        let term = ActionTerm {
            empty: (!needs_some).then(Context::empty),
            uid: uid.clone().into(),
            number: numbered(self.actions.len()),
            subjects: Kinds::of(action.applies_to_principals(), &self.kinds),
            resources: Kinds::of(action.applies_to_resources(), &self.kinds),
            context,
            parameters,
        };
        if let Some(other) = self.actions.insert(name.clone(), term) {
            let message = format!("`{uid}` and `{}` both go by `{name}`", other.uid);
            let issue = match fragments
                .iter()
                .find(|(file, _)| action.loc().is_some_and(|loc| *loc.src == *file.text))
                .or(fragments.first())
            {
                Some((file, _)) => file.issue_at_loc(action.loc(), message),
                None => PolicyIssue::of_file(".", message),
            };
            return Err(issue.hint("give each its own `@authzen(\"…\")`"));
        }
        Ok(())
    }
}

/// The only ids that there are.
fn ids(kind: &ValidatorEntityType) -> Option<HashSet<String>> {
    let ValidatorEntityTypeKind::Enum(ids) = &kind.kind else {
        return None;
    };
    let ids = ids.iter().map(|id| AsRef::<str>::as_ref(id).to_owned());
    Some(ids.collect())
}

/// A schema of more would not fit into memory.
fn numbered(before: usize) -> Number {
    Number::try_from(before).unwrap_or(Number::MAX)
}

fn parse(namespace: &str) -> Option<EntityNamespace> {
    namespace.parse().ok()
}

fn split_parameters(context: Members) -> (Members, Option<Parameters>) {
    let declared = match context.get("action") {
        Some(Member {
            shape: Shape::Record(members),
            required,
        }) => Some(Parameters {
            members: (**members).clone(),
            required: *required,
        }),
        _ => None,
    };
    match declared {
        Some(_) => (context.only(|name| name != "action"), declared),
        None => (context, None),
    }
}
