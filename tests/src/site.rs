//! A whole Cedargate: the example configuration files, started as real processes on a loopback
//! address of their own, all in one or split over Redis.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{Process, cedargate, own_address, repository, run};
use crate::recorder::Recorder;
use crate::redis_server::RedisServer;

/// Running processes and where they are.
#[derive(Debug)]
pub struct Site {
    pub host: Ipv4Addr,
    pub folder: TempDir,
    pub redis: Option<RedisServer>,
    /// All in one: the only process. Split: the PDP.
    pub pdp: Process,
    /// Split only.
    pub token_service: Option<Process>,
    pub gateway: Option<Process>,
    pub upstream: Option<Process>,
}

/// One of the two ways to run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    AllInOne,
    Split,
}

impl Site {
    pub fn start(topology: Topology) -> Self {
        match topology {
            Topology::AllInOne => Self::all_in_one(),
            Topology::Split => Self::split(),
        }
    }

    /// One process, redb.
    pub fn all_in_one() -> Self {
        Self::all_in_one_with(|text| text)
    }

    /// The same, by a configuration that is changed before.
    pub fn all_in_one_with(change: impl FnOnce(String) -> String) -> Self {
        let (host, folder) = prepare();
        let file = folder.path().join("config/all-in-one.yaml");
        let text = std::fs::read_to_string(&file).expect("all-in-one.yaml");
        std::fs::write(&file, change(text)).expect("write");
        let mut process = role(folder.path(), host, "all-in-one", &["run"], "");
        process.await_port(SocketAddr::from((host, 8080)));
        Self {
            host,
            folder,
            redis: None,
            pdp: process,
            token_service: None,
            gateway: None,
            upstream: None,
        }
    }

    /// Three processes and the demo upstream, Redis between them.
    pub fn split() -> Self {
        Self::split_with(|text| text)
    }

    /// The same, by a configuration of the token service that is changed before.
    pub fn split_with(change: impl FnOnce(String) -> String) -> Self {
        Self::split_changed(&[("token-service.yaml", &once(change))])
    }

    /// The same, by a configuration of the gateways that is changed before.
    pub fn split_with_gateway(change: impl FnOnce(String) -> String) -> Self {
        Self::split_changed(&[("gateway.yaml", &once(change))])
    }

    /// The same, by configurations that are changed before, each by the name of its file.
    pub fn split_changed(changes: &[(&str, &dyn Fn(String) -> String)]) -> Self {
        Self::split_prepared(|folder| {
            for (name, change) in changes {
                let file = folder.join("config").join(name);
                let text = std::fs::read_to_string(&file).expect(name);
                std::fs::write(&file, change(text)).expect("write");
            }
        })
    }

    /// The same, in a folder of which whatever is wanted is changed before.
    pub fn split_prepared(change: impl FnOnce(&Path)) -> Self {
        let (host, folder) = prepare();
        change(folder.path());
        let redis = RedisServer::start(host, folder.path());
        let url = redis.url();
        let upstream = start_upstream(folder.path(), host);
        let mut pdp = role(folder.path(), host, "pdp", &["pdp"], &url);
        pdp.await_port(SocketAddr::from((host, 8082)));
        let mut token_service = role(
            folder.path(),
            host,
            "token-service",
            &["token-service"],
            &url,
        );
        token_service.await_port(SocketAddr::from((host, 8081)));
        let mut gateway = role(folder.path(), host, "gateway", &["gateway"], &url);
        gateway.await_port(SocketAddr::from((host, 8080)));
        Self {
            host,
            folder,
            redis: Some(redis),
            pdp,
            token_service: Some(token_service),
            gateway: Some(gateway),
            upstream: Some(upstream),
        }
    }

    /// The system under the gateway's attack corpus: its fixture's routes, the recorder as
    /// upstream and as tee in front of the PDP.
    pub async fn for_attacks(recorder: &Recorder) -> Self {
        let (host, folder) = prepare();
        let redis = RedisServer::start(host, folder.path());
        let url = redis.url();
        attack_files(folder.path(), host);
        let at = |port: u16| SocketAddr::from((host, port));
        recorder.start_upstream(at(9000)).await;
        recorder.start_tee(at(8092), at(8082)).await;
        let mut pdp = role(folder.path(), host, "pdp", &["pdp"], &url);
        pdp.await_port(at(8082));
        let mut token_service = role(
            folder.path(),
            host,
            "token-service",
            &["token-service"],
            &url,
        );
        token_service.await_port(at(8081));
        let mut gateway = role(folder.path(), host, "gateway", &["gateway"], &url);
        gateway.await_port(at(8080));
        Self {
            host,
            folder,
            redis: Some(redis),
            pdp,
            token_service: Some(token_service),
            gateway: Some(gateway),
            upstream: None,
        }
    }

