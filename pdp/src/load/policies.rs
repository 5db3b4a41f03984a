//! Reads `*.cedar` and links: policies, each with a unique `@id` and well-formed instructions, validated
//! strictly.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use cedar_policy::{Policy, PolicyId, PolicySet, Schema};
use cedar_policy_core::ast;
use cedar_policy_core::parser::Loc;

use super::annotated::{Annotated, Terms, id_of, statement};
use super::hold::{Where, hold};
use super::issues::{Issues, PROBLEMS, taken};
use super::links::{self, Link, Templates};
use crate::PolicyIssue;
use crate::engine::{Home, Rules};
use crate::mapping::Vocabulary;
use crate::reads::Names;
use crate::source::SourceFile;
use crate::source::statements::{self, Span};
use service_kit::error::chain;

/// A file of policies and what became of its statements.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    pub(super) source: Arc<SourceFile>,
    /// The statements. None where they could not be told apart.
    pub(super) spans: Vec<Span>,
    /// The position of each one's rule.
    pub(super) positions: Vec<usize>,
    /// Some are templates, of which links make rules. Edits do not tell them apart.
    pub(super) has_templates: bool,
}

/// Policies in the order of their files and in that in which they are written, then links.
pub(super) struct Parsed {
    pub(super) files: Vec<(Arc<SourceFile>, Vec<Span>)>,
    pub(super) policies: Vec<Annotated>,
    pub(super) templates: Templates,
    pub(super) link_files: Vec<SourceFile>,
    pub(super) links: Vec<Link>,
}

/// Rules that hold against the schema.
pub(super) struct Validated {
    pub(super) rules: Rules,
    pub(super) files: Vec<PolicyFile>,
    /// The `@id`s of templates.
    pub(super) templates: Vec<String>,
    /// The positions of the links' rules.
    pub(super) linked: Vec<usize>,
    pub(super) warnings: Vec<PolicyIssue>,
}

/// Parses every file and reads the annotations of every policy.
pub(super) fn parse(
    folder: &Path,
    files: &[SourceFile],
    link_files: &[SourceFile],
) -> Result<Parsed, Vec<PolicyIssue>> {
    let mut parsed = Parsed {
        files: Vec::new(),
        policies: Vec::new(),
        templates: Templates::new(),
        link_files: link_files.to_vec(),
        links: Vec::new(),
    };
    let mut issues = Issues::default();
    for file in files {
        parsed.add(file, &mut issues);
    }
    parsed.links = links::read(link_files, &parsed.templates, &mut issues);
    parsed.taken_twice(&mut issues);
    if issues.is_empty() && parsed.policies.is_empty() && parsed.links.is_empty() {
        issues.add(|| {
            PolicyIssue::of_file(folder, "the policy folder has no policies")
                .hint("without a policy everything is denied; write at least one `permit`")
        });
    }
    if issues.is_empty() {
        Ok(parsed)
    } else {
        Err(issues.told(folder, PROBLEMS))
    }
}

