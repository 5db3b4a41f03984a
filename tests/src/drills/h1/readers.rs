//! Who reads what the gateway sends on: HTTP parsers that we did not write, each in front of the recorder,
//! and the recorder by itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use tempfile::TempDir;

use crate::apache::Apache;
use crate::process::{Process, repository};

/// First segments of paths, and names of upstreams.
pub const ALL: [&str; 5] = ["recorder", "nginx", "haproxy", "apache", "node"];

/// All of them, running; gone when dropped.
#[derive(Debug)]
pub struct Readers {
    // Before the folder that they write to.
    _processes: Vec<Process>,
    _apache: Apache,
    _folder: TempDir,
    host: Ipv4Addr,
}

const NGINX: &str = "daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
  # It takes whatever it can.
  merge_slashes off; ignore_invalid_headers off; underscores_in_headers on;
  large_client_header_buffers 8 64k; keepalive_requests 100000000; keepalive_timeout 120s;
  upstream recorder { server RECORDER; keepalive 256; keepalive_requests 100000000; }
  server {
    listen HERE;
    location / {
      proxy_pass http://recorder; proxy_http_version 1.1;
      proxy_set_header Connection ''; proxy_set_header Host $http_host;
    }
  }
}
";

const HAPROXY: &str = "global
  maxconn 4000
defaults
  mode http
  timeout client 120s
  timeout server 120s
  timeout connect 5s
  timeout http-keep-alive 120s
frontend here
  bind HERE
  default_backend recorder
backend recorder
  http-reuse always
  server recorder RECORDER
";

const APACHE: &str = "LoadModule proxy_module MODULES/mod_proxy.so
LoadModule proxy_http_module MODULES/mod_proxy_http.so
KeepAliveTimeout 120
MaxKeepAliveRequests 0
ThreadsPerChild 64
MaxRequestWorkers 64
ServerLimit 1
AllowEncodedSlashes NoDecode
MergeSlashes Off
ProxyPreserveHost On
ProxyPass / http://RECORDER/ nocanon
";

impl Readers {
    pub fn start(host: Ipv4Addr) -> Self {
        let folder = TempDir::new().expect("temporary folder");
        let root = folder.path();
        let of = |name: &str| address(host, name).to_string();
        let write = |file: &str, text: &str, name: &str| {
            let text = text.replace("HERE", &of(name));
            let text = text.replace("RECORDER", &of("recorder"));
            std::fs::write(root.join(file), text).expect("configuration");
        };
        write("nginx.conf", NGINX, "nginx");
        write("haproxy.cfg", HAPROXY, "haproxy");
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.arg("-p").arg(root).args(["-c", "nginx.conf"]);
        let mut haproxy = Command::new("/usr/sbin/haproxy");
        haproxy.arg("-db").arg("-f").arg(root.join("haproxy.cfg"));
        let mut node = Command::new("node");
        node.arg(repository().join("tests/src/drills/h1/reader.js"));
        for name in ["node", "recorder"] {
            let at = address(host, name);
            node.args([at.ip().to_string(), at.port().to_string()]);
        }
        let started = [("nginx", nginx), ("haproxy", haproxy), ("node", node)];
        let processes = started.map(|(name, mut command)| {
            let mut process = Process::start(name, root, command.current_dir(root));
            process.await_port(address(host, name));
            process
        });
        let apache = APACHE.replace("RECORDER", &of("recorder"));
        Self {
            _processes: processes.into(),
            _apache: Apache::start(address(host, "apache"), &apache, &[("/empty", "")]),
            _folder: folder,
            host,
        }
    }

    /// Where one of them listens.
    pub fn address(&self, name: &str) -> SocketAddr {
        address(self.host, name)
    }
}

/// Each has a port of the address that is the test's own.
pub fn address(host: Ipv4Addr, name: &str) -> SocketAddr {
    let at = ALL.iter().position(|own| *own == name).expect("a reader");
    SocketAddr::from((host, 9100 + u16::try_from(at).expect("few")))
}
