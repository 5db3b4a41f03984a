//! Checks a policy folder without deciding anything: for the command line.

use std::fmt;
use std::path::Path;

use crate::config::Reading;
use crate::snapshot::Snapshot;
use crate::{PdpError, PolicyIssue};

/// What a valid folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Policies, each with its `@id`.
    pub policies: usize,
    /// Entities that the folder states.
    pub entities: usize,
    /// Content hash: equal versions decide equally.
    pub version: String,
    /// Valid, but suspicious: a policy that can never apply, confusable names.
    pub warnings: Vec<PolicyIssue>,
}

/// Reads and validates a folder; the error's `Display` is every problem with its place.
pub fn check_policies(folder: &Path) -> Result<CheckReport, PdpError> {
    let snapshot = Snapshot::open(folder, &Reading::default(), 0)?;
    Ok(CheckReport {
        policies: snapshot.loaded.rules.len(),
        entities: snapshot.loaded.stated_entities,
        version: snapshot.version.version,
        warnings: snapshot.loaded.warnings.clone(),
    })
}

impl fmt::Display for CheckReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(formatter, "warning: {warning}")?;
        }
        write!(
            formatter,
            "{} policies and {} entities are valid (version {})",
            self.policies, self.entities, self.version
        )
    }
}
