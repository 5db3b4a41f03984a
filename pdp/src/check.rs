//! Checks a policy folder without deciding anything: for the command line.

use std::fmt;
use std::path::Path;

use service_kit::ConfigIssue;

use crate::attributes::Providers;
use crate::callers::Callers;
use crate::config::Reading;
use crate::filter::Tables;
use crate::handout::Handout;
use crate::metadata::Metadata;
use crate::search::PageTokens;
use crate::snapshot::Snapshot;
use crate::{PdpConfig, PdpError, PolicyIssue};

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
    Ok(CheckReport::of(&snapshot))
}

/// The same for the folder that a configuration names, as starting reads it; also what else the
/// configuration says of its schema that is not so.
pub fn check_configured(
    config: &PdpConfig,
    base: &Path,
) -> Result<(CheckReport, Vec<ConfigIssue>), PdpError> {
    let folder = base.join(&config.policies);
    let snapshot = Snapshot::open(&folder, &config.reading(), 0)?;
    let vocabulary = &snapshot.loaded.vocabulary;
    if let Some(file) = &config.filters {
        Tables::open(&base.join(file), vocabulary)?;
    }
    let unknown = Providers::check_schema(&config.attribute_providers, vocabulary);
    Ok((CheckReport::of(&snapshot), unknown.into_iter().collect()))
}

impl PdpConfig {
    /// What is wrong with the values themselves; the policy folder is not read.
    pub fn check(&self, base: &Path) -> Vec<ConfigIssue> {
        // The identifier with it.
        let metadata = Metadata::open(self, base).err();
        let callers = Callers::new(self, base).err();
        let tls = Callers::default().tls(self, base).err();
        let tokens = PageTokens::new(self, base).err();
        let handout = Handout::open(self, base).err();
        metadata
            .into_iter()
            .chain(handout)
            .chain(callers)
            .chain(tls)
            .chain(tokens)
            .chain(self.check_limits().err())
            .chain(self.second_opinions().err())
            .chain(Providers::check(&self.attribute_providers, base))
            .collect()
    }
}

impl CheckReport {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            policies: snapshot.loaded.rules.len(),
            entities: snapshot.loaded.stated_entities,
            version: snapshot.version.version.clone(),
            warnings: snapshot.loaded.warnings.clone(),
        }
    }
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
