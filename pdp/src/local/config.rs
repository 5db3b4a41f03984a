//! `connect.pdp.local`: decides here, by what another process hands out.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::line_sink::LineTarget;

use crate::PdpConfig;

/// Decides in this process by signed snapshots of the PDP, which are followed as they change.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// The public half of the PDP's `snapshots.signing_key_file`, as PEM. There may be several, while one is
    /// being replaced.
    pub key_file: PathBuf,
    /// For so long a snapshot decides without the PDP being heard. After that the PDP is asked, and where it
    /// does not answer, nothing is permitted. Milliseconds, at least 1000.
    #[serde(default = "max_age_ms")]
    pub max_age_ms: u64,
    /// Larger snapshots are refused. Bytes.
    #[serde(default = "max_bytes")]
    pub max_bytes: usize,
    /// Where decisions that are made here are recorded, a JSON line each, as at the PDP.
    #[serde(default)]
    pub decision_log: Option<LineTarget>,
    /// The share of permits that the decision log records, from 0 to 1.
    #[serde(default = "all")]
    pub decision_log_sample_permits: f64,
    /// The share of denies, from 0 to 1.
    #[serde(default = "all")]
    pub decision_log_sample_denies: f64,
    /// Names of properties whose values the decision log does not show. Absent: those of `pdp`.
    #[serde(default)]
    pub decision_log_mask: Option<Vec<String>>,
}

impl LocalConfig {
    /// Of the engine.
    pub(super) fn pdp(&self) -> PdpConfig {
        let default = PdpConfig::default();
        PdpConfig {
            decision_log: self.decision_log.clone().unwrap_or(default.decision_log),
            decision_log_mask: self
                .decision_log_mask
                .clone()
                .unwrap_or(default.decision_log_mask),
            decision_log_sample_permits: self.decision_log_sample_permits,
            decision_log_sample_denies: self.decision_log_sample_denies,
            ..PdpConfig::default()
        }
    }
}

fn max_age_ms() -> u64 {
    60_000
}

fn max_bytes() -> usize {
    64 << 20
}

fn all() -> f64 {
    1.0
}
