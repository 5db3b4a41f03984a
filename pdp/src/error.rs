//! Why a folder of policies is refused, or a PDP cannot start.

use std::fmt;
use std::path::PathBuf;

use service_kit::ConfigIssue;

/// Why there is no PDP, or no new snapshot.
#[derive(Debug, thiserror::Error)]
pub enum PdpError {
    /// Everything that is wrong with the folder, as far as it can be seen at once.
    #[error("{}", Listed(.0))]
    Policies(Vec<PolicyIssue>),
    /// The `pdp` section of the configuration cannot be used.
    #[error("{0}")]
    Config(ConfigIssue),
    /// A metric's name is taken.
    #[error("a metric cannot be registered")]
    Metric(#[from] service_kit::metrics::MetricError),
    /// What was written cannot be taken over.
    #[error("the entities that were written cannot be read: {0}")]
    Entities(String),
    /// The mapping of entities to tables cannot be used.
    #[error("{0}")]
    Filters(String),
    /// The decision log cannot be opened.
    #[error("the decision log cannot be opened: {0}")]
    DecisionLog(#[source] std::io::Error),
    /// No randomness, so no decision ids.
    #[error(transparent)]
    Random(#[from] service_kit::random::RandomError),
}

/// One thing that is wrong in one file (or with the folder itself).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyIssue {
    /// The file.
    pub file: PathBuf,
    /// What, where in the file, the source line, and what to do.
    pub issue: ConfigIssue,
}

impl PolicyIssue {
    /// An issue with a whole file or folder.
    pub(crate) fn of_file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            issue: ConfigIssue::new(message),
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.issue.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for PolicyIssue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some((line, column)) = self.issue.place {
            write!(formatter, ":{line}:{column}")?;
        }
        write!(formatter, ": {}", self.issue)
    }
}

struct Listed<'a>(&'a [PolicyIssue]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{issue}")?;
        }
        Ok(())
    }
}
