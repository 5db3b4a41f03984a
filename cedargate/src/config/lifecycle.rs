//! `lifecycle:` how a process ends, and how another one takes its place.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::ConfigIssue;

/// `lifecycle:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleConfig {
    /// A Unix socket at which another process of this program, started with `--take-over` by the same user, is given
    /// the listeners and the store of this one, which then ends. It is made there, in a folder that nobody else can
    /// write to. Absent: nobody takes over.
    pub handover_socket: Option<PathBuf>,
    /// Told to stop, the process says for so many seconds that it is not ready (`/readyz`), and serves as ever, so
    /// that load balancers turn away before it takes no more connections.
    #[schemars(range(min = 0, max = 3600))]
    pub not_ready_secs: u64,
    /// What has begun gets so many seconds to end after that. Then it is cut off.
    #[schemars(range(min = 1, max = 86_400))]
    pub finish_secs: u64,
    /// The same where another process has taken over: long downloads, streams and tunnels among it.
    #[schemars(range(min = 1, max = 86_400))]
    pub handover_finish_secs: u64,
}

/// What the system takes as the path of a Unix socket, with room for what is put behind it meanwhile.
const MOST_PATH_BYTES: usize = 90;

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self {
            handover_socket: None,
            not_ready_secs: 0,
            finish_secs: 30,
            handover_finish_secs: 600,
        }
    }
}

impl LifecycleConfig {
    /// Everything that is wrong with it.
    pub fn check(&self, base: &Path) -> Vec<ConfigIssue> {
        let mut issues = Vec::new();
        for (key, value, least, most) in [
            ("not_ready_secs", self.not_ready_secs, 0, 3600),
            ("finish_secs", self.finish_secs, 1, 86_400),
            ("handover_finish_secs", self.handover_finish_secs, 1, 86_400),
        ] {
            if !(least..=most).contains(&value) {
                issues.push(ConfigIssue::new(format!(
                    "`lifecycle.{key}` must be from {least} to {most}"
                )));
            }
        }
        issues.extend(self.socket(base).and_then(|path| unfit(&path)));
        issues
    }

    /// Where it hands over.
    pub fn socket(&self, base: &Path) -> Option<PathBuf> {
        self.handover_socket.as_ref().map(|path| base.join(path))
    }

    pub fn not_ready(&self) -> Duration {
        Duration::from_secs(self.not_ready_secs)
    }

    pub fn finish(&self) -> Duration {
        Duration::from_secs(self.finish_secs)
    }

    pub fn handover_finish(&self) -> Duration {
        Duration::from_secs(self.handover_finish_secs)
    }
}

/// Why no socket can be there. A folder that is missing is made.
fn unfit(path: &Path) -> Option<ConfigIssue> {
    if path.as_os_str().len() > MOST_PATH_BYTES {
        let (length, path) = (path.as_os_str().len(), path.display());
        return Some(
            ConfigIssue::new(format!(
                "`lifecycle.handover_socket`: `{path}` has {length} bytes, and a socket's path may have \
                 {MOST_PATH_BYTES}"
            ))
            .hint("write an absolute path, such as `/run/cedargate/handover.sock`"),
        );
    }
    let folder = folder(path);
    let found = std::fs::metadata(folder).ok()?;
    let folder = folder.display();
    if !found.is_dir() {
        return Some(ConfigIssue::new(format!(
            "`lifecycle.handover_socket`: `{folder}` is no folder"
        )));
    }
    // SECURITY: whoever can write there could put a socket of their own in the place of ours.
    if found.mode() & 0o022 != 0 {
        return Some(
            ConfigIssue::new(format!(
                "`lifecycle.handover_socket`: others than its owner can write to the folder `{folder}`"
            ))
            .hint("name a folder of its own for it; one that is missing is made"),
        );
    }
    None
}

/// The folder that a socket is in.
pub(crate) fn folder(path: &Path) -> &Path {
    let parent = path.parent();
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn of(socket: &Path) -> LifecycleConfig {
        LifecycleConfig {
            handover_socket: Some(socket.to_owned()),
            ..LifecycleConfig::default()
        }
    }

    #[test]
    fn a_socket_is_where_nobody_else_can_put_one() {
        let base = tempfile::TempDir::new().unwrap();
        let said = |config: &LifecycleConfig| {
            let issues = config.check(base.path()).into_iter();
            issues.map(|it| it.message).collect::<Vec<_>>()
        };
        assert!(said(&LifecycleConfig::default()).is_empty());
        assert!(said(&of(Path::new("missing/socket"))).is_empty());
        assert!(said(&of(Path::new("socket"))).is_empty());
        let open = base.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(said(&of(Path::new("open/socket")))[0].contains("others"));
        let long = "a".repeat(100);
        assert!(said(&of(Path::new(&long)))[0].contains("bytes"));
        std::fs::write(base.path().join("file"), "").unwrap();
        assert!(said(&of(Path::new("file/socket")))[0].contains("no folder"));
    }

    #[test]
    fn times_have_bounds() {
        let config = LifecycleConfig {
            not_ready_secs: 3601,
            finish_secs: 0,
            handover_finish_secs: 86_401,
            ..LifecycleConfig::default()
        };
        assert_eq!(config.check(Path::new("")).len(), 3);
    }
}
