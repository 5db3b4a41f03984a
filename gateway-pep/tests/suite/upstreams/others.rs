//! Servers of HTTP/2 that we did not write, as upstreams: connections that they end again and again cost no request.

use std::net::{Ipv4Addr, SocketAddr, TcpStream as Stream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::fixture::{Fixture, PATIENCE, Setup, get, raw};
use crate::upstream::Upstream;

/// One that runs; gone when dropped.
struct Other {
    process: Child,
    addr: SocketAddr,
    _folder: TempDir,
}

const NGINX: &str = "
daemon off;
pid nginx.pid;
error_log stderr;
worker_processes 2;
worker_shutdown_timeout 5s;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fast; uwsgi_temp_path uw; scgi_temp_path sc;
  server {
    listen ADDRESS http2;
    keepalive_requests 20;
    http2_max_concurrent_streams 10;
    location / { return 200 'hello'; }
  }
}";

const ENVOY: &str = r#"
static_resources:
  listeners:
  - address: { socket_address: { address: HOST, port_value: PORT } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          codec_type: HTTP2
          stat_prefix: a
          common_http_protocol_options: { max_requests_per_connection: 20 }
          drain_timeout: 0.1s
          http2_protocol_options: { max_concurrent_streams: 10 }
          http_filters:
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
              - match: { prefix: / }
                direct_response: { status: 200, body: { inline_string: hello } }
"#;

const HAPROXY: &str = "
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout tunnel 30s
frontend all
  bind ADDRESS proto h2
  default_backend behind
backend behind
  server one BEHIND
";

impl Other {
    fn nginx() -> Self {
        Self::start(NGINX, |_| {
            let mut command = Command::new("/usr/sbin/nginx");
            command.args(["-p", ".", "-c", "config"]);
            command
        })
    }

    fn envoy() -> Self {
        Self::start(ENVOY, |_| {
            let program =
                PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/python/.venv/bin/envoy");
            assert!(
                program.exists(),
                "Envoy is not installed: run `script/test install`"
            );
            let mut command = Command::new(program);
            command.args(["-c", "config.yaml", "--use-dynamic-base-id", "-l", "error"]);
            command.args(["--concurrency", "1", "--base-id-path", "base-id"]);
            command
        })
    }

    /// In front of a server of HTTP/1.1.
    fn haproxy(behind: SocketAddr) -> Self {
        let config = HAPROXY.replace("BEHIND", &behind.to_string());
        Self::start(&config, |_| {
            let mut command = Command::new("/usr/sbin/haproxy");
            command.args(["-db", "-f", "config"]);
            command
        })
    }

    /// At an address of its own, where nobody else listens.
    fn start(config: &str, program: impl Fn(&TempDir) -> Command) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let number = u8::try_from(STARTED.fetch_add(1, Ordering::SeqCst)).unwrap();
        let addr = SocketAddr::from((Ipv4Addr::new(127, 64 + number, high, low), 9100));
        let folder = TempDir::new().unwrap();
        let config = config
            .replace("ADDRESS", &addr.to_string())
            .replace("HOST", &addr.ip().to_string())
            .replace("PORT", &addr.port().to_string());
        for name in ["config", "config.yaml"] {
            std::fs::write(folder.path().join(name), &config).unwrap();
        }
        let process = program(&folder)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let other = Self {
            process,
            addr,
            _folder: folder,
        };
        for _ in 0..200 {
            if Stream::connect(addr).is_ok() {
                return other;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it does not listen at {addr}");
    }

    async fn gateway(&self) -> Fixture {
        let setup = Setup {
            upstream: Upstream::elsewhere(self.addr).await,
            upstream_settings: "protocol: http2, http2: { streams: 20 }".into(),
            ..Setup::new().await
        };
        setup.start().await
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        let _ = self.process.wait();
    }
}

/// Asks over and over, from several clients at once: every request is answered. `only_reads`: none is anything else.
async fn all_are_answered(fixture: &Fixture, only_reads: bool) {
    let failed = Arc::<Mutex<Vec<String>>>::default();
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let (addr, failed) = (fixture.addr, failed.clone());
        clients.spawn(async move {
            for _ in 0..60 {
                let request = if only_reads || client % 2 == 0 {
                    get("/records/1", "at_alice")
                } else {
                    "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\
                     Connection: close\r\n\r\nhello"
                        .to_owned()
                };
                let answer = raw(addr, &request).await;
                if answer.status() != 200 || answer.body() != "hello" {
                    let method = request.split(' ').next().unwrap();
                    failed.lock().unwrap().push(format!("{method} {answer:?}"));
                }
            }
        });
    }
    clients.join_all().await;
    let failed = failed.lock().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
    // There were many connections, of which each was for many requests.
    let opened = fixture.metric("pep_upstream_connects_total");
    assert!((4.0..200.0).contains(&opened), "{opened}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_ends_connections_and_no_request_is_lost() {
    let nginx = Other::nginx();
    let fixture = nginx.gateway().await;
    all_are_answered(&fixture, false).await;
}

/// Its workers leave without a word what they have accepted and not begun on: what is no read may have been begun on,
/// as far as anybody can tell.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_is_reloaded_and_no_read_is_lost() {
    let nginx = Other::nginx();
    let fixture = nginx.gateway().await;
    let id = nginx.process.id().to_string();
    let reloading = tokio::task::spawn(async move {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Command::new("kill").args(["-HUP", &id]).status().unwrap();
        }
    });
    all_are_answered(&fixture, true).await;
    reloading.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_ends_connections_and_no_request_is_lost() {
    let envoy = Other::envoy();
    let fixture = envoy.gateway().await;
    all_are_answered(&fixture, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_takes_websockets_on_streams() {
    let behind = Upstream::start().await;
    let haproxy = Other::haproxy(behind.addr);
    let fixture = haproxy.gateway().await;
    for _ in 0..3 {
        let mut socket = socket(&fixture).await;
        for text in ["hello".to_owned(), "x".repeat(1 << 20)] {
            socket.send(Message::text(text.clone())).await.unwrap();
            let echoed = timeout(PATIENCE, socket.next()).await.unwrap().unwrap();
            assert_eq!(echoed.unwrap().into_text().unwrap().as_str(), text);
        }
        socket.close(None).await.unwrap();
        while timeout(PATIENCE, socket.next()).await.unwrap().is_some() {}
        let seen = behind.last();
        assert_eq!(seen.headers["upgrade"], "websocket");
    }
    assert!(
        fixture.is("pep_upstream_connects_total", 3.0),
        "each has its own"
    );
}

async fn socket(fixture: &Fixture) -> WebSocketStream<TcpStream> {
    let url = format!("ws://{}/ws", fixture.addr);
    let mut request = url.into_client_request().unwrap();
    let token = "Bearer at_alice".parse().unwrap();
    request.headers_mut().insert("authorization", token);
    let stream = TcpStream::connect(fixture.addr).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    socket
}
