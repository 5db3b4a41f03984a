//! A real Redis of the test's own: append-only, synced at every write.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;

/// A running `redis-server`.
#[derive(Debug)]
pub struct RedisServer {
    address: SocketAddr,
    folder: PathBuf,
    process: Process,
}

impl RedisServer {
    pub fn start(host: Ipv4Addr, folder: &Path) -> Self {
        let address = SocketAddr::from((host, 6379));
        let process = Self::spawn(address, folder);
        Self {
            address,
            folder: folder.to_owned(),
            process,
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same files.
    pub fn restart(&mut self) {
        self.process = Self::spawn(self.address, &self.folder);
    }

    /// Runs one command.
    pub fn command(&self, arguments: &[&str]) -> String {
        let host = self.address.ip().to_string();
        let output = Command::new("redis-cli")
            .args(["-h", &host])
            .args(arguments)
            .output();
        String::from_utf8_lossy(&output.expect("redis-cli").stdout).into_owned()
    }

    fn spawn(address: SocketAddr, folder: &Path) -> Process {
        let mut command = Command::new("redis-server");
        command
            .args([
                "--bind",
                &address.ip().to_string(),
                "--port",
                &address.port().to_string(),
            ])
            .args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
            ])
            .args(["--protected-mode", "no", "--dir"])
            .arg(folder);
        let mut process = Process::start("redis", folder, &mut command);
        process.await_port(address);
        process
    }
}
