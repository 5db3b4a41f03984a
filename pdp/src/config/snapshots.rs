//! `pdp.snapshots`: everything that decides, signed, for those who decide where they are.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// How snapshots are handed out at `/cedar/v1/snapshot`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotsConfig {
    /// A private key (PEM, PKCS#8, P-256 or Ed25519) that signs them. Whoever decides by them knows its
    /// public half.
    pub signing_key_file: PathBuf,
    /// Larger ones are not handed out. Bytes.
    #[serde(default = "max_bytes")]
    pub max_bytes: usize,
}

fn max_bytes() -> usize {
    64 << 20
}
