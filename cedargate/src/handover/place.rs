//! The path at which a process hands over: a Unix socket that takes the place of whatever was there.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UnixListener;

use crate::config::lifecycle_folder;

/// A socket with a name.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file: whether it is still ours.
    file: (u64, u64),
    is_left: AtomicBool,
}

impl Place {
    /// Takes it. Whoever had it before is not reached there any more.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        let folder = lifecycle_folder(path);
        if !folder.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let mut own = path.as_os_str().to_owned();
        own.push(format!(".{}", std::process::id()));
        let own = PathBuf::from(own);
        match std::fs::remove_file(&own) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&own)?;
        std::fs::set_permissions(&own, Permissions::from_mode(0o600))?;
        let file = number(&own)?;
        std::fs::rename(&own, path)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file,
            is_left: AtomicBool::new(false),
        })
    }

    /// Leaves the name to the process that has taken over: it takes it about now, and must not lose it between a look
    /// at whose it is and its removal.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_left.load(Ordering::Relaxed) {
            return;
        }
        // It may be another process's by now.
        if number(&self.path).is_ok_and(|file| file == self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn number(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_who_takes_it_has_it_and_leaves_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("made/socket");
        let first = Place::take(&path).unwrap();
        let made = std::fs::metadata(folder.path().join("made")).unwrap();
        assert_eq!(made.mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        // In this process it has the same name meanwhile.
        let second = Place::take(&path).unwrap();
        drop(first);
        let reached = tokio::net::UnixStream::connect(&path).await;
        assert!(reached.is_ok());
        assert!(second.listener.accept().await.is_ok());
        // Whose name is left to another one has nothing to do with what becomes of it.
        let third = Place::take(&path).unwrap();
        third.leave();
        drop(third);
        assert!(path.exists());
        drop(second);
        assert!(path.exists());
        drop(Place::take(&path).unwrap());
        let left = std::fs::read_dir(folder.path().join("made")).unwrap();
        assert_eq!(left.count(), 0);
    }
}
