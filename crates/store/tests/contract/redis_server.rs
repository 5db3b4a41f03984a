//! A Redis of the test's own: durable, in a temporary folder, on a socket nobody else knows.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use store::{RedisConfig, Store};
use tempfile::TempDir;

/// Stopped when dropped.
pub(crate) struct RedisServer {
    folder: TempDir,
    arguments: Vec<String>,
    process: Child,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more of `redis.conf` on the command line. Returns when it answers.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let process = spawn(folder.path(), &arguments);
        let server = Self {
            folder,
            arguments,
            process,
        };
        server.wait_until_ready().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", socket(self.folder.path()).display())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// On the same files and the same socket, after a `kill`.
    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(self.folder.path(), &self.arguments);
        self.wait_until_ready().await;
    }

    /// The process stays, but does nothing until [`Self::thaw`].
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// What an operator would type.
    pub(crate) async fn command(&self, command: &[&str]) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.exec_async(&mut connection).await.unwrap();
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success(), "kill {signal} {pid}");
    }

    /// Any answer will do, also that a password is missing; not that it is still loading.
    async fn wait_until_ready(&self) {
        let store = crate::backends::redis_with(&RedisConfig::at(self.url()));
        for _ in 0..500 {
            match store.ping().await {
                Err(error) if error.is_transient() => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(()) | Err(_) => return,
            }
        }
        panic!("redis-server does not answer on {}", self.url());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may be dead already: some tests kill it.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

fn spawn(folder: &Path, arguments: &[String]) -> Child {
    let socket = socket(folder);
    let durable: [&OsStr; 14] = [
        "--unixsocket".as_ref(),
        socket.as_ref(),
        "--dir".as_ref(),
        folder.as_ref(),
        "--appendonly".as_ref(),
        "yes".as_ref(),
        "--appendfsync".as_ref(),
        "always".as_ref(),
        "--save".as_ref(),
        "".as_ref(),
        "--port".as_ref(),
        "0".as_ref(),
        "--loglevel".as_ref(),
        "warning".as_ref(),
    ];
    let started = Command::new("redis-server")
        .args(durable)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.unwrap_or_else(|error| {
        panic!(
            "these tests need `redis-server` 6.2 or later in PATH ({error}); \
             on Debian: apt-get install redis-server"
        )
    })
}