    /// One more gateway process of a split site, on an address of its own.
    pub fn second_gateway(&self) -> (Ipv4Addr, Process) {
        self.another_gateway("gateway-2", |text| text)
    }

    /// The same, by a configuration that is changed before.
    pub fn another_gateway(
        &self,
        name: &str,
        change: impl FnOnce(String) -> String,
    ) -> (Ipv4Addr, Process) {
        let host = own_address();
        let text = std::fs::read_to_string(self.folder.path().join("config/gateway.yaml"))
            .expect("gateway.yaml")
            .replace(&format!("{}:8080", self.host), &format!("{host}:8080"))
            .replace(&format!("{}:9901", self.host), &format!("{host}:9901"));
        let file = self.folder.path().join(format!("config/{name}.yaml"));
        std::fs::write(file, change(text)).expect("write");
        (host, self.restart_gateway(name, host))
    }

    /// Starts a gateway by a configuration that is there already.
    pub fn restart_gateway(&self, name: &str, host: Ipv4Addr) -> Process {
        let url = self.redis.as_ref().expect("split").url();
        let mut process = role(self.folder.path(), self.host, name, &["gateway"], &url);
        process.await_port(SocketAddr::from((host, 8080)));
        process
    }

    /// Starts a role of a split site again, after it was killed.
    pub fn restart(&self, name: &str) -> Process {
        let url = self
            .redis
            .as_ref()
            .map(RedisServer::url)
            .unwrap_or_default();
        let (arguments, port): (&[&str], u16) = match name {
            "all-in-one" => (&["run"], 8080),
            "pdp" => (&["pdp"], 8082),
            "token-service" => (&["token-service"], 8081),
            "gateway" => (&["gateway"], 8080),
            _ => panic!("no role {name}"),
        };
        let mut process = role(self.folder.path(), self.host, name, arguments, &url);
        process.await_port(SocketAddr::from((self.host, port)));
        process
    }

    /// Starts a process that takes the place of one that runs, by the configuration that is there now.
    pub fn take_over(&self, name: &str) -> Process {
        let url = self.redis.as_ref().map(RedisServer::url);
        let role_name = if name == "all-in-one" { "run" } else { name };
        role(
            self.folder.path(),
            self.host,
            name,
            &[role_name, "--take-over"],
            &url.unwrap_or_default(),
        )
    }

    /// Starts an all-in-one site again, after it was killed, as a process that may have so many files open.
    pub fn restart_with_files(&self, files: u32) -> Process {
        let mut command = Command::new("sh");
        let limited = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        command.arg("-c").arg(limited).arg(cedargate());
        let (folder, name) = (self.folder.path(), (self.host, "all-in-one"));
        role_by(command, folder, name, &["run"], "")
    }

    pub fn gateway_url(&self, path: &str) -> String {
        format!("http://{}:8080{path}", self.host)
    }

    pub fn token_service_url(&self, path: &str) -> String {
        format!("http://{}:8081{path}", self.host)
    }

    pub fn pdp_url(&self, path: &str) -> String {
        format!("http://{}:8082{path}", self.host)
    }

    /// The folder of the policies that decide here.
    pub fn policies(&self) -> PathBuf {
        self.folder.path().join("policies/records")
    }

    /// Something in the folder that its processes run in.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `script/tour` against this site.
    pub fn tour(&self) -> String {
        run(
            repository().join("script/tour"),
            &[],
            &[
                ("GATEWAY", &self.gateway_url("")),
                ("TOKEN_SERVICE", &self.token_service_url("")),
                ("CEDARGATE", &cedargate().display().to_string()),
            ],
        )
    }
}

/// A change that is made once, as one that could be made again.
fn once(change: impl FnOnce(String) -> String) -> impl Fn(String) -> String {
    let change = std::cell::Cell::new(Some(change));
    move |text| change.take().expect("it is made once")(text)
}

