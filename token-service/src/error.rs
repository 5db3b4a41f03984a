//! What can go wrong: [`TokenServiceError`] at start, [`Trouble`] while a request is answered.

use authzen::DecisionError;
use service_kit::ConfigIssue;
use service_kit::random::RandomError;
use store::StoreError;

/// Why the token service does not start.
#[derive(Debug, thiserror::Error)]
pub enum TokenServiceError {
    /// Everything that is wrong with the configuration.
    #[error("{}", list(.0))]
    Config(Vec<ConfigIssue>),
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The store holds keys that the root secret does not open.
    #[error(
        "the signing keys in the store were sealed with another secret; restore `secret`, or delete the keys to log everybody out"
    )]
    SealedWithAnotherSecret,
    /// Key generation, hashing or the random generator failed.
    #[error("cryptography failed: {message}")]
    Crypto { message: &'static str },
    #[error("metrics cannot be registered")]
    Metric(#[from] service_kit::metrics::MetricError),
    /// A record in the store is not what this version writes.
    #[error("the store holds a record that cannot be read: {message}")]
    Record { message: String },
}

/// Why a request cannot be answered: nothing is known, so nothing is granted. Exhaustive, so
/// that a new cause has to be rendered everywhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the decision point failed")]
    Decision(#[from] DecisionError),
    #[error("a record cannot be read or written: {message}")]
    Record { message: String },
    #[error("cryptography failed: {message}")]
    Crypto { message: &'static str },
    /// More work than is allowed at once.
    #[error("overloaded")]
    Busy,
    /// A JWT is too long for the proxies that carry it.
    #[error("the token for `{resource}` would be {length} bytes long")]
    TooLong { resource: String, length: usize },
}

impl Trouble {
    /// Of building one.
    pub(crate) fn no_http_client(_: reqwest::Error) -> Self {
        Self::Crypto {
            message: "no HTTP client",
        }
    }

    /// Whether the answer is "try later" (503) or "this is broken" (500).
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Store(_) | Self::Decision(_) | Self::Busy => true,
            Self::Record { .. } | Self::Crypto { .. } | Self::TooLong { .. } => false,
        }
    }

    /// The whole chain of causes, for the log.
    pub(crate) fn chain(&self) -> String {
        service_kit::error::chain(self)
    }
}

impl From<RandomError> for Trouble {
    fn from(_: RandomError) -> Self {
        Self::Crypto {
            message: "no randomness",
        }
    }
}

impl From<Trouble> for TokenServiceError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Store(error) => Self::Store(error),
            Trouble::Crypto { message } => Self::Crypto { message },
            Trouble::Record { message } => Self::Record { message },
            // Neither is asked while the service starts.
            Trouble::Decision(_) | Trouble::Busy | Trouble::TooLong { .. } => Self::Crypto {
                message: "not at start",
            },
        }
    }
}

fn list(issues: &[ConfigIssue]) -> String {
    issues
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
