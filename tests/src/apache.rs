//! Debian's Apache, as an instance of the test's own: one process, a configuration and a folder of its
//! own, no port below 1024.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::process::Process;

/// A running Apache; gone when dropped.
#[derive(Debug)]
pub struct Apache {
    // Before the folder that it writes to.
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

const MODULES: &str = "/usr/lib/apache2/modules";

const PROGRAM: &str = "/usr/sbin/apache2";

impl Apache {
    /// Serves `files` (their paths and texts) as `configuration` says, which loads its modules by
    /// `LoadModule NAME_module MODULES/mod_NAME.so`.
    pub fn start(address: SocketAddr, configuration: &str, files: &[(&str, &str)]) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "Apache is not installed: run `script/test install`"
        );
        let folder = TempDir::new().expect("temporary folder");
        let root = folder.path();
        // Started by root, it serves as somebody else.
        std::fs::set_permissions(root, PermissionsExt::from_mode(0o755)).expect("permissions");
        for (path, text) in files {
            let path = root.join("www").join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, text).expect("file");
        }
        let file = root.join("apache.conf");
        let around = around(root, address);
        let text = format!("{around}{}", configuration.replace("MODULES", MODULES));
        std::fs::write(&file, text).expect("configuration");
        let mut command = Command::new(PROGRAM);
        // One process, which is gone when it is killed.
        command.arg("-X").arg("-f").arg(&file);
        let mut process = Process::start("apache", root, &mut command);
        process.await_port(address);
        Self {
            process,
            address,
            _folder: folder,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What its modules have to say, warnings and worse.
    pub fn log(&self) -> String {
        self.process.output()
    }
}

/// What every instance has.
fn around(root: &Path, address: SocketAddr) -> String {
    let root = root.display();
    format!(
        "ServerRoot {root}
ServerName {}
Listen {address}
PidFile {root}/apache.pid
DefaultRuntimeDir {root}
Mutex file:{root} default
ErrorLog /dev/stderr
LogLevel warn
User nobody
Group nogroup
LoadModule mpm_event_module {MODULES}/mod_mpm_event.so
LoadModule authn_core_module {MODULES}/mod_authn_core.so
LoadModule authz_core_module {MODULES}/mod_authz_core.so
LoadModule authz_user_module {MODULES}/mod_authz_user.so
LoadModule headers_module {MODULES}/mod_headers.so
DocumentRoot {root}/www
",
        address.ip()
    )
}
