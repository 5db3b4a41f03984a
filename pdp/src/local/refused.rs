//! Why no snapshot was taken.

use ::http::StatusCode;

/// Why an answer of the decision point is not taken. What is held goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the decision point cannot be reached: {0}")]
    Unreachable(String),
    #[error("the decision point answers {0}")]
    Status(StatusCode),
    #[error("its statement is not signed by a key of `key_file`: {0}")]
    Signature(#[source] jose::Fault),
    /// Said to somebody else, or before.
    #[error("its statement is not about this question")]
    Replayed,
    #[error("the document is not the one that was signed")]
    Tampered,
    #[error("it is larger than `max_bytes`")]
    TooLarge,
    #[error("it is older than what is held")]
    Older,
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
    #[error("what it holds is not valid here: {0}")]
    Invalid(String),
}

impl Refused {
    /// Whether it is so until the decision point decides by something else.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::TooLarge | Self::Unreadable(_) | Self::Invalid(_) => true,
            Self::Unreachable(_)
            | Self::Status(_)
            | Self::Signature(_)
            | Self::Replayed
            | Self::Tampered
            | Self::Older => false,
        }
    }

    /// As metrics name it.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Status(_) => "status",
            Self::Signature(_) => "signature",
            Self::Replayed => "replayed",
            Self::Tampered => "tampered",
            Self::TooLarge => "too_large",
            Self::Older => "older",
            Self::Unreadable(_) => "unreadable",
            Self::Invalid(_) => "invalid",
        }
    }
}
