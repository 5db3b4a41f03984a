//! What an edit of a few policies makes of a folder that is known: the statements that it leaves as
//! they were are not read again.
//!
//! Whatever is unusual about an edit (another schema, an error, most of the policies) is left to
//! reading the folder anew, which also words what is wrong.

use std::path::Path;
use std::sync::Arc;

use cedar_policy::PolicySet;

use super::issues::Issues;
use super::policies::{self, Annotated, PolicyFile};
use super::{Loaded, stated_version};
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
    if read.iter().any(|policy| rules.has(&policy.reason.policy)) {
        return None;
    }
    let warnings = validated(&folder.path, before, &plans, &read)?;
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
        file.place(&mut rules, &mut order);
        files.push(file);
    }
    let loaded = Loaded {
        vocabulary: Arc::clone(&before.vocabulary),
        schema: Arc::clone(&before.schema),
        rules,
        files,
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

fn plans<'a>(before: &'a Loaded, folder: &Folder) -> Option<Vec<Plan<'a>>> {
    let plan = |file: &SourceFile| {
        let known = before
            .files
            .iter()
            .find(|known| known.source.path == file.path);
        let nothing = "";
        let (text, spans) = match known {
            // Its statements could not be told apart.
            Some(known) if known.spans.len() != known.positions.len() => return None,
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
            read.push(policies::annotated(
                &statement,
                policy,
                &mut Issues::default(),
            )?);
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
    policies::hold(folder, policies, &before.schema, |id| {
        let (plan, span) = owners.get(id)?;
        Some((&*plan.source, span.start))
    })
    .ok()
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
            source,
        }
    }
}

impl PolicyFile {
    /// Tells every rule of the file where it stands now.
    fn place(&self, rules: &mut Rules, order: &mut usize) {
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
