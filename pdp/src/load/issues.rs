//! What is wrong with policies, as far as it is told: the first so many issues in words, and how many more
//! there are. To put one into words looks for its place, which may cost as much as its file is long.

use std::path::Path;

use crate::PolicyIssue;

/// Issues, the first of them in words.
#[derive(Debug, Default)]
pub(super) struct Issues {
    told: Vec<PolicyIssue>,
    more: usize,
}

/// What is told of where there are too many.
pub(super) const PROBLEMS: &str = "problems";

/// So many are told.
pub(super) const TOLD: usize = 100;

impl Issues {
    /// Adds one, which is put into words where it is among the first.
    pub(super) fn add(&mut self, word: impl FnOnce() -> PolicyIssue) {
        if self.told.len() < TOLD {
            self.told.push(word());
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// As they are told of a folder. `what` they are: `problems`.
    pub(super) fn told(self, folder: &Path, what: &str) -> Vec<PolicyIssue> {
        let Self { mut told, more } = self;
        if more > 0 {
            let message = format!("and {more} more {what} with policies");
            told.push(PolicyIssue::of_file(folder, message));
        }
        told
    }
}

/// Of a name that another thing has: says where that one is.
pub(super) fn taken(issue: PolicyIssue, other: &PolicyIssue) -> PolicyIssue {
    let (line, column) = other.issue.place.unwrap_or_default();
    issue.hint(format!("see {}:{line}:{column}", other.file.display()))
}
