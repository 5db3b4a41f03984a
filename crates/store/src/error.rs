//! Why a store could not say or do.

/// Deliberately exhaustive. Whatever the cause, the caller must refuse rather than guess.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reachable or shutting down; asking again may help.
    #[error("the store is not available")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    #[error("the store did not answer in time")]
    Timeout,
    /// A key, value or cursor that the contract does not allow.
    #[error("the store refused: {message}")]
    Refused { message: String },
    /// The backend is broken, or holds what it should not.
    #[error("the store failed: {message}")]
    Internal {
        message: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl StoreError {
    /// Whether asking again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Timeout => true,
            Self::Refused { .. } | Self::Internal { .. } => false,
        }
    }

    /// Whether a file is open in another process: that may end.
    pub(crate) fn is_open_elsewhere(&self) -> bool {
        let Self::Internal {
            source: Some(source),
            ..
        } = self
        else {
            return false;
        };
        matches!(
            source.downcast_ref(),
            Some(redb::DatabaseError::DatabaseAlreadyOpen)
        )
    }
}