/// Asks until `good` says yes; panics when patience ends.
pub async fn eventually<F, Fut>(what: &str, patience: Duration, mut good: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let end = Instant::now() + patience;
    while !good().await {
        assert!(Instant::now() < end, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The address that a site's configuration was moved to.
pub fn host(text: &str) -> String {
    let (before, _) = text.split_once(":8081").expect("a token service");
    let start = before.rfind(|it: char| !it.is_ascii_digit() && it != '.');
    before[start.map_or(0, |at| at + 1)..].to_owned()
}

/// The records API of the demo by itself.
pub fn start_upstream(folder: &Path, host: Ipv4Addr) -> Process {
    let address = SocketAddr::from((host, 9000));
    let mut upstream = Process::start(
        "upstream",
        folder,
        Command::new(cedargate()).args(["demo-upstream", "--listen", &address.to_string()]),
    );
    upstream.await_port(address);
    upstream
}

/// A folder with the example configuration, moved to an address of its own.
fn prepare() -> (Ipv4Addr, TempDir) {
    let host = own_address();
    let folder = TempDir::new().expect("temporary folder");
    for part in ["config", "policies/records", "data"] {
        std::fs::create_dir_all(folder.path().join(part)).expect("folder");
    }
    copy(
        &repository().join("policies/records"),
        &folder.path().join("policies/records"),
        |text| text,
    );
    copy(
        &repository().join("config"),
        &folder.path().join("config"),
        |text| text.replace("127.0.0.1:", &format!("{host}:")),
    );
    (host, folder)
}

/// Replaces the demo's domain by that of the attack corpus; `ada` becomes its admin.
fn attack_files(folder: &Path, host: Ipv4Addr) {
    let fixture = repository().join("tests/fixtures/attacks");
    let policies = folder.join("policies/records");
    std::fs::remove_dir_all(&policies).expect("remove");
    std::fs::create_dir_all(&policies).expect("folder");
    for name in ["schema.cedarschema", "attacks.cedar", "entities.json"] {
        std::fs::copy(fixture.join(name), policies.join(name)).expect("copy");
    }
    let change = |name: &str, change: &dyn Fn(String) -> String| {
        let path = folder.join("config").join(name);
        let text = std::fs::read_to_string(&path).expect("text");
        std::fs::write(path, change(text)).expect("write");
    };
    change("token-service.yaml", &|text| {
        let client = std::fs::read_to_string(fixture.join("client-part.yaml")).expect("part");
        let clients = format!("  clients:\n{}", client.replace("HOST", &host.to_string()));
        text.replace("roles: [auditor]", "roles: [admin]")
            .replacen("  clients:\n", &clients, 1)
    });
    change("gateway.yaml", &|text| {
        let (head, _) = text.split_once("\ngateway:").expect("a gateway section");
        let part = std::fs::read_to_string(fixture.join("gateway-part.yaml")).expect("part");
        let head = head.replace(":8082", ":8092");
        format!("{head}\n{}", part.replace("HOST", &host.to_string()))
    });
}

fn copy(from: &Path, to: &Path, change: impl Fn(String) -> String) {
    for entry in std::fs::read_dir(from).expect("folder") {
        let entry = entry.expect("entry");
        if entry.file_type().expect("type").is_file() {
            let text = std::fs::read_to_string(entry.path()).expect("text");
            std::fs::write(to.join(entry.file_name()), change(text)).expect("write");
        }
    }
}

fn role(folder: &Path, host: Ipv4Addr, name: &str, arguments: &[&str], redis: &str) -> Process {
    let command = Command::new(cedargate());
    role_by(command, folder, (host, name), arguments, redis)
}

/// By a command that only lacks the role's arguments.
fn role_by(
    mut command: Command,
    folder: &Path,
    (host, name): (Ipv4Addr, &str),
    arguments: &[&str],
    redis: &str,
) -> Process {
    command
        .args(arguments)
        .arg("-c")
        .arg(folder.join(format!("config/{name}.yaml")))
        .current_dir(folder)
        .env(
            "CEDARGATE_TOKEN_SECRET",
            "a secret of the tests, long enough to be taken",
        )
        .env(
            "CEDARGATE_CACHE_SECRET",
            "another secret of the tests, also long enough",
        )
        .env("CEDARGATE_GATEWAY_SECRET", "demo-secret-of-gateway")
        .env(
            "CEDARGATE_SESSION_SECRET",
            "one more secret of the tests, long enough, too",
        )
        .env(
            "CEDARGATE_REDIS_URL",
            if redis.is_empty() {
                format!("redis://{host}:6379")
            } else {
                redis.to_owned()
            },
        );
    Process::start(name, folder, &mut command)
}
