//! What decides, as it is handed on: the document of the last snapshot, and a statement about it that is signed
//! for each who asks.

mod document;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use service_kit::{ConfigIssue, random};
use tokio::sync::watch;

pub(crate) use document::{Document, FORMAT, STATEMENT, STATEMENT_HEADER, Statement, Written};

use crate::PdpConfig;
use crate::signing::SigningKey;

const KEY: &str = "pdp.snapshots.signing_key_file";

/// Where a PDP's snapshots are handed out.
#[derive(Debug)]
pub(crate) struct Handout {
    key: SigningKey,
    /// Of this process.
    instance: String,
    max_bytes: usize,
    current: watch::Sender<Option<Arc<Written>>>,
}

impl Handout {
    pub(crate) fn open(config: &PdpConfig, base: &Path) -> Result<Option<Self>, ConfigIssue> {
        let Some(snapshots) = &config.snapshots else {
            return Ok(None);
        };
        if !config.attribute_providers.is_empty() {
            return Err(ConfigIssue::new(
                "`pdp.snapshots` and `pdp.attribute_providers` are both given",
            )
            .hint(
                "whoever decides by a snapshot cannot ask the providers, and would decide otherwise: keep one",
            ));
        }
        let key = SigningKey::read(KEY, &base.join(&snapshots.signing_key_file))?;
        let instance = random::id().map_err(|error| ConfigIssue::new(error.to_string()))?;
        Ok(Some(Self {
            key,
            instance,
            max_bytes: snapshots.max_bytes,
            current: watch::Sender::new(None),
        }))
    }

    /// From now on this is what decides. None: it cannot be written.
    pub(crate) fn hand(&self, written: Option<Written>) {
        let most = self.max_bytes;
        let fitting = written.filter(|written| written.bytes.len() <= most);
        if fitting.is_none() {
            tracing::error!(
                max_bytes = most,
                "the snapshot cannot be handed out; whoever decides by it will ask instead"
            );
        }
        self.current.send_replace(fitting.map(Arc::new));
    }

    /// What decides now, once that is another document than `have`, or after `wait`. None: there is none to
    /// be had.
    pub(crate) async fn after(&self, have: Option<&str>, wait: Duration) -> Option<Arc<Written>> {
        let mut current = self.current.subscribe();
        let is_news = |written: &Option<Arc<Written>>| {
            written
                .as_ref()
                .is_some_and(|written| Some(&*written.digest) != have)
        };
        let waited = tokio::time::timeout(wait, current.wait_for(is_news)).await;
        if let Ok(Ok(news)) = waited {
            return news.clone();
        }
        self.current.borrow().clone()
    }

    /// What is said of a document to one who asks.
    pub(crate) fn state(&self, written: &Written, nonce: &str) -> Option<String> {
        let statement = Statement {
            nonce: nonce.to_owned(),
            document: written.digest.clone(),
            bytes: written.bytes.len(),
            instance: self.instance.clone(),
            since: written.since,
            snapshot: written.snapshot.clone(),
        };
        let claims = serde_json::to_value(&statement).ok()?;
        self.key.sign(STATEMENT, &claims)
    }
}