impl Parsed {
    fn add(&mut self, file: &SourceFile, issues: &mut Issues) {
        let set: PolicySet = match file.text.parse() {
            Ok(set) => set,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                for error in errors.iter() {
                    issues.add(|| file.issue_from(error));
                }
                return;
            }
        };
        for template in set.templates() {
            self.add_template(file, template, issues);
        }
        let mut policies: Vec<_> = set.policies().collect();
        policies.sort_by_key(|policy| loc(policy).map(Loc::start));
        let mut spans = statements::all(&file.text);
        let is_own = |(span, policy): (&Span, &&Policy)| {
            loc(policy).is_some_and(|loc| span.start <= loc.start() && loc.end() <= span.end)
        };
        if spans.len() != policies.len() || !spans.iter().zip(&policies).all(is_own) {
            spans.clear();
        }
        for (at, policy) in policies.into_iter().enumerate() {
            let annotated = Annotated::of(file, policy, issues).map(|policy| Annotated {
                file: self.files.len(),
                start: spans.get(at).map_or(0, |span| span.start),
                ..policy
            });
            self.policies.extend(annotated);
        }
        self.files.push((Arc::new(file.clone()), spans));
    }

    fn add_template(
        &mut self,
        file: &SourceFile,
        template: &cedar_policy::Template,
        issues: &mut Issues,
    ) {
        let written: &ast::Template = template.as_ref();
        let Some(id) = id_of(file, written, issues) else {
            return;
        };
        // Links read the same again; what is wrong is told once, and here.
        if Terms::of(file, written, id, issues).is_none() {
            return;
        }
        let (named, at) = (template.new_id(PolicyId::new(id)), self.files.len());
        if let Some((other, owner)) = self.templates.insert(id.to_owned(), (named, at)) {
            let owner = self.files.get(owner).map_or(file, |(file, _)| file);
            let other: &ast::Template = other.as_ref();
            let other = owner.issue_at_loc(other.loc(), "");
            issues.add(|| {
                taken(
                    file.issue_at_loc(written.loc(), format!("`@id(\"{id}\")` is taken")),
                    &other,
                )
            });
        }
    }

    /// Everything, as Cedar holds it.
    fn set(&self, schema: &Schema, issues: &mut Issues) -> PolicySet {
        // Ids are unique by now.
        let mut set = PolicySet::new();
        for policy in &self.policies {
            if let Err(error) = set.add(policy.policy.clone()) {
                issues.add(|| PolicyIssue::of_file("*.cedar", chain(&error)));
            }
        }
        for (template, _) in self.templates.values() {
            if let Err(error) = set.add_template(template.clone()) {
                issues.add(|| PolicyIssue::of_file("*.cedar", chain(&error)));
            }
        }
        for link in &self.links {
            let Some(file) = self.link_files.get(link.file) else {
                continue;
            };
            if let Some(issue) = link.of_nothing_known(schema, file) {
                issues.add(|| issue);
                continue;
            }
            let (template, id) = (PolicyId::new(&link.template), PolicyId::new(&link.id));
            if let Err(error) = set.link(template, id, link.values.clone()) {
                issues.add(|| file.issue_at(link.start, chain(&error)));
            }
        }
        set
    }

    fn homes(&self) -> HashMap<PolicyId, Where<'_>> {
        let in_file = |file: usize| Some(Where::Statement(&self.files.get(file)?.0, 0));
        let policies = self
            .policies
            .iter()
            .map(|policy| (policy.policy.id().clone(), in_file(policy.file)));
        let templates = self
            .templates
            .values()
            .map(|(template, file)| (template.id().clone(), in_file(*file)));
        let links = self.links.iter().map(|link| {
            let file = self.link_files.get(link.file);
            (
                PolicyId::new(&link.id),
                file.map(|file| Where::Link(file, link.start)),
            )
        });
        let all = policies.chain(templates).chain(links);
        all.filter_map(|(id, home)| Some((id, home?))).collect()
    }

    /// Templates that no link names.
    fn unused(&self) -> Vec<PolicyIssue> {
        let used: std::collections::HashSet<&str> = self
            .links
            .iter()
            .map(|link| link.template.as_str())
            .collect();
        let unused = self
            .templates
            .iter()
            .filter(|(id, _)| !used.contains(id.as_str()));
        let told = unused.filter_map(|(id, (template, file))| {
            let (file, _) = self.files.get(*file)?;
            let template: &ast::Template = template.as_ref();
            let issue = file.issue_at_loc(template.loc(), format!("the template `{id}` has no links: it never applies"));
            Some(issue.hint("say in a `links.json` for whom, or name the principal and the resource instead of a slot"))
        });
        told.collect()
    }
}

/// Validates strictly: what passes cannot fail on a type.
pub(super) fn validate(
    folder: &Path,
    parsed: Parsed,
    schema: &Schema,
    words: &Vocabulary,
) -> Result<Validated, Vec<PolicyIssue>> {
    let mut issues = Issues::default();
    let set = parsed.set(schema, &mut issues);
    if !issues.is_empty() {
        return Err(issues.told(folder, PROBLEMS));
    }
    let homes = parsed.homes();
    let mut warnings = hold(folder, &set, schema, |id| homes.get(id).copied())?;
    drop(homes);
    warnings.extend(parsed.unused());
    let mut validated = parsed.into_rules(&set, &words.names);
    validated.rules.share(|kind| words.attributes(kind));
    Ok(Validated {
        warnings,
        ..validated
    })
}

impl Parsed {
    fn into_rules(self, set: &PolicySet, names: &Names) -> Validated {
        let owners: std::collections::HashSet<usize> =
            self.templates.values().map(|(_, file)| *file).collect();
        let files = self.files.into_iter().enumerate();
        let mut files: Vec<_> = files
            .map(|(at, (source, spans))| PolicyFile {
                source,
                spans,
                positions: Vec::new(),
                has_templates: owners.contains(&at),
            })
            .collect();
        let mut rules = Rules::default();
        let mut order = 0;
        for policy in self.policies {
            let Some(file) = files.get_mut(policy.file) else {
                continue;
            };
            let start = policy.start;
            let home = Home {
                file: Arc::clone(&file.source),
                start,
            };
            let position = rules.insert(policy.into_rule(names).in_file(home, start));
            rules.place(position, order, None);
            order += 1;
            file.positions.push(position);
        }
        let mut linked = Vec::with_capacity(self.links.len());
        for link in &self.links {
            let template = self.templates.get(&link.template);
            let file = template.and_then(|(_, file)| files.get(*file));
            let policy = set.policy(&PolicyId::new(&link.id));
            let (Some(file), Some(policy)) = (file, policy) else {
                continue;
            };
            // What is wrong has been told of the template.
            let terms = Terms::of(
                &file.source,
                statement(policy),
                &link.id,
                &mut Issues::default(),
            );
            let Some(terms) = terms else { continue };
            let home = Home {
                file: Arc::clone(&file.source),
                start: 0,
            };
            let rule = terms.into_rule(policy, names).of_template(&link.template);
            let position = rules.insert(rule.in_file(home, 0));
            rules.place(position, order, None);
            order += 1;
            linked.push(position);
        }
        Validated {
            rules,
            files,
            templates: self.templates.into_keys().collect(),
            linked,
            warnings: Vec::new(),
        }
    }
}

pub(super) fn loc(policy: &Policy) -> Option<&Loc> {
    AsRef::<ast::Policy>::as_ref(policy).loc()
}
