//! A browser that speaks HTTP/2 with the gateway opens a `WebSocket` on the connection that it has (RFC 8441).

use std::net::SocketAddr;

use e2e::Site;
use e2e::browser::plays;
use e2e::site::host;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpListener;

/// A site that says back what it is told, under a name of its own.
const ROUTES: &str = "
  - match: /live
    methods: [GET]
    upstream: echo
    public: true
    websocket: true
  - match: /page
    methods: [GET]
    upstream: records
    public: true
    rewrite: { path: /whoami }
";

async fn echo(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("port");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let socket = tokio_tungstenite::accept_async(stream).await;
                let mut socket = socket.expect("a WebSocket");
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_has_its_sockets_on_the_connection_that_it_has() {
    let folder = tempfile::tempdir().expect("folder");
    let key = rcgen::generate_simple_self_signed(["gw.test".to_owned()]).expect("certificate");
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("file");
        file.display().to_string()
    };
    let certificate = write("gateway.pem", &key.cert.pem());
    let key = write("gateway.key", &key.signing_key.serialize_pem());
    let site = Site::all_in_one_with(|text| {
        let host = host(&text);
        let tls = format!(
            "\ngateway:\n  tls:\n    certificates: [{{ certificate_file: '{certificate}', key_file: '{key}' }}]\n"
        );
        let upstream = format!("\nupstreams:\n  echo: {{ url: 'http://{host}:9010' }}\n");
        text.replacen("\ngateway:\n", &tls, 1)
            .replacen("\nupstreams:\n", &upstream, 1)
            .replacen("\nroutes:\n", &format!("\nroutes:{ROUTES}"), 1)
    });
    echo(SocketAddr::from((site.host, 9010))).await;
    let address = site.host.to_string();
    let played = tokio::task::spawn_blocking(move || {
        let steps = ["page", "echo", "on_stream", "not_here", "closed"];
        plays("websocket.mjs", &[("ADDRESS", &address)], &steps)
    });
    played.await.expect("played");
    // What the gateway says of it: an answer to a stream that became one is 200.
    let log = std::fs::read_to_string(site.folder.path().join("data/access.jsonl")).expect("log");
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    let live: Vec<Value> = lines
        .filter(|line: &Value| line["path"] == "/live")
        .collect();
    assert_eq!(live.len(), 1, "{log}");
    assert_eq!(
        (&live[0]["status"], &live[0]["method"]),
        (&200.into(), &"GET".into())
    );
}
