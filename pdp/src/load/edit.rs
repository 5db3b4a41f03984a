//! What an edit of a few policies makes of a folder that is known: the statements that it leaves as
//! they were are not read again.
//!
//! Whatever is unusual about an edit (another schema, a template, a link, an error, most of the policies) is
//! left to reading the folder anew, which also words what is wrong.

use std::path::Path;
use std::sync::Arc;

use cedar_policy::PolicySet;

use super::annotated::Annotated;
use super::hold::{Where, hold};
use super::issues::Issues;
use super::policies::PolicyFile;
use super::{Loaded, hash, stated_version};
use crate::PolicyIssue;
use crate::engine::{Home, Rule, Rules};
use crate::folder::Folder;
use crate::source::SourceFile;
use crate::source::statements::{self, Span};

/// The policies of an edited folder, and how they differ from those before.
#[derive(Debug)]
pub(crate) struct Edited {
    pub(crate) loaded: Loaded,
    pub(crate) removed: Vec<Rule>,
    /// Positions.
    pub(crate) added: Vec<usize>,
}

/// What becomes of the statements of one file.
struct Plan<'a> {
    source: Arc<SourceFile>,
    /// The file as it was, where there was one.
    before: Option<&'a PolicyFile>,
    edit: statements::Edit,
}

/// More statements than this are read anew together with all others.
const FEW: usize = 1000;

/// Understands an edited folder from what it was. `None`: it is to be read anew.
pub(crate) fn edited(before: &Loaded, folder: &Folder) -> Option<Edited> {
    if stated_version(folder) != before.stated_version {
        return None;
    }
    if hash(folder.links.iter()) != before.linked.version {
        return None;
    }
    let plans = plans(before, folder)?;
    let fresh: usize = plans.iter().map(|plan| plan.edit.fresh.len()).sum();
    if fresh > FEW.max(before.rules.len() / 10) {
        return None;
    }
    let mut rules = before.rules.to_edit();
    let removed: Vec<Rule> = gone(before, &plans)
        .filter_map(|position| rules.remove(position))
        .collect();
    let read = read(&plans)?;
    // Against each other they are held as a set, in a moment.
    let is_taken = |id: &String| rules.has(id) || before.linked.templates.contains(id);
    if read
        .iter()
        .any(|policy| is_taken(&policy.terms.reason.policy))
    {
        return None;
    }
    let warnings = validated(&folder.path, before, &plans, &read)?;
    let (files, added) = placed(before, plans, read, &mut rules);
    let loaded = Loaded {
        vocabulary: Arc::clone(&before.vocabulary),
        schema: Arc::clone(&before.schema),
        rules,
        files,
        linked: Arc::clone(&before.linked),
        stated: Vec::new(),
        stated_uids: Arc::clone(&before.stated_uids),
        schema_version: before.schema_version.clone(),
        stated_version: before.stated_version.clone(),
        stated_entities: before.stated_entities,
        version: folder.version.clone(),
        warnings,
    };
    // Without a policy a folder is refused.
    (loaded.rules.len() > 0).then_some(Edited {
        loaded,
        removed,
        added,
    })
}

/// Puts the fresh rules among the others, and says where each stands now.
fn placed(
    before: &Loaded,
    plans: Vec<Plan<'_>>,
    read: Vec<Annotated>,
    rules: &mut Rules,
) -> (Vec<PolicyFile>, Vec<usize>) {
    let mut added = Vec::with_capacity(read.len());
    let mut fresh = read.into_iter();
    let mut files = Vec::with_capacity(plans.len());
    let mut order = 0;
    for plan in plans {
        let count = plan.edit.fresh.len();
        let new: Vec<usize> = fresh
            .by_ref()
            .take(count)
            .map(|policy| rules.insert(policy.into_rule(&before.vocabulary.names)))
            .collect();
        added.extend(&new);
        let file = plan.placed(&new);
        file.place(rules, &mut order);
        files.push(file);
    }
    for position in &before.linked.positions {
        rules.place(*position, order, None);
        order += 1;
    }
    (files, added)
}

fn plans<'a>(before: &'a Loaded, folder: &Folder) -> Option<Vec<Plan<'a>>> {
    let is_there = |known: &PolicyFile| {
        let mut files = folder.policies.iter();
        files.any(|file| file.path == known.source.path)
    };
    // Links go on naming the templates that were in it.
    if before
        .files
        .iter()
        .any(|known| known.has_templates && !is_there(known))
    {
        return None;
    }
    let plan = |file: &SourceFile| {
        let known = before
            .files
            .iter()
            .find(|known| known.source.path == file.path);
        let nothing = "";
        let (text, spans) = match known {
            // Its statements could not be told apart: all of them are as they were, or it is read anew.
            Some(known) if !known.is_told_apart() => {
                return (known.source.text == file.text).then(|| Plan {
                    source: Arc::clone(&known.source),
                    before: Some(known),
                    edit: known.unchanged(),
                });
            }
            Some(known) => (&*known.source.text, known.spans.as_slice()),
            None => (nothing, [].as_slice()),
        };
        Some(Plan {
            source: Arc::new(file.clone()),
            before: known,
            edit: statements::edit(text, spans, &file.text)?,
        })
    };
    folder.policies.iter().map(plan).collect()
}

