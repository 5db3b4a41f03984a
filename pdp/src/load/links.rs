//! Reads `links.json` and `*.links.json`: for whom templates apply, in the words of Cedar's own JSON format
//! of policy sets (`templateLinks`).

use std::collections::{BTreeMap, HashMap};

use cedar_policy::{EntityUid, Schema, SlotId, Template};
use cedar_policy_core::ast::EntityUID;
use cedar_policy_core::validator::ValidatorEntityTypeKind;
use strict_json::{Arena, Json, Members};

use super::entities::elements;
use super::issues::Issues;
use crate::PolicyIssue;
use crate::short::short;
use crate::source::SourceFile;

/// Templates by their `@id`, each with the number of its file.
pub(super) type Templates = BTreeMap<String, (Template, usize)>;

/// For whom a template applies.
pub(super) struct Link {
    pub(super) id: String,
    /// The template's `@id`.
    pub(super) template: String,
    pub(super) values: HashMap<SlotId, EntityUid>,
    /// Which links file it is in, and where it begins there.
    pub(super) file: usize,
    pub(super) start: usize,
}

/// What is wrong with a link, and what to do.
struct Wrong {
    message: String,
    hint: &'static str,
}

const MEMBERS: [&str; 3] = ["templateId", "newId", "values"];

/// Shown where a file or a link is written in another way.
const WRITE: &str = "write `[{\"templateId\": …, \"newId\": …, \"values\": {\"?principal\": {\"type\": …, \"id\": …}}}]`";

/// Reads every link of every file.
pub(super) fn read(files: &[SourceFile], templates: &Templates, issues: &mut Issues) -> Vec<Link> {
    let mut links = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let spans = match elements(file, "links", WRITE) {
            Ok(spans) => spans,
            Err(issue) => {
                issues.add(|| issue);
                continue;
            }
        };
        for (start, end) in spans {
            let text = file.text.get(start..end).unwrap_or_default();
            match link(text, templates) {
                Ok(link) => links.push(Link {
                    file: at,
                    start,
                    ..link
                }),
                Err(Wrong { message, hint }) => {
                    issues.add(|| file.issue_at(start, message).hint(hint));
                }
            }
        }
    }
    links
}

impl Link {
    /// A value that the schema does not have: of an unknown type, or none of those that it lists.
    pub(super) fn of_nothing_known(
        &self,
        schema: &Schema,
        file: &SourceFile,
    ) -> Option<PolicyIssue> {
        let mut wrong = self.values.iter().filter_map(|(slot, uid)| {
            let uid: &EntityUID = uid.as_ref();
            let kind = uid.entity_type();
            let what = match schema.as_ref().get_entity_type(kind) {
                None => format!("entity type `{kind}`"),
                Some(known) => match &known.kind {
                    ValidatorEntityTypeKind::Enum(ids) if !ids.iter().any(|id| id == uid.eid()) => {
                        "such entity".to_owned()
                    }
                    _ => return None,
                },
            };
            Some(format!("`{slot}` is `{uid}`: the schema has no {what}"))
        });
        let issue = file.issue_at(self.start, wrong.next()?);
        Some(issue.hint("name an entity that the schema declares"))
    }
}

fn link(text: &str, templates: &Templates) -> Result<Link, Wrong> {
    let wrong = |message: String| Wrong {
        message,
        hint: WRITE,
    };
    let arena = Arena::new();
    let link = Members::parse(text.as_bytes(), &arena)
        .map_err(|error| wrong(format!("a link: {error}")))?;
    if let Some((name, _)) = link.iter().find(|(name, _)| !MEMBERS.contains(name)) {
        return Err(wrong(format!("`{}` is no member of a link", short(name))));
    }
    let text = |name: &str| match link.get(name) {
        Some(Json::Text(text)) if !text.is_empty() => Ok(text.to_string()),
        Some(_) => Err(wrong(format!("`{name}` must be a text that is not empty"))),
        None => Err(wrong(format!("`{name}` is missing"))),
    };
    let (template, id) = (text("templateId")?, text("newId")?);
    let Some((known, _)) = templates.get(&template) else {
        return Err(Wrong {
            message: format!("there is no template `{}`", short(&template)),
            hint: "`templateId` is the `@id` of a statement with `?principal` or `?resource` in its scope",
        });
    };
    let values = match link.get("values") {
        Some(Json::Object(values)) => values,
        Some(_) => return Err(wrong("`values` must be an object".into())),
        None => return Err(wrong("`values` is missing".into())),
    };
    let slots: Vec<SlotId> = known.slots().cloned().collect();
    let values = filled(&slots, values)
        .map_err(|message| wrong(format!("link `{}`: {message}", short(&id))))?;
    Ok(Link {
        id,
        template,
        values,
        file: 0,
        start: 0,
    })
}

/// Every slot of the template and nothing else.
fn filled(slots: &[SlotId], values: &Members<'_>) -> Result<HashMap<SlotId, EntityUid>, String> {
    let named = |name: &str| slots.iter().find(|slot| slot.to_string() == name);
    if let Some((name, _)) = values.iter().find(|(name, _)| named(name).is_none()) {
        return Err(format!("the template has no slot `{}`", short(name)));
    }
    let filled = slots.iter().map(|slot| {
        let value = values.get(&slot.to_string());
        let value = value.ok_or_else(|| format!("`values` says nothing of `{slot}`"))?;
        Ok((
            slot.clone(),
            entity(value)
                .ok_or_else(|| format!("`{slot}` must be `{{\"type\": …, \"id\": …}}`"))?,
        ))
    });
    filled.collect()
}

/// `{"type": …, "id": …}`, alone or as `__entity`.
fn entity(value: &Json<'_>) -> Option<EntityUid> {
    let Json::Object(members) = value else {
        return None;
    };
    match (members.get("__entity"), members.len()) {
        (Some(inner), 1) => return entity(inner),
        (None, 2) => {}
        _ => return None,
    }
    let (Json::Text(kind), Json::Text(id)) = (members.get("type")?, members.get("id")?) else {
        return None;
    };
    EntityUid::from_json(serde_json::json!({ "type": kind, "id": id })).ok()
}

#[cfg(test)]
mod tests;
