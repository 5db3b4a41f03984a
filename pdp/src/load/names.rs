//! Policies, templates and links share one space of names, and no two have the same.

use std::collections::HashMap;

use cedar_policy_core::ast;
use cedar_policy_core::parser::Loc;

use super::issues::{Issues, taken};
use super::links::Link;
use super::policies::{Parsed, loc};
use crate::PolicyIssue;

impl Parsed {
    /// Two templates of the same name have been told of already.
    pub(super) fn taken_twice(&self, issues: &mut Issues) {
        let place = |file: usize, loc: Option<&Loc>, message: String| match self.files.get(file) {
            Some((file, _)) => file.issue_at_loc(loc, message),
            None => PolicyIssue::of_file("*.cedar", message),
        };
        let templates = self.templates.iter().map(|(id, (template, file))| {
            let template: &ast::Template = template.as_ref();
            (id.as_str(), (*file, template.loc()))
        });
        let mut known: HashMap<&str, (usize, Option<&Loc>)> = templates.collect();
        for policy in &self.policies {
            let (id, home) = (
                policy.terms.reason.policy.as_str(),
                (policy.file, loc(&policy.policy)),
            );
            if let Some(other) = known.insert(id, home) {
                issues.add(|| {
                    let message = format!("`@id(\"{id}\")` is taken");
                    taken(
                        place(home.0, home.1, message),
                        &place(other.0, other.1, String::new()),
                    )
                });
            }
        }
        let mut linked: HashMap<&str, &Link> = HashMap::new();
        for link in &self.links {
            let policy = known.get(link.id.as_str());
            let other = linked.insert(&link.id, link);
            let other = other.and_then(|other| self.link_at(other, String::new()));
            let other = other.or_else(|| policy.map(|home| place(home.0, home.1, String::new())));
            let message = || format!("`newId` `{}` is taken", link.id);
            if let (Some(other), Some(issue)) = (other, self.link_at(link, message())) {
                issues.add(|| taken(issue, &other));
            }
        }
    }

    fn link_at(&self, link: &Link, message: String) -> Option<PolicyIssue> {
        Some(
            self.link_files
                .get(link.file)?
                .issue_at(link.start, message),
        )
    }
}
