//! Why a provider's word does not count.

/// Why nobody is logged in. The texts are for the log, and of a closed set: what a provider sends is
/// repeated nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing is known.
    #[error("the provider does not answer as one: {0}")]
    Down(&'static str),
    /// The person, or the provider, said no.
    #[error("the provider says no: {0}")]
    Denied(&'static str),
    #[error("the provider's answer does not hold: {0}")]
    Invalid(&'static str),
    /// It has not seen the person as lately as the application wants.
    #[error("the provider has not seen them lately enough, or does not say")]
    Stale,
    /// By the rules of our configuration.
    #[error("not let in: {0}")]
    Unwanted(&'static str),
}
