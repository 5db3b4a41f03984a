//! Child processes that are never left behind, and whose output is kept for the failure report.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command with both outputs in `folder/NAME.log`.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("clone"))
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// `kill -TERM`.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// `kill -NAME`.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for the end; the exit status.
    pub fn wait(&mut self, patience: Duration) -> std::process::ExitStatus {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            assert!(
                Instant::now() < end,
                "{} did not end:\n{}",
                self.name,
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has printed something.
    pub fn await_output(&mut self, text: &str) {
        self.await_output_times(text, 1);
    }

    /// The same, so often: processes that follow each other share a log.
    pub fn await_output_times(&mut self, text: &str, times: usize) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.output().matches(text).count() < times {
            let is_up = self.child.try_wait().expect("wait").is_none();
            assert!(
                is_up && Instant::now() < end,
                "{} does not say `{text}`:\n{}",
                self.name,
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it accepts connections.
    pub fn await_port(&mut self, address: SocketAddr) {
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            if let Some(status) = self.child.try_wait().expect("wait") {
                panic!("{} ended with {status}:\n{}", self.name, self.output());
            }
            assert!(
                Instant::now() < end,
                "{} is not up:\n{}",
                self.name,
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<_> = output.lines().rev().take(40).collect();
            eprintln!("--- last lines of {}", self.name);
            for line in tail.into_iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

/// `kill -NAME`, of whatever process.
pub fn signal(id: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &id.to_string()])
        .status();
    assert!(sent.expect("kill").success());
}

/// The product's binary.
pub fn cedargate() -> PathBuf {
    program("cedargate-under-test")
}

/// A program of this package.
pub fn program(name: &str) -> PathBuf {
    // Test binaries are in target/PROFILE/deps, programs one folder up.
    let mut path = std::env::current_exe().expect("own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    let path = path.join(name);
    assert!(
        path.exists(),
        "`{}` is not built: cargo test -p e2e builds it",
        path.display()
    );
    path
}

/// A loopback address that no other test uses: every process has its own /24, every call its
/// own host, so that fixed ports never clash and none is picked, released and bound again.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_be_bytes();
    let host = NEXT.fetch_add(1, Ordering::SeqCst);
    assert!(host < 250, "out of addresses");
    Ipv4Addr::new(127, 1 + (process[2] & 0x7f), process[3], host)
}

/// The root of the source tree.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("parent")
        .to_owned()
}

/// Runs a command to its end; panics unless it succeeds. Its standard output.
pub fn run(program: impl AsRef<OsStr>, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(repository())
        .output()
        .expect("starts");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?} ended with {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
