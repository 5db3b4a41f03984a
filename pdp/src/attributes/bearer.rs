//! A bearer token from a file, which may be changed while it is in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::http::HeaderValue;
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
    let (name, here) = ("http.bearer", Path::new(""));
    let text = Secret::from_config(name, None, Some(&file.to_owned()), here);
    let text = text.map_err(|issue| issue.message)?;
    let token = text.reveal().trim();
    if token.is_empty() || HeaderValue::from_str(token).is_err() {
        let file = file.display();
        return Err(format!("`http.bearer_file`: `{file}` is not one token"));
    }
    Ok(Secret::new(token))
}
