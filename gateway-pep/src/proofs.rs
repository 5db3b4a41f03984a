//! DPoP proofs that were used (RFC 9449 section 11.1): each is good once, at all gateways that share
//! the store. Nothing of a proof can be read there.
//!
//! What is kept is bounded: only what holds is remembered, under a name of fixed length, and for no
//! longer than some gateway could still take it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oauth::DpopProof;
use service_kit::{UnixTime, digest};
use store::{Store, StoreError};
use tokio::time::timeout;

/// What was used.
#[derive(Debug, Clone)]
pub(crate) struct Proofs {
    store: Arc<dyn Store>,
    patience: Duration,
}

/// The clock of another gateway may be so far behind ours, by which a proof is good for longer.
const GRACE: Duration = Duration::from_mins(1);

impl Proofs {
    pub(crate) fn new(store: Arc<dyn Store>, patience: Duration) -> Self {
        Self { store, patience }
    }

    /// Uses a proof up; false where it was used before. An `Err`: nobody knows.
    pub(crate) async fn use_up(
        &self,
        proof: &DpopProof,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let keep = UnixTime::from_secs(proof.end()).since(now) + GRACE;
        let used = Bytes::from_static(b"used");
        let name = name(proof);
        let putting = self.store.put_new(&name, used, Some(keep));
        timeout(self.patience, putting)
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }
}

/// Of one key: nobody can use up the proofs of another.
fn name(proof: &DpopProof) -> String {
    // A thumbprint has but one length, so no two pairs have the same text.
    let text = format!("{}{}", proof.thumbprint(), proof.id());
    format!(
        "gateway-proof:{}",
        digest::sha256_base64url(text.as_bytes())
    )
}
