//! `gateway.streams:` what lasts, and how what it was permitted by is looked at meanwhile.

use schemars::JsonSchema;
use serde::Deserialize;

/// `gateway.streams:` An answer, an upload or a tunnel that lasts longer than a second is asked about again: when its
/// token ends or is revoked, when policies change, and when the decision has come to the end of its time. It ends
/// where the answer is no.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StreamsConfig {
    /// A stream goes on for so long while nobody can say whether it may; 0 ends it at once.
    pub grace_secs: u64,
    /// Questions of one worker that are under way at a time because of streams.
    pub questions: usize,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            grace_secs: 10,
            questions: 32,
        }
    }
}
