//! A bearer token from a file, which may be changed while it is in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use service_kit::Secret;

/// The token as the file had it when it was last read.
#[derive(Debug)]
pub(super) struct Bearer {
    file: PathBuf,
    last: ArcSwap<Secret>,
}

impl Bearer {
    /// Reads the file. The error says which one cannot be read.
    pub(super) fn open(file: &Path, base: &Path) -> Result<Self, String> {
        let path = base.join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let file = file.display();
            format!("`http.bearer_file` {file} cannot be read: {error}")
        })?;
        Ok(Self {
            file: path,
            last: ArcSwap::from_pointee(Secret::new(text.trim())),
        })
    }

    pub(super) fn token(&self) -> Arc<Secret> {
        self.last.load_full()
    }

    /// Reads the file again, where a token has been refused. True: there is another one now. What
    /// cannot be read, or is empty while it is written, leaves the one that there is.
    pub(super) async fn is_renewed(&self, refused: &Secret) -> bool {
        let read = tokio::fs::read_to_string(&self.file).await;
        let read = read.inspect_err(|error| {
            tracing::warn!(%error, file = %self.file.display(), "a bearer token cannot be read again");
        });
        let found = Secret::new(read.unwrap_or_default().trim());
        if found.reveal().is_empty() || found.matches(refused.reveal()) {
            return false;
        }
        self.last.store(Arc::new(found));
        true
    }
}
