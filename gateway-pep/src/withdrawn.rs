//! Why what lasts is ended.

/// Why a stream may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Withdrawn {
    #[error("its token is not valid any more")]
    Token,
    #[error("it is not permitted any more")]
    Denied,
    #[error("it is permitted on other conditions now")]
    Obligation,
    #[error("nobody can say whether it is still permitted")]
    Unanswered,
}

impl Withdrawn {
    pub(crate) const ALL: [Self; 4] = [
        Self::Token,
        Self::Denied,
        Self::Obligation,
        Self::Unanswered,
    ];

    /// As metrics and logs name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Token => "stream_token_invalid",
            Self::Denied => "stream_denied",
            Self::Obligation => "stream_obligation",
            Self::Unanswered => "stream_unanswered",
        }
    }
}