/// The positions of the statements that are not there any more.
fn gone<'a>(before: &'a Loaded, plans: &'a [Plan<'_>]) -> impl Iterator<Item = usize> + use<'a> {
    before.files.iter().flat_map(|file| {
        let plan = plans
            .iter()
            .find(|plan| plan.before.is_some_and(|known| std::ptr::eq(known, file)));
        let from = plan.map_or(0, |plan| plan.edit.front);
        let to = plan.map_or(file.positions.len(), |plan| plan.edit.back);
        file.positions
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .copied()
    })
}

/// Parses what is fresh.
fn read(plans: &[Plan<'_>]) -> Option<Vec<Annotated>> {
    let mut read = Vec::new();
    for plan in plans {
        for span in &plan.edit.fresh {
            let text = plan.source.text.get(span.start..span.end)?;
            let statement = SourceFile::new(Arc::clone(&plan.source.path), text);
            let set: PolicySet = statement.text.parse().ok()?;
            let mut policies = set.policies();
            let (Some(policy), None, None) =
                (policies.next(), policies.next(), set.templates().next())
            else {
                return None;
            };
            read.push(Annotated::of(&statement, policy, &mut Issues::default())?);
        }
    }
    Some(read)
}

/// Holds what is fresh against the schema, and returns what is suspicious.
fn validated(
    folder: &Path,
    before: &Loaded,
    plans: &[Plan<'_>],
    read: &[Annotated],
) -> Option<Vec<PolicyIssue>> {
    let spans = plans.iter().flat_map(|plan| {
        let spans = plan.edit.fresh.iter();
        spans.map(move |span| (plan, span))
    });
    let owners: std::collections::HashMap<_, (&Plan<'_>, &Span)> = read
        .iter()
        .zip(spans)
        .map(|(policy, owner)| (policy.policy.id().clone(), owner))
        .collect();
    let policies = read.iter().map(|policy| policy.policy.clone());
    let set = PolicySet::from_policies(policies).ok()?;
    let held = hold(folder, &set, &before.schema, |id| {
        let (plan, span) = owners.get(id)?;
        Some(Where::Statement(&plan.source, span.start))
    });
    held.ok()
}

impl Plan<'_> {
    /// The file as it is now. `new` are the positions of what is fresh in it.
    fn placed(self, new: &[usize]) -> PolicyFile {
        let Self {
            source,
            before,
            edit,
        } = self;
        let (spans, positions) = before.map_or((&[][..], &[][..]), |known| {
            (known.spans.as_slice(), known.positions.as_slice())
        });
        let old_len = before.map_or(0, |known| known.source.text.len());
        let moved = |span: &Span| Span {
            start: span.start + source.text.len() - old_len,
            end: span.end + source.text.len() - old_len,
        };
        let front = spans.get(..edit.front).unwrap_or_default();
        let back = spans.get(edit.back..).unwrap_or_default();
        let kept = |range: std::ops::Range<usize>| positions.get(range).unwrap_or_default();
        PolicyFile {
            spans: front
                .iter()
                .copied()
                .chain(edit.fresh)
                .chain(back.iter().map(moved))
                .collect(),
            positions: [kept(0..edit.front), new, kept(edit.back..positions.len())].concat(),
            has_templates: before.is_some_and(|known| known.has_templates),
            source,
        }
    }
}

impl PolicyFile {
    fn is_told_apart(&self) -> bool {
        !self.has_templates && self.spans.len() == self.positions.len()
    }

    /// An edit that leaves it as it is.
    fn unchanged(&self) -> statements::Edit {
        statements::Edit {
            front: self.positions.len(),
            fresh: Vec::new(),
            back: self.positions.len(),
        }
    }

    /// Tells every rule of the file where it stands now.
    fn place(&self, rules: &mut Rules, order: &mut usize) {
        if !self.is_told_apart() {
            for position in &self.positions {
                rules.place(*position, *order, None);
                *order += 1;
            }
            return;
        }
        for (span, position) in self.spans.iter().zip(&self.positions) {
            let home = Home {
                file: Arc::clone(&self.source),
                start: span.start,
            };
            rules.place(*position, *order, Some(home));
            *order += 1;
        }
    }
}

#[cfg(test)]
mod tests;
