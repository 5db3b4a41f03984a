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
    /// Reads the file. The error says what is wrong with it.
    pub(super) fn open(file: &Path, base: &Path) -> Result<Self, String> {
        let file = base.join(file);
        let token = read(&file)?;
        Ok(Self {
            file,
            last: ArcSwap::from_pointee(token),
        })
    }

    pub(super) fn token(&self) -> Arc<Secret> {
        self.last.load_full()
    }

    /// Reads the file again, where a token has been refused. True: there is another one now. What is
    /// no token, as while it is written, leaves the one that there is.
    pub(super) async fn is_renewed(&self, refused: &Secret) -> bool {
        let file = self.file.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || read(&file)).await else {
            return false;
        };
        match found {
            Ok(found) if !found.matches(refused.reveal()) => {
                self.last.store(Arc::new(found));
                true
            }
            Ok(_) => false,
            Err(why) => {
                tracing::warn!(why, "a bearer token that was refused cannot be read again");
                false
            }
        }
    }
}

/// A token that can be sent: what cannot be would never be refused, and so never be read again.
fn read(file: &Path) -> Result<Secret, String> {
    let name = file.display();
    match Secret::bearer(file) {
        Ok(Some(token)) => Ok(token),
        Ok(None) => Err(format!("`http.bearer_file`: `{name}` is not one token")),
        Err(error) => Err(format!("`http.bearer_file`: cannot read `{name}`: {error}")),
    }
}
