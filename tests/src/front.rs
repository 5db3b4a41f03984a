//! Proxies of others in front of a site, by the example files of `config/proxies`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, repository};

/// Examples of those that ask the gateway, and forward themselves.
const ASKING: &str = "config/proxies";

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Nginx,
    Caddy,
    Envoy,
    EnvoyGrpc,
    HaProxy,
    /// Passes bytes on.
    HaProxyTcp,
}

/// One that runs; gone when dropped.
#[derive(Debug)]
pub struct RunningFront {
    // Before the folder that it writes to.
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Front {
    pub const ALL: [Self; 5] = [
        Self::Nginx,
        Self::Caddy,
        Self::Envoy,
        Self::EnvoyGrpc,
        Self::HaProxy,
    ];

    /// Those with an example of being in front of the gateway itself.
    pub const IN_FRONT: [Self; 4] = [Self::Nginx, Self::Caddy, Self::Envoy, Self::HaProxy];

    /// In front of the gateway of a site, to which it sends everything.
    pub fn start_in_front(self, host: Ipv4Addr) -> RunningFront {
        self.start_in_front_with(host, |text| text)
    }

    /// With an example file that is changed.
    pub fn start_in_front_with(
        self,
        host: Ipv4Addr,
        change: impl Fn(String) -> String,
    ) -> RunningFront {
        self.start_by("config/proxies/in-front", host, change)
    }

    /// In front of the services of a site, at this address.
    pub fn start(self, host: Ipv4Addr) -> RunningFront {
        self.start_with(host, |text| text)
    }

    /// With an example file that is changed.
    pub fn start_with(self, host: Ipv4Addr, change: impl Fn(String) -> String) -> RunningFront {
        self.start_by(ASKING, host, change)
    }

    fn start_by(
        self,
        examples: &str,
        host: Ipv4Addr,
        change: impl Fn(String) -> String,
    ) -> RunningFront {
        let folder = TempDir::new().expect("temporary folder");
        let root = folder.path();
        let example = |name: &str| {
            let file = repository().join(examples).join(name);
            let text = std::fs::read_to_string(file).expect(name);
            let text = text.replace("127.0.0.1", &host.to_string());
            let text = change(self.changed(text, root));
            std::fs::write(root.join(name), text).expect(name);
        };
        let mut command = match self {
            Self::Nginx => {
                example("nginx.conf");
                let mut command = self.program("/usr/sbin/nginx");
                let own = "daemon off; master_process off; pid nginx.pid; error_log stderr;";
                command
                    .arg("-p")
                    .arg(root)
                    .args(["-c", "nginx.conf", "-g", own]);
                command
            }
            Self::Caddy => {
                example("Caddyfile");
                let mut command = self.program("/usr/bin/caddy");
                command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
                command.env("HOME", root);
                command
            }
            Self::Envoy | Self::EnvoyGrpc => {
                let file = match self {
                    Self::EnvoyGrpc => "envoy-grpc.yaml",
                    _ => "envoy.yaml",
                };
                example(file);
                let program = repository().join("tests/python/.venv/bin/envoy");
                let mut command = self.program(&program.display().to_string());
                // Without what several of them on one machine would share.
                command.args(["-c", file, "--concurrency", "1", "--use-dynamic-base-id"]);
                command.args(["--log-level", "warn"]);
                command
            }
            Self::HaProxy | Self::HaProxyTcp => {
                let file = match self {
                    Self::HaProxyTcp => "haproxy-tcp.cfg",
                    _ => "haproxy.cfg",
                };
                example(file);
                if examples == ASKING {
                    example("haproxy.lua");
                }
                let mut command = self.program("/usr/sbin/haproxy");
                command.args(["-db", "-f", file]);
                command
            }
        };
        let mut process = Process::start("front", root, command.current_dir(root));
        let address = SocketAddr::from((host, 8000));
        process.await_port(address);
        RunningFront {
            _process: process,
            _folder: folder,
            address,
        }
    }

    /// Nothing but places to write to.
    fn changed(self, text: String, root: &Path) -> String {
        if self != Self::Nginx {
            return text;
        }
        let mut own = String::from("http {\n  access_log off;\n");
        for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            own.push_str(&format!("  {name}_temp_path {}/{name};\n", root.display()));
        }
        text.replacen("http {\n", &own, 1)
    }

    fn program(self, path: &str) -> Command {
        assert!(
            Path::new(path).exists(),
            "{self:?} is not installed: run `script/test install`"
        );
        Command::new(path)
    }
}

impl RunningFront {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
